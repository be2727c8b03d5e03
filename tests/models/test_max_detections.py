"""The maximum number of detections per image: default, stored value, and a larger or smaller one when loading."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torchvision
from helpers.tiny_models import CLASSES, TINY_ARCHITECTURE, as_checkpoint, make_image, random_model

from detect.errors import UsageError
from detect.inference.load import load_model, predictor_from_checkpoint
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.models import checkpoint
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.builder import assemble, max_detections_of, set_max_detections
from detect.models.zoo import DETECTORS
from detect.structures.class_names import ClassNames

IMAGE = make_image((96, 128), 0)


@pytest.fixture(scope="module")
def saved():
    return as_checkpoint(random_model())


@pytest.mark.parametrize("name", ["v1", "retinanet", "fcos", "ssd300", "ssdlite", "keypointrcnn"])  # one of each kind
def test_default_of_a_detector_is_torchvisions_and_changes_nothing_else(name):
    build = getattr(torchvision.models.detection, DETECTORS[name].builder)
    theirs, ours = build(weights=None, weights_backbone=None), assemble(detector_architecture(name), 91)
    assert max_detections_of(ours) == max_detections_of(theirs) == DETECTORS[name].max_detections
    assert candidates(ours) == candidates(theirs)


def candidates(model) -> list[int]:
    """Return the numbers of candidates that a model examines at inference."""
    if hasattr(model, "rpn"):
        return [model.rpn._pre_nms_top_n["testing"], model.rpn._post_nms_top_n["testing"]]
    return [model.topk_candidates]


@pytest.mark.parametrize("name", ["v1", "retinanet", "fcos", "ssd300"])
def test_more_detections_examine_more_candidates_and_fewer_do_not_examine_fewer(name):
    model = assemble(detector_architecture(name), 91)
    usual = candidates(model)
    set_max_detections(model, 10)
    assert (max_detections_of(model), candidates(model)) == (10, usual)
    set_max_detections(model, 2000)
    assert max_detections_of(model) == 2000 and all(many > 2000 for many in candidates(model))


@pytest.mark.parametrize(("model", "expected"), [("mobilenet_v2", 100), ("v2", 100), ("retinanet", 300)])
def test_files_without_the_number_have_that_of_the_model(model, expected):
    make = detector_architecture if model in DETECTORS else lambda name: backbone_architecture(name, "maskrcnn", 64)
    values = make(model).to_json()
    assert values.pop("max_detections") == expected
    assert Architecture.from_json(values) == make(model)
    assert Architecture.from_json(values | {"max_detections": 7}).max_detections == 7


def test_checkpoint_keeps_the_number_and_loading_can_change_it(tmp_path):
    architecture = replace(TINY_ARCHITECTURE, max_detections=150)
    checkpoint.save(as_checkpoint(random_model(architecture), architecture), tmp_path / "a.safetensors")
    assert load_model(tmp_path / "a.safetensors", device="cpu").max_detections == 150
    other = load_model(tmp_path / "a.safetensors", device="cpu", max_detections=np.int64(200))
    assert other.max_detections == 200 and type(other.max_detections) is int


def test_the_best_detections_are_kept_and_the_limit_is_reported(saved):
    usual = predictor_from_checkpoint(saved, threshold=0)
    few = predictor_from_checkpoint(saved, threshold=0, max_detections=7)
    many = predictor_from_checkpoint(saved, threshold=0, max_detections=150)
    (all_found,), (best,), (most,) = (p.predict_batch([IMAGE]) for p in (usual, few, many))
    assert len(all_found) == 100 and all_found.limit_reached
    assert len(best) == 7 and best.limit_reached
    np.testing.assert_allclose(best.scores, all_found.scores[:7], rtol=1e-5)
    assert len(most) == len(most.masks) == 150 and most.limit_reached
    (sure,) = usual.predict_batch([IMAGE], threshold=float(all_found.scores[60]))
    assert len(sure) < 100 and not sure.limit_reached


def test_limit_applies_before_classes_without_a_name_are_dropped(saved):
    runtime = predictor_from_checkpoint(saved).runtime
    (found,) = Predictor(runtime, ClassNames(("bird",)), class_rows=(3,), threshold=0).predict_batch([IMAGE])
    assert len(found) < 100 and found.limit_reached


def test_predictor_sets_the_number_in_the_given_model_and_refuses_an_invalid_one(saved):
    model = predictor_from_checkpoint(saved).runtime.model
    with pytest.raises(UsageError, match="max_detections"):
        TorchRuntime(model, max_detections=0)
    assert TorchRuntime(model).max_detections == 100
    predictor = Predictor(TorchRuntime(model, max_detections=101), CLASSES)
    assert predictor.runtime.model is model and max_detections_of(model) == predictor.max_detections == 101
