"""benchmark.py train --references: the functions of a copy of torchvision's references train the model."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.benchmarking import error_line, run_benchmark
from helpers.tiny_models import make_image
from helpers.torchvision_references import write_references
from torch import nn

from benchmarks import torchvision_references
from benchmarks.reference import FullSizeImages
from benchmarks.torchvision_references import URL, Epochs
from detect.errors import TrainingError
from detect.media.images import write_image
from detect.structures.image_record import ImageRecord
from detect.training.config import TrainConfig

CONFIG = TrainConfig(data="unused", batch_size=2, lr=0.1)


class Model(nn.Module):
    """Counts its images; its loss is the mean of the images times a weight."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.images = 0

    def forward(self, images, targets):
        assert len(images) == len(targets) and all({"boxes", "labels", "image_id"} <= set(t) for t in targets)
        self.images += len(images)
        return {"loss_classifier": self.weight * torch.stack([image.mean() for image in images]).mean()}


@pytest.fixture
def dataset(tmp_path) -> FullSizeImages:
    """Three images, one of them upright."""
    made = []
    for number, hw in enumerate([(20, 30), (30, 20), (20, 30)]):
        write_image(path := tmp_path / f"{number}.png", make_image(hw, number))
        none = np.zeros(0)
        boxes, ids = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        made.append(ImageRecord(path, hw, number, boxes, ids, none, none.astype(bool), ids, None))
    return FullSizeImages(made, with_masks=False)


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_references(tmp_path / "references")


def test_each_call_takes_its_number_of_steps_and_prints_nothing(folder, dataset, capsys):
    train = Epochs(folder, model := Model(), dataset, CONFIG, workers=0, batches=5)
    assert len(train(2)) == 2 and model.images == 4
    before = model.weight.item()
    losses = train(3)
    assert len(losses) == 3 and np.isfinite(losses).all() and model.images == 10
    assert model.weight.item() < before < 1
    assert capsys.readouterr() == ("", "")


def test_loader_processes_can_use_the_collate_function(folder, dataset):
    train = Epochs(folder, model := Model(), dataset, CONFIG, workers=1, batches=2)
    assert len(train(2)) == 2 and model.images == 4


def test_loss_that_is_not_finite_is_a_training_error(folder, dataset):
    train = Epochs(folder, Model(float("nan")), dataset, CONFIG, workers=0, batches=1)
    with pytest.raises(TrainingError, match="not finite"):
        train(1)


def test_import_leaves_other_modules_and_the_search_path_alone(folder, tmp_path):
    before = [*sys.path], {*sys.modules}
    first = torchvision_references.load(folder)
    other = torchvision_references.load(write_references(tmp_path / "other"))
    assert ([*sys.path], {*sys.modules}) == before
    assert first.collate_fn is not other.collate_fn and first.collate_fn([(1, 2), (3, 4)]) == ((1, 3), (2, 4))


@pytest.mark.parametrize(
    ("module", "content", "words"),
    [
        ("utils", None, "utils.py is missing"),
        ("engine", "import utils", "engine.py has no train_one_epoch"),
        ("group_by_aspect_ratio", "import no_such_library", "No module named 'no_such_library'"),
        ("engine", "<!DOCTYPE html>", "engine.py cannot be imported"),
    ],
)
def test_incomplete_copy_is_an_error_that_says_where_to_get_it(monkeypatch, folder, capsys, module, content, words):
    path = folder / f"{module}.py"
    path.unlink() if content is None else path.write_text(content)
    assert run_benchmark(monkeypatch, "train", "--references", folder, "--device", "cpu", "--quiet") == 2
    line = error_line(capsys)
    assert words in line and "--references" in line and URL in line


def test_missing_folder_is_an_error(monkeypatch, tmp_path, capsys):
    assert run_benchmark(monkeypatch, "train", "--references", tmp_path / "no", "--device", "cpu", "--quiet") == 2
    assert URL in error_line(capsys)
