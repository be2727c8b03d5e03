"""Background images: records without objects that are trained on and pasted onto."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_models import make_image, render_shapes
from helpers.training import TINY, rows

from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.backgrounds import with_backgrounds
from detect.data.dataset import DetectionDataset
from detect.data.description import find_spec
from detect.errors import DataError, UsageError
from detect.media.images import write_image
from detect.models import checkpoint
from detect.training.config import TrainConfig
from detect.training.data import read_training_data
from detect.training.fitting import FittedConfig


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2})


@pytest.fixture
def records(data) -> list:
    return find_spec(str(data)).read("train")[1]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three noise images."""
    (tmp_path / "empty").mkdir()
    for i in range(3):
        write_image(tmp_path / "empty" / f"{i}.png", make_image((60 + i, 80), i))
    return tmp_path / "empty"


def test_backgrounds_are_records_without_objects(records, folder):
    every = with_backgrounds(records, str(folder), [])
    found = every[len(records) :]
    assert [r.path for r in every[: len(records)]] == [r.path for r in records]
    assert [(r.path.name, r.image_hw, len(r)) for r in found] == [(f"{i}.png", (60 + i, 80), 0) for i in range(3)]
    assert all(r.masks == [] for r in found)
    assert len({r.image_id for r in every}) == 7


def test_unusable_backgrounds_are_errors(records, folder):
    with pytest.raises(UsageError, match="`backgrounds`: no such file or folder"):
        with_backgrounds(records, str(folder / "none"), [])
    with pytest.raises(UsageError, match=r"`backgrounds`: .*empty"):
        with_backgrounds(records, "", [])
    for name in ("0.png", "2.png"):
        (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    with pytest.raises(DataError, match=r"`backgrounds`: 3 of 4 images cannot be read: .*0\.png.*2\.png.*loop\.png"):
        with_backgrounds(records, str(folder), [])


@pytest.mark.parametrize("split", ["train", "val"])
def test_image_of_any_split_cannot_be_a_background(data, split, train_py, tmp_path, capsys):
    images = data.parent / "files" / split
    assert train_py("--data", data, "--backgrounds", images, "--output-dir", tmp_path, *TINY) == 2
    assert f"--backgrounds: these images are in the dataset: {images}" in capsys.readouterr().err


def test_objects_are_pasted_onto_backgrounds_but_not_from_them(records, folder):
    every = with_backgrounds(records, str(folder), [])
    transform = TrainTransform(64, Augmentation("none", copy_paste=1.0))
    dataset = DetectionDataset(every, transform, with_masks=True)
    drawn = []
    transform_of = dataset.transform
    dataset.transform = lambda *arguments: drawn.append(arguments[3]) or transform_of(*arguments)  # type: ignore[assignment]
    pasted = []
    for epoch in range(6):
        dataset.epoch = epoch
        pasted += [len(dataset[i][1]["boxes"]) for i in (4, 5, 6)]
    assert set(drawn) == {4}  # images that objects may be copied from
    assert any(pasted)


@pytest.mark.parametrize(("ratio", "expected"), [(None, None), (0.0, [1] * 4 + [0] * 3), (0.6, [1] * 4 + [0.8] * 3)])
def test_a_ratio_limits_how_often_backgrounds_are_used(data, folder, ratio, expected):
    config = TrainConfig(data=str(data), backgrounds=str(folder), background_ratio=ratio, repeat_threshold=0.0)
    repeats = FittedConfig(config, read_training_data(config.data, backgrounds=config.backgrounds)).image_repeats
    assert repeats is None if expected is None else repeats.tolist() == pytest.approx(expected)


@pytest.mark.slow
def test_a_ratio_without_backgrounds_is_reported(data, train_py, tmp_path, capsys):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path / "out", *TINY]
    assert train_py(*flags, "--background-ratio", 1) == 0
    assert "--background-ratio has no effect: every training image has objects" in capsys.readouterr().err


@pytest.mark.slow
def test_backgrounds_are_trained_on(data, folder, train_py, tmp_path, capsys):
    flags = ["--data", data, "--backgrounds", folder, "--epochs", 1, "--output-dir", tmp_path / "out", *TINY]
    assert train_py(*flags, "--batch-size", 1, "--copy-paste", 0.5, "--background-ratio", 0.5) == 0
    printed = capsys.readouterr().out
    assert "few: 4 images and 3 background images" in printed
    assert "--background-ratio 0.5: about 6 images per epoch" in printed
    run = tmp_path / "out" / "few_mobilenet_v2"
    assert all(np.isfinite(value) for value in rows(run)[0]["losses"].values())
    saved = checkpoint.load(run / "last.safetensors")
    assert saved.data["train_images"] == 7 and saved.training["backgrounds"] == str(folder)
    assert torch.load(run / "last_state.pt", weights_only=True)["epoch"] == 1
    assert train_py("--resume", run, "--epochs", 2) == 0
    assert "7 of" not in capsys.readouterr().err
    assert [row["epoch"] for row in rows(run)] == [1, 2]
