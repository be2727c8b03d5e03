"""Errors of train.py for invalid flags and datasets: one line that names the value and what is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from helpers.any_format import put
from helpers.planted_problems import plant, write_clean
from helpers.tiny_models import render_shapes
from helpers.training import TINY, one_line, without_masks

from detect.training.data import read_training_data


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2})


def test_freezing_random_weights_and_copy_paste_without_masks_are_errors(train_py, data, boxes_only, tmp_path, capsys):
    flags = ["--epochs", 1, "--output-dir", tmp_path, *TINY]
    assert train_py("--data", data, *flags, "--freeze", 1) == 2
    assert "--freeze keeps the initial weights of layers, and these weights are random" in capsys.readouterr().err
    assert train_py("--data", boxes_only, *flags, "--copy-paste", 0.5) == 2
    assert "--copy-paste needs masks" in capsys.readouterr().err


def changed(data: Path, folder: Path, edit) -> Path:
    """Return a copy of the description whose val annotations are changed by ``edit``."""
    content = json.loads((data.parent / "files" / "val.json").read_text())
    edit(content)
    (folder / "edited.json").write_text(json.dumps(content))
    spec = yaml.safe_load(data.read_text())
    spec["splits"]["val"]["annotations"] = str(folder / "edited.json")
    spec["root"] = str(data.parent / "files")
    (folder / "edited.yaml").write_text(yaml.safe_dump(spec))
    return folder / "edited.yaml"


def rename(content: dict) -> None:
    for category in content["categories"]:
        category["name"] = category["name"].upper()


def empty(content: dict) -> None:
    content["annotations"] = []


def enlarge(content: dict) -> None:
    for image in content["images"]:
        image["width"] += 1


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (rename, "no class in common"),
        (empty, "split 'val' has no object"),
        (enlarge, "pixels, its annotations are"),
    ],
)
def test_a_val_split_that_cannot_be_scored_is_refused_before_training(train_py, data, tmp_path, capsys, edit, words):
    assert train_py("--data", changed(data, tmp_path, edit), "--output-dir", tmp_path, *TINY) == 2
    assert words in capsys.readouterr().err


@pytest.fixture(scope="module")
def boxes_only(data, tmp_path_factory) -> Path:
    return without_masks(data, tmp_path_factory.mktemp("boxes"))


MISTAKES = {
    "model and backbone": (["--model", "v1", "--backbone", "resnet50"], "--model selects a whole model"),
    "backbone": (["--backbone", "resnet5"], "unknown backbone 'resnet5': did you mean resnet50"),
    "model": (["--model", "maskrcnn_v3"], "unknown model 'maskrcnn_v3': did you mean maskrcnn_v2"),
    "data": (["--data", "shape"], "unknown dataset 'shape': did you mean shapes"),
    "data file": (["--data", "none.yaml"], "no such dataset description: none.yaml"),
    "data root": (["--data-root", "nowhere"], "--data-root nowhere is not a folder"),
    "pretrained": (["--pretrained", "none.pth"], "--pretrained: no such file: none.pth"),
    "one jitter": (["--jitter", "0.5"], "--jitter 0.5 must be two numbers, the smaller one first"),
    "reversed jitter": (["--jitter", "1.2", "0.5"], "--jitter 1.2 0.5 must be two numbers, the smaller one first"),
    "device": (["--device", "tpu"], "unknown device 'tpu'"),
    "epochs": (["--epochs", "0"], "--epochs 0 must be at least 1"),
    "flag": (["--epoch", "3"], "unknown flag '--epoch': did you mean --epochs"),
    "detector": (["--model", "ssdlite"], "ssdlite cannot be fine-tuned, only used for detection"),
    "backbone as model": (["--model", "resnet18"], "resnet18 is a backbone: give it as --backbone resnet18"),
    "no description": (["--data", "README.md"], "--data README.md is neither a folder nor a YAML file"),
    "no run": (["--resume", "nowhere"], "--resume nowhere does not exist; it is the folder of a run"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(train_py, data, tmp_path, capsys, mistake):
    flags, words = MISTAKES[mistake]
    base = ["--output-dir", tmp_path] if "--resume" not in flags else []
    base += [] if {"--data", "--resume"} & set(flags) else ["--data", data]
    assert train_py(*base, *flags) == 2
    assert words in one_line(capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_classes_without_training_objects_are_a_warning(tmp_path, capsys):
    write_clean(tmp_path / "set")
    plant("class_not_in_train", tmp_path / "set")
    read_training_data(str(tmp_path / "set"))
    assert "val has objects of classes without objects in train: bird" in capsys.readouterr().err


def test_a_missing_gpu_is_an_error(train_py, data, capsys):
    assert train_py("--data", data, "--device", "cuda") == 2
    assert "--device cuda: this machine has 0 CUDA devices; use --device cpu" in one_line(capsys.readouterr().err)


def test_a_mask_head_needs_masks(train_py, boxes_only, tmp_path, capsys):
    for flags in (["--head", "maskrcnn"], ["--model", "maskrcnn"]):
        assert train_py("--data", boxes_only, "--output-dir", tmp_path, *TINY, *flags) == 2
        assert "needs masks, and" in one_line(capsys.readouterr().err)


def test_an_output_folder_that_cannot_be_written_is_an_error(train_py, data, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert train_py("--data", data, "--output-dir", tmp_path / "file" / "runs", *TINY) == 2
    assert "Not a directory" in one_line(capsys.readouterr().err)


def test_an_augmented_copy_of_a_val_image_in_train_gives_a_warning(tmp_path, capsys):
    """Such copies make the metrics too high."""
    write_clean(tmp_path)
    plant("sibling_leak", tmp_path)
    read_training_data(str(tmp_path))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "too high" in line]
    assert "1 of 3 val images has a copy" in line and "val_1_aug2.png" in line


def test_training_needs_two_images(train_py, tmp_path, capsys):
    put(tmp_path / "set", "voc", "", "", ["a.png"])
    assert train_py("--data", tmp_path / "set", "--output-dir", tmp_path, *TINY) == 2
    assert "has 1 image; train and val need at least 2" in one_line(capsys.readouterr().err)
