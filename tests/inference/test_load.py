"""Loading a model by name, file or URL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.tiny_models import CLASSES, TINY_ARCHITECTURE, as_checkpoint, random_model

from detect.errors import CheckpointError, UsageError
from detect.inference.load import load_model, predictor_from_checkpoint
from detect.models import checkpoint


@pytest.fixture(scope="module")
def saved():
    return as_checkpoint(random_model())


def test_checkpoint_gives_classes_size_and_threshold(saved, tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(saved, path)
    predictor = load_model(path, device="cpu")
    assert predictor.class_names == CLASSES and predictor.threshold == saved.threshold
    assert predictor.imgsz == TINY_ARCHITECTURE.min_size and str(predictor.device) == "cpu"
    other = load_model(str(path), device="cpu", imgsz=160, threshold=0.0)
    assert (other.threshold, other.imgsz, other.model.transform.max_size) == (0.0, 160, 266)


def test_unknown_model_is_an_error_with_the_near_names():
    with pytest.raises(UsageError, match=r"'maskrcn': did you mean maskrcnn"):
        load_model("maskrcn")
    with pytest.raises(CheckpointError, match=r"runs/none\.safetensors"):
        load_model("runs/none.safetensors")


@pytest.mark.parametrize("change", [{"fpn": 64}, {"model": "resnet18"}, {"color": "red"}])
def test_architecture_that_does_not_fit_the_weights_is_an_error(saved, change):
    saved = replace(saved, architecture=saved.architecture | change)
    with pytest.raises(CheckpointError, match=r"a\.safetensors: [^\n]*do not fit[^\n]*$"):
        predictor_from_checkpoint(saved, source="a.safetensors")
