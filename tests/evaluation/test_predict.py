"""Detections on a dataset: classes of model and dataset are matched by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_models import CLASSES, as_checkpoint, make_image, random_model

from detect.errors import UsageError
from detect.evaluation import coco_metrics
from detect.evaluation.predict import check_shared_classes, detect_for_dataset
from detect.inference.load import predictor_from_checkpoint
from detect.media.images import write_image
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord


class FixedPredictor:
    """Returns given detections, with labels of its own classes."""

    def __init__(self, class_names: ClassNames, detections: list[Detections]) -> None:
        self.class_names = class_names
        self.detections = iter(detections)

    def predict_batch(self, images, labels=None, threshold=None):
        return [next(self.detections) for _ in images]


@pytest.fixture
def record(tmp_path) -> ImageRecord:
    """One image with a kite and a bird of CLASSES."""
    path: Path = tmp_path / "a.png"
    write_image(path, make_image((60, 80), 1))
    boxes = np.array([[5, 5, 30, 30], [40, 10, 70, 50]], np.float32)
    areas = np.array([625.0, 1200.0])
    return ImageRecord(path, (60, 80), 1, boxes, np.array([1, 3]), areas, np.zeros(2, bool), np.array([1, 2]))


def with_labels(record: ImageRecord, labels: list[int]) -> Detections:
    """The boxes of ``record`` as detections."""
    return Detections(record.image_hw, record.boxes, np.array([0.9, 0.8], np.float32), np.array(labels))


def evaluate(predictor, records: list[ImageRecord], class_names: ClassNames) -> dict:
    return coco_metrics.score(records, detect_for_dataset(predictor, records, class_names), class_names)


def test_classes_are_matched_by_name_and_not_by_position(record):
    other_order = ClassNames(("bird", "dragon", "kite"))
    metrics = evaluate(FixedPredictor(other_order, [with_labels(record, [3, 1])]), [record], CLASSES)
    assert metrics["bbox"]["AP"] == pytest.approx(1.0)
    same_positions = evaluate(FixedPredictor(other_order, [with_labels(record, [1, 3])]), [record], CLASSES)
    assert same_positions["bbox"]["AP"] == 0.0


def test_classes_unknown_to_the_dataset_are_dropped_and_those_unknown_to_the_model_score_0(record):
    predictor = FixedPredictor(ClassNames(("kite", "dragon")), [with_labels(record, [1, 2])])
    metrics = evaluate(predictor, [record], CLASSES)
    assert metrics["classes"]["kite"]["bbox"]["AP"] == pytest.approx(1.0)
    assert metrics["classes"]["bird"]["bbox"]["AP"] == 0.0
    assert metrics["classes"]["balloon"]["bbox"]["AP"] is None  # no ground truth
    assert metrics["bbox"]["AP"] == pytest.approx(0.5)


def test_detections_get_the_class_names_of_the_dataset(record):
    predictor = FixedPredictor(ClassNames(("bird", "kite")), [with_labels(record, [2, 1])])
    (found,) = detect_for_dataset(predictor, [record], CLASSES)
    assert found.names == ["kite", "bird"] and found.class_names == CLASSES


def test_random_model_is_evaluated_on_original_pixels(record):
    predictor = predictor_from_checkpoint(as_checkpoint(random_model()))
    metrics = coco_metrics.score(
        [replace(record, masks=None)],
        found := detect_for_dataset(predictor, [record], CLASSES, threshold=0.0),
        CLASSES,
    )
    assert "segm" not in metrics and 0 <= metrics["bbox"]["AP"] <= 1
    assert found[0].image_hw == record.image_hw and len(found[0]) > len(found[0].filter(predictor.threshold))


def test_no_common_class_is_an_error_and_a_missing_class_a_warning(capsys):
    with pytest.raises(UsageError, match=r"data x .*kite, balloon, bird.*cat, dog"):
        check_shared_classes(ClassNames(("cat", "dog")), CLASSES, "data x")
    check_shared_classes(CLASSES, CLASSES, "data x")
    assert not capsys.readouterr().err
    check_shared_classes(ClassNames(("bird",)), CLASSES, "data x")
    error = capsys.readouterr().err
    assert error.startswith("warning: data x") and "kite, balloon" in error and "bird" not in error
