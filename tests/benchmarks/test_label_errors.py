"""Planted annotation errors: what is planted is what is stated, and a reliable model finds it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.label_errors import CLASSES, agreeing_model, kite_and_bird_scenes

from benchmarks.label_errors import measure, page
from benchmarks.planting import LOOSE_IOU, plant
from detect.evaluation.columns import evaluation_table
from detect.evaluation.label_errors import KINDS, LOOSE, MISSING, SPURIOUS, WRONG_CLASS
from detect.evaluation.overlaps import box_ious
from detect.structures.class_names import ClassNames


@pytest.fixture
def table():
    records = kite_and_bird_scenes()
    return evaluation_table(records, agreeing_model(records), CLASSES)


@pytest.mark.parametrize("seed", range(3))
def test_each_kind_is_planted_as_often_as_stated(table, seed):
    changed, planted = plant(table, KINDS, 0.1, np.random.default_rng(seed))
    assert [sum(one.kind == kind for one in planted) for kind in KINDS] == [9] * 4
    assert len(changed.gt_image) == len(table.gt_image) and (np.diff(changed.gt_image) >= 0).all()
    for one in planted:
        if one.kind == MISSING:
            same = (changed.gt_image == one.image) & (changed.gt_boxes == one.box).all(axis=1)
            assert one.row == -1 and not same.any()
            continue
        assert changed.gt_image[one.row] == one.image
        box, label = changed.gt_boxes[one.row], changed.gt_label[one.row]
        if one.kind == WRONG_CLASS:
            assert label != one.label and (box == one.box).all()
        if one.kind == LOOSE:
            assert LOOSE_IOU[0] <= box_ious(box[None], one.box[None])[0] <= LOOSE_IOU[1] and label == one.label
        if one.kind == SPURIOUS:
            assert (box == one.box).all() and not (table.gt_boxes == box).all(axis=1).any()


def test_all_errors_are_found_with_a_reliable_model(table):
    facts = measure(table, 0.1, rounds=2)
    assert all(round_["first"] == 1 for kind in KINDS for round_ in facts["alone"][kind])
    assert page(facts).count("\n") == 1 + len(KINDS)


def test_a_dataset_with_one_class_has_no_wrong_classes(table):
    ones = {"gt_label": np.ones_like(table.gt_label), "dt_label": np.ones_like(table.dt_label)}
    facts = measure(replace(table, class_names=ClassNames(("kite",)), **ones), 0.1, rounds=1)
    assert WRONG_CLASS not in facts["alone"]
