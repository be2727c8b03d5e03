"""Planted annotation errors are the strongest suspects; agreement, duplicates, crowds and poor models cause none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.label_errors import agreeing_model, first, kite_and_bird_scenes, suspects_of
from helpers.scenes import HW, drawn, noisy_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planting import plant
from detect.evaluation.columns import evaluation_table
from detect.evaluation.label_errors import KINDS, LIKELY, MISSING, SPURIOUS, WRONG_CLASS, find_suspects
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

CLASSES = ClassNames(("kite", "bird", "plane"))


def test_a_model_that_agrees_with_all_annotations_suspects_none():
    records = kite_and_bird_scenes()
    assert not [one for one in suspects_of(records, agreeing_model(records)) if one.suspicion >= LIKELY]


@pytest.mark.parametrize("kind", KINDS)
def test_every_planted_error_of_a_kind_is_among_the_first_suspects(kind):
    records = kite_and_bird_scenes()
    table = evaluation_table(records, agreeing_model(records), CLASSES)
    changed, planted = plant(table, [kind], 0.1, np.random.default_rng(1))
    found = [one for one in find_suspects(changed) if one.suspicion >= LIKELY]
    assert {one.kind for one in found} == {kind} and len(found) == len(planted)
    if kind != MISSING:
        assert {one.ground_truth for one in found} == {one.row for one in planted}
    if kind == MISSING:
        assert all(
            np.allclose(box, one.box, atol=8) for one, box in zip(*in_order(changed, planted, found), strict=True)
        )
    if kind == WRONG_CLASS:
        labels = {one.row: one.label for one in planted}
        assert all(changed.dt_label[one.detection] == labels[one.ground_truth] for one in found)


def in_order(table, planted, found):
    """Return the planted errors, and the boxes of the suspects in the same order: by image and position."""
    boxes = [(int(table.dt_image[one.detection]), table.dt_boxes[one.detection]) for one in found]
    by_place = sorted(boxes, key=lambda pair: (pair[0], round(pair[1][0] / 20), round(pair[1][1] / 20)))
    ours = sorted(planted, key=lambda one: (one.image, round(one.box[0] / 20), round(one.box[1] / 20)))
    return ours, [box for _, box in by_place]


def test_a_detector_that_is_wrong_half_the_time_at_high_scores_suspects_no_missing_annotations():
    records = kite_and_bird_scenes()
    model = agreeing_model(records, false_positives=3, at=0.9)  # as many as objects, with their scores
    suspects = [one for one in suspects_of(records, model) if one.kind == MISSING]
    assert suspects and max(one.suspicion for one in suspects) < 0.65
    reliable = suspects_of(records, agreeing_model(records, false_positives=3, at=0.1))
    assert not [one for one in reliable if one.suspicion > 0.2]


def test_an_annotation_is_spurious_only_for_a_model_that_finds_most_objects_of_its_class():
    records = kite_and_bird_scenes()
    reliable, poor = agreeing_model(records, missed=[0]), agreeing_model(records, missed=range(0, 90, 2))
    spurious = [one for one in suspects_of(records, reliable) if one.kind == SPURIOUS]
    assert (spurious[0].ground_truth, spurious[0].suspicion > 0.9) == (0, True)
    assert max(one.suspicion for one in suspects_of(records, poor)) < 0.6


def test_a_weak_detection_makes_an_annotation_less_spurious():
    records = kite_and_bird_scenes()
    unseen, weak = agreeing_model(records, missed=[0]), agreeing_model(records, missed=[0])
    weak[0] = with_more(weak[0], records[0].boxes[:1], [0.06], [1])
    values = [first(suspects_of(records, one), SPURIOUS).suspicion for one in (unseen, weak)]
    assert values[0] > values[1]


def test_a_model_without_detections_suspects_nothing():
    records = kite_and_bird_scenes()
    assert suspects_of(records, [Detections(HW) for _ in records]) == []


def test_second_detections_of_one_object_are_no_suspects():
    records = kite_and_bird_scenes()
    model = agreeing_model(records)
    twice = [with_more(one, one.boxes + np.float32(2), [0.8] * len(one), one.labels) for one in model]
    assert not [one for one in suspects_of(records, twice) if one.suspicion >= LIKELY]


def test_detections_of_parts_of_an_object_are_no_missing_annotations():
    records = [drawn(i, [[10, 10, 90, 90]], [1]) for i in range(60)]
    halves = [Detections(HW, np.float32([[10, 10, 90, 90]]), np.float32([0.95]), np.array([1])) for _ in records]
    halves[0] = with_more(halves[0], np.float32([[12, 45, 60, 88]]), [0.94], [1])
    assert not [one for one in suspects_of(records, halves) if one.kind == MISSING and one.suspicion > 0.3]


def test_two_classes_detected_at_one_place_are_one_suspect():
    records = kite_and_bird_scenes()
    model = agreeing_model(records)
    box = np.float32([[120, 80, 150, 110]])
    model[0] = with_more(with_more(model[0], box, [0.93], [1]), box, [0.91], [2])
    missing = [one for one in suspects_of(records, model) if one.kind == MISSING]
    assert len(missing) == 1


def test_crowd_regions_and_detections_in_them_are_no_suspects():
    records = kite_and_bird_scenes()
    model = agreeing_model(records)
    records[0] = drawn(0, [*records[0].boxes, [100, 70, 160, 120]], [*records[0].labels, 1], crowds=[3])
    model[0] = with_more(model[0], np.float32([[120, 80, 150, 110]]), [0.93], [1])
    assert not [one for one in suspects_of(records, model) if one.suspicion >= LIKELY]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 100), st.sampled_from([0.05, 0.2]))
def test_each_annotation_and_each_detection_is_in_at_most_one_suspect(seed, fraction):
    table = evaluation_table(*noisy_scene(), CLASSES)
    changed, _ = plant(table, KINDS, fraction, np.random.default_rng(seed))
    suspects = find_suspects(changed)
    for rows in ([one.ground_truth for one in suspects], [one.detection for one in suspects]):
        used = [row for row in rows if row >= 0]
        assert len(used) == len(set(used))
    values = [one.suspicion for one in suspects]
    assert values == sorted(values, reverse=True) and all(0 < value <= 1 for value in values)
    for one in suspects:
        assert (one.ground_truth < 0, one.detection < 0) == (one.kind == MISSING, one.kind == SPURIOUS)
        assert one.ground_truth < 0 or not changed.gt_crowd[one.ground_truth]


def test_a_dataset_without_images_has_no_suspects():
    assert suspects_of([], []) == []


def with_more(one: Detections, boxes: np.ndarray, scores, labels) -> Detections:
    """Return detections with further ones."""
    scores = np.concatenate([one.scores, np.float32(scores)])
    order = np.argsort(-scores, kind="stable")
    joined = np.concatenate([one.boxes, boxes]), np.concatenate([one.labels, np.array(labels, np.int64)])
    return replace(one, boxes=joined[0][order], scores=scores[order], labels=joined[1][order])
