"""Every detection and every object has one error type."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.analyzed import BESIDE, BOX, FAR, analyze, found
from helpers.scenes import SHAPES, drawn, nothing, perfect, scene, small_sets
from hypothesis import given, settings

from detect.evaluation.error_analysis import ErrorType, analyze_errors_above

NONE, CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND, MISSED, IGNORED = ErrorType


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize(
    ("parts", "of_detections", "of_object"),
    [
        ([], [], MISSED),
        ([(BOX, 1, 0.9)], [NONE], NONE),
        ([(BOX, 2, 0.9)], [CLASSIFICATION], CLASSIFICATION),
        ([(BOX, 2, 0.9), (BOX, 1, 0.6)], [CLASSIFICATION, NONE], NONE),
        ([(BESIDE, 1, 0.9)], [LOCALIZATION], LOCALIZATION),
        ([(BESIDE, 2, 0.9)], [BOTH], MISSED),
        ([(BOX, 1, 0.9), (BOX, 1, 0.8)], [NONE, DUPLICATE], NONE),
        ([(FAR, 1, 0.9)], [BACKGROUND], MISSED),
        ([(BESIDE, 1, 0.9), (BOX, 2, 0.8)], [LOCALIZATION, CLASSIFICATION], LOCALIZATION),
        ([(BOX, 2, 0.9), (BESIDE, 1, 0.8)], [CLASSIFICATION, LOCALIZATION], CLASSIFICATION),
    ],
)
def test_detections_and_objects_have_one_error_type(parts, of_detections, of_object, kind):
    result = analyze([drawn(1, [BOX], [1])], [found(*parts)], kind)
    assert result.detection_error.tolist() == of_detections and result.object_error.tolist() == [of_object]
    assert result.detection_object.tolist() == [-1 if error is BACKGROUND else 0 for error in of_detections]
    assert result.object_detection.tolist() == [-1 if of_object is MISSED else of_detections.index(of_object)]


def test_a_detection_matches_at_most_one_object():
    result = analyze([drawn(1, [BOX, BOX], [1, 1])], [found((BOX, 1, 0.9))])
    assert sorted(result.object_error.tolist()) == [NONE, MISSED]


def test_a_correct_detection_is_no_classification_error_of_another_object():
    rider, horse = [10, 10, 30, 30], [10, 14, 30, 34]  # IoU 2/3
    result = analyze([drawn(1, [rider, horse], [1, 2])], [found((horse, 2, 0.9))])
    assert result.detection_error.tolist() == [NONE] and result.object_error.tolist() == [MISSED, NONE]


def test_crowd_regions_and_what_is_detected_inside_are_no_errors():
    record = drawn(1, [BOX, FAR], [1, 1], crowds=[1])
    inside, mostly_outside = [70, 70, 74, 76], [50, 50, 62, 62]
    result = analyze([record], [found((inside, 1, 0.9), (inside, 2, 0.8), (mostly_outside, 1, 0.7), (BOX, 1, 0.6))])
    assert result.detection_error.tolist() == [IGNORED, BACKGROUND, BACKGROUND, NONE]
    assert result.detection_object.tolist() == [1, -1, -1, 0]
    assert result.object_error.tolist() == [NONE, IGNORED] and result.num_objects == 1


def test_errors_refer_to_objects_of_the_right_image():
    records = [drawn(1, [], []), drawn(2, [FAR, BOX], [1, 2]), drawn(3, [BOX], [3])]
    result = analyze(records, [found(), found((BOX, 2, 0.9)), found((BOX, 1, 0.9))])
    assert result.object_error.tolist() == [MISSED, NONE, CLASSIFICATION]
    assert result.detection_object.tolist() == [1, 2] and result.object_detection.tolist() == [-1, 0, 1]
    assert result.confusions() == {(3, 1): 1}


def test_detections_beyond_the_limit_are_ignored():
    boxes = found((BOX, 1, 0.9), (FAR, 1, 0.8), (FAR, 2, 0.7))
    result = analyze([drawn(1, [BOX, FAR], [1, 1])], [boxes], limit=1)
    assert result.detection_error.tolist() == [NONE, IGNORED, CLASSIFICATION]
    assert result.object_error.tolist() == [NONE, CLASSIFICATION]


def test_the_limit_applies_to_detections_above_a_threshold_too():
    boxes = found((BOX, 1, 0.9), (FAR, 1, 0.8))
    result = analyze_errors_above(0.5, [drawn(1, [BOX, FAR], [1, 1])], [boxes], SHAPES, limit=1)
    assert result.detection_error.tolist() == [NONE, IGNORED] and result.object_error.tolist() == [NONE, MISSED]


def test_the_iou_threshold_decides_what_is_badly_localized():
    close = [12, 10, 32, 30]  # IoU 9/11
    records, detections = [drawn(1, [BOX], [1])], [found((close, 1, 0.9))]
    assert analyze(records, detections).detection_error.tolist() == [NONE]
    assert analyze(records, detections, iou_threshold=0.9).detection_error.tolist() == [LOCALIZATION]


def test_swapped_labels_are_found_as_classification_errors():
    records = scene()
    swapped = [found(*zip(r.boxes, 3 - r.labels, np.ones(len(r)), strict=True)) for r in records]
    result = analyze(records, swapped)
    assert result.counts()["classification"] == result.num_objects == 4
    assert result.confusions() == {(1, 2): 3, (2, 1): 1}


def test_errors_are_counted_from_a_score_on():
    parts = (BOX, 2, 0.9), (FAR, 1, 0.6), ([60, 10, 70, 20], 1, 0.4)
    result = analyze([drawn(1, [BOX, [100, 100, 110, 110]], [1, 1])], [found(*parts)])
    expected = {"classification": 1, "localization": 0, "both": 0, "duplicate": 0, "background": 2, "missed": 1}
    assert result.counts() == expected and list(result.counts()) == list(expected)
    assert result.counts(0.5) == expected | {"background": 1}
    assert result.counts(0.95) == expected | {"background": 0, "classification": 0}
    assert result.confusions(0.95) == {}


def test_below_the_threshold_objects_are_missed():
    records, detections = [drawn(1, [BOX, FAR], [1, 1])], [found((BOX, 1, 0.9), (FAR, 1, 0.4))]
    result = analyze_errors_above(0.5, records, detections, SHAPES)
    assert result.object_error.tolist() == [NONE, MISSED] and result.detection_error.tolist() == [NONE]
    assert analyze_errors_above(0.4, records, detections, SHAPES, "segm").object_error.tolist() == [NONE, NONE]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_ground_truth_as_detections_has_no_error(kind):
    records = scene()
    result = analyze(records, perfect(records), kind)
    assert not any(result.counts().values()) and set(result.detection_error.tolist()) == {NONE}


def test_everything_is_missed_where_nothing_is_detected():
    records = scene()
    result = analyze(records, nothing(records))
    assert result.counts()["missed"] == result.num_objects == 4


@settings(max_examples=60)
@given(small_sets())
def test_error_types_of_detections_and_objects_fit_together(sets):
    records, detections = sets
    for kind in ("bbox", "segm"):
        result = analyze(records, detections, kind)
        table = result.table
        error, concerned = result.detection_error, result.detection_object
        assert MISSED not in error and ((concerned == -1) == (error == BACKGROUND)).all()
        same_class = table.dt_label == np.append(table.gt_label, 0)[concerned]
        assert same_class[np.isin(error, [NONE, LOCALIZATION, DUPLICATE])].all()
        assert not same_class[error == CLASSIFICATION].any()
        assert (result.object_error[concerned[error == DUPLICATE]] == NONE).all()
        assert ((result.object_error == IGNORED) == table.gt_crowd).all()

        explained = np.flatnonzero(np.isin(result.object_error, [NONE, CLASSIFICATION, LOCALIZATION]))
        by = result.object_detection[explained]
        counted = error[by] != IGNORED
        assert (error[by] == result.object_error[explained])[counted].all()
        assert (concerned[by] == explained)[counted].all()
        assert (np.delete(result.object_detection, explained) == -1).all()
        assert (error == NONE).sum() == (result.object_error == NONE).sum()
