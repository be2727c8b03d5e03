"""Loading a model by name, file or URL."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.tiny_models import CLASSES, TINY_ARCHITECTURE, as_checkpoint, make_image, random_model

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
    assert (other.threshold, other.imgsz, other.runtime.model.transform.max_size) == (0.0, 160, 266)
    of_numpy = load_model(path, device="cpu", imgsz=np.int64(160), threshold=np.float32(0.5))
    assert (of_numpy.threshold, of_numpy.imgsz) == (0.5, 160)


def test_unknown_model_is_an_error_with_the_near_names():
    with pytest.raises(UsageError, match=r"'maskrcn': did you mean maskrcnn"):
        load_model("maskrcn")
    with pytest.raises(CheckpointError, match=r"runs/none\.safetensors"):
        load_model("runs/none.safetensors")


@pytest.mark.parametrize("model", [None, 3, ["balloon"]])
def test_model_of_another_type_is_a_type_error_that_names_what_is_accepted(model):
    with pytest.raises(TypeError, match=r"a name, a path or a URL, not (None|int|list)"):
        load_model(model)


@pytest.mark.parametrize(
    "settings",
    [
        *({"imgsz": -1}, {"imgsz": 320.5}, {"imgsz": "320"}, {"threshold": 2}, {"threshold": True}),
        *({"threshold": "0.5"}, {"max_detections": 0}, {"max_detections": "abc"}, {"max_detections": 2.0}),
        *({"max_detections": True}, {"max_detections": 10_001}),
    ],
)
def test_invalid_number_is_refused_before_anything_is_loaded(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        load_model("runs/none.safetensors", **settings)


@pytest.mark.parametrize("change", [{"fpn": 64}, {"model": "resnet18"}, {"color": "red"}])
def test_architecture_that_does_not_fit_the_weights_is_an_error(saved, change):
    saved = replace(saved, architecture=saved.architecture | change)
    with pytest.raises(CheckpointError, match=r"a\.safetensors: [^\n]*do not fit[^\n]*$"):
        predictor_from_checkpoint(saved, source="a.safetensors")


def test_16_bits_change_scores_and_boxes_a_little_and_warn_where_they_are_emulated(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.safetensors"
    checkpoint.save(as_checkpoint(random_model()), path)
    image = make_image((90, 120), 0)
    monkeypatch.setattr("detect.runtime.cpu_has_bfloat16", lambda: True)
    predictor = load_model(path, device="cpu", precision="bf16")
    assert not capsys.readouterr().err and predictor.runtime.precision == "bf16"
    original = load_model(path, device="cpu")
    (usual,), (found,) = (one.predict_batch([image], threshold=0.0) for one in (original, predictor))
    assert found.boxes.dtype == found.scores.dtype == np.float32
    np.testing.assert_allclose(found.scores[:20], usual.scores[:20], atol=0.05)
    assert predictor.runtime.anchor_grid().sizes == original.runtime.anchor_grid().sizes
    monkeypatch.setattr("detect.runtime.cpu_has_bfloat16", lambda: False)
    load_model(path, device="cpu", precision="bf16")
    assert "does not compute in bf16" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"precision 'int8'|int8"):
        load_model(path, device="cpu", precision="int8")
