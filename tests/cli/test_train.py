"""train.py from command line to files: what a run writes, and what its flags do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.folders import ROOT
from helpers.tiny_models import render_shapes
from helpers.training import TINY, rows, without_masks

from detect.data.description import find_spec
from detect.evaluation import coco_metrics
from detect.inference.load import load_model
from detect.models import checkpoint
from detect.models.pretrained import bundled
from detect.training.run import TrainingRun


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2})


def test_a_run_writes_its_files(train_py, data, tmp_path, capsys):
    assert train_py("--data", data, "--epochs", 2, "--output-dir", tmp_path, *TINY) == 0
    folder = tmp_path / "few_mobilenet_v2"
    assert {p.name for p in folder.iterdir()} == {
        "best.safetensors", "last.safetensors", "last_state.pt", "settings.yaml", "metrics.jsonl", "results.csv",
        "curves.png", "tensorboard", "model.txt", "labels.png", "val_mosaic.png", "pr_curve.png", "f1_curve.png",
        "confusion_matrix.png", "train_images.txt",
    }  # fmt: skip
    epochs = rows(folder)
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert {"loss", "loss_classifier", "loss_mask"} <= set(epochs[0]["losses"])
    assert {"bbox", "segm", "classes", "evaluator", "detection_limit"} == set(epochs[0]["val"])
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    assert settings["imgsz"] == 64 and settings["backbone"] == "mobilenet_v2"

    printed = capsys.readouterr().out
    assert "few: 4 images for training, 2 for validation" in printed
    assert "weights: random weights" in printed
    model = r"^model: mobilenet_v2 \(maskrcnn\), \d+\.\d M parameters, .* GFLOP \(multiply-adds\) at \d+x\d+ pixels$"
    assert re.search(model, printed, re.MULTILINE)
    assert f"python evaluate.py --model {folder}/best.safetensors --data {data} --split val" in printed


@pytest.mark.slow
def test_checkpoints_describe_their_training_and_load_without_settings(train_py, data, tmp_path):
    assert train_py("--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", *TINY) == 0
    saved = checkpoint.load(tmp_path / "x" / "last.safetensors")
    assert saved.class_names.names == ("circle", "square", "triangle") and saved.class_names.ids == (90, 7, 3)
    assert saved.training["epoch"] == 1 and saved.training["imgsz"] == 64
    assert saved.data["train_images"] == 4 and len(saved.data["train_digest"]) == 64
    assert saved.metrics["val"] == rows(tmp_path / "x")[0]["val"]
    predictor = load_model(str(tmp_path / "x" / "best.safetensors"), device="cpu")
    assert predictor.runtime.model.transform.min_size == (64,)
    sizes = [min(record.image_hw) for record in find_spec(str(data)).read("train")[1]]
    assert predictor.training_shrink == pytest.approx(np.median(sizes) / 64, rel=0.1)
    assert 5 < predictor.training_object_side < 64


FROM_WEIGHTS = ("--pretrained", "balloon", "--freeze", 2, "--copy-paste", 1, "--color", "strong")


@pytest.mark.slow
def test_frozen_stages_keep_their_weights(train_py, data, tmp_path):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, *TINY, *FROM_WEIGHTS]
    assert train_py(*flags, "--name", "x") == 0
    before, after = checkpoint.load(bundled("balloon")).state, checkpoint.load(tmp_path / "x/last.safetensors").state
    layers = [k for k in before if k.startswith("backbone.body.") and k.endswith("0.weight")]
    assert {k for k in layers if torch.equal(before[k], after[k])} == {
        k
        for k in layers
        if int(k.split(".")[2]) <= 6  # the last layer of stride 8
    }


@pytest.mark.slow
def test_the_ema_is_evaluated_and_saved(train_py, data, tmp_path, monkeypatch):
    """With the same seed only the saved weights differ; the trained weights are equal."""
    monkeypatch.setattr(TrainingRun, "reduce_state", lambda folder: None)  # the states keep their tensors
    flags = ["--data", data, "--epochs", 2, "--output-dir", tmp_path, "--head", "fasterrcnn", *TINY]
    assert train_py(*flags, "--name", "plain") == train_py(*flags, "--name", "ema", "--ema", 0.9) == 0
    plain, ema = (checkpoint.load_training_state(tmp_path / n / "last_state.pt") for n in ("plain", "ema"))
    kept = checkpoint.load(tmp_path / "ema" / "last.safetensors").state
    assert all(torch.equal(plain["model"][k], ema["model"][k]) for k in plain["model"])
    assert all(torch.equal(kept[k], ema["ema"][f"module.{k}"]) for k in kept)
    assert not all(torch.equal(kept[k], ema["model"][k]) for k in kept)


@pytest.mark.slow
def test_the_val_split_may_list_its_classes_in_another_order(train_py, data, tmp_path, monkeypatch):
    """Labels are positions in the class list of each file, so val must not be read with the list of train."""
    content = json.loads((data.parent / "files" / "val.json").read_text())
    content["categories"] = content["categories"][::-1]
    turned = tmp_path / "turned.json"
    turned.write_text(json.dumps(content))
    spec = yaml.safe_load(data.read_text())
    spec["splits"]["val"]["annotations"] = str(turned)
    spec["root"] = str(data.parent / "files")
    (tmp_path / "turned.yaml").write_text(yaml.safe_dump(spec))

    scored, score = [], coco_metrics.score
    monkeypatch.setattr(
        coco_metrics, "score", lambda *given, **more: (scored.append(given[2].ids), score(*given, **more))[1]
    )
    for name, description in (("turned", tmp_path / "turned.yaml"), ("as_train", data)):
        flags = ["--data", description, "--epochs", 1, "--output-dir", tmp_path, "--name", name]
        assert train_py(*flags, *TINY) == 0
    assert scored == [(3, 7, 90), (90, 7, 3)]
    turned, as_train = (rows(tmp_path / name)[0] for name in ("turned", "as_train"))
    assert turned["val_losses"] == as_train["val_losses"] and turned["val"]["bbox"] == as_train["val"]["bbox"]


@pytest.mark.slow
def test_the_settings_file_of_a_run_is_a_config_for_another(train_py, data, tmp_path):
    flags = ["--data", data, "--epochs", 1, "--batch-size", 2, "--output-dir", tmp_path, *TINY]
    assert train_py("--model", "v1", *flags, "--name", "one") == 0
    assert train_py("--config", tmp_path / "one" / "settings.yaml") == 0
    former, later = (yaml.safe_load((tmp_path / n / "settings.yaml").read_text()) for n in ("one", "one_2"))
    assert former == later and former["model"] == "v1"


@pytest.fixture(scope="module")
def boxes_only(data, tmp_path_factory) -> Path:
    return without_masks(data, tmp_path_factory.mktemp("boxes"))


def test_a_dataset_without_masks_gets_a_faster_rcnn_by_default(train_py, boxes_only, tmp_path, capsys):
    assert train_py("--data", boxes_only, "--epochs", 1, "--output-dir", tmp_path, *TINY) == 0
    assert "mobilenet_v2 (fasterrcnn)" in capsys.readouterr().out
    (settings,) = tmp_path.glob("*/settings.yaml")
    assert "# in this run: fasterrcnn, since the dataset has no masks\nhead: null\n" in settings.read_text()


def test_help_does_not_import_torch():
    code = (
        "import runpy, sys; sys.argv = ['train.py', '--help']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--backbone" in done.stdout and not done.stderr
