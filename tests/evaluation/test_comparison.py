"""Comparison of two models on the same images: which one is better, or how many images it would take to tell."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.scenes import HW, SHAPES, drawn, noisy_scene, perfect

from detect.errors import UsageError
from detect.evaluation.coco_metrics import score
from detect.evaluation.comparison import _difference, _images_needed, compare
from detect.evaluation.evaluate import Evaluation
from detect.structures.detections import Detections

BOX, FAR = [10.0, 10.0, 60.0, 60.0], [80.0, 20.0, 120.0, 70.0]


def evaluation(records, detections, model: str = "model", class_names=SHAPES, **changes: Any) -> Evaluation:
    scores = score(records, detections, class_names, **changes)
    return Evaluation("kites", "val", class_names, records, detections, scores, model)


def shifted(records, by: float) -> list[Detections]:
    """The objects of each record, moved by ``by`` pixels."""
    found = []
    for one in perfect(records):
        found.append(replace(one, boxes=(one.boxes + np.float32(by)).clip(0, 200), masks=None))
    return found


def many(images: int = 30):
    return [drawn(i, [BOX, FAR], [1, 2 + i % 2]) for i in range(images)]


def test_better_model_is_named_with_the_interval_of_its_gain():
    records = many()
    good, bad = evaluation(records, perfect(records), "good"), evaluation(records, shifted(records, 8), "bad")
    found = compare(bad, good, splits=50)
    one = found.metrics["bbox_AP"]
    assert one.change == pytest.approx(good.metrics["bbox_AP"] - bad.metrics["bbox_AP"]) and one.is_clear
    assert found.verdict().startswith(f"good is better than bad: +{100 * one.change:.1f} [")
    assert one.low <= one.change <= one.high and one.images_needed is None
    backwards = compare(good, bad, splits=50)
    assert backwards.verdict().startswith(f"good is better than bad: -{100 * one.change:.1f} [")
    assert backwards.metrics["bbox_AP"].low == pytest.approx(-one.high)


def test_metrics_are_those_of_the_evaluations_and_masks_count_if_both_have_them():
    records, found = noisy_scene()
    old, new = evaluation(records, found, "old"), evaluation(records, perfect(records), "new")
    both = new.compare(old)
    assert list(both.metrics) == ["bbox_AP", "bbox_AP50", "segm_AP", "segm_AP50"]
    for name, one in both.metrics.items():
        assert one.baseline == pytest.approx(old.metrics[name]) and one.model == pytest.approx(new.metrics[name])
    assert set(both.classes) == set(SHAPES.names)
    assert both.classes["square"].baseline == pytest.approx(old.per_class["square"]["bbox_AP"])
    boxes = evaluation(records, [replace(one, masks=None) for one in found], "boxes")
    assert list(compare(boxes, new).metrics) == ["bbox_AP", "bbox_AP50"]


def test_models_that_differ_in_few_images_cannot_be_distinguished_and_more_images_are_named():
    records = many(12)
    first, second = perfect(records), perfect(records)
    for i in range(12):  # each model misses an object in other images, the second one in one image more
        if i in (0, 1, 2):
            first[i] = first[i][:1]
        if i in (5, 6, 7, 8):
            second[i] = second[i][:1]
    one = compare(evaluation(records, first, "a"), evaluation(records, second, "b"))
    difference = one.metrics["bbox_AP"]
    assert difference.low < 0 < difference.high and difference.images_needed > 12
    assert one.verdict().startswith("12 images cannot distinguish b from a: -")
    assert one.verdict().endswith(f"; about {difference.images_needed:,} would be needed")


def test_more_images_are_needed_than_those_that_cannot_tell():
    # The interval of three images is so wide that the normal distribution alone would ask for two.
    assert _images_needed(change=0.4, error=0.1, images=3) == 4


def test_number_of_needed_images_grows_with_the_square_of_the_error():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 200)
    halves = np.stack([noise, -noise], axis=1).ravel()  # standard error 0.1 * sqrt(2) * ... of opposite halves
    needed = []
    for change in (0.02, 0.04):
        values = np.concatenate([[change], change + halves])
        needed.append(_difference(np.zeros((1, 401)), values[None], images=10).images_needed)
    assert needed[0] == pytest.approx(4 * needed[1], rel=0.05)
    assert needed[1] == pytest.approx(10 * (2.8 * 0.1 / 0.04) ** 2, rel=0.1)


def test_equal_models_do_not_differ():
    records, found = noisy_scene()
    same = compare(evaluation(records, found, "a"), evaluation(records, found, "b"))
    assert same.verdict() == "b and a have the same bbox AP" and not same.changes


def test_images_with_the_largest_change_of_errors_come_first():
    records = many(6)
    found = perfect(records)
    extra = Detections(HW, np.float32([FAR, [0, 0, 9, 9]]), np.float32([0.99, 0.98]), np.array([1, 1]))
    found[2] = extra
    found[4] = found[4][:1]
    changes = compare(evaluation(records, found, "old"), evaluation(records, perfect(records), "new")).changes
    assert [one.file for one in changes] == ["2.png", "4.png"]
    assert (changes[0].baseline_false, changes[0].baseline_missed, changes[0].model_false) == (2, 2, 0)
    assert changes[1].fewer_errors == 1 and changes[1].objects == 2


def test_large_losses_come_before_small_gains():
    records = many(6)
    before, after = perfect(records), [one[1:] for one in perfect(records)]  # the model detects no circle
    before[1], before[5], after[3] = before[1][:1], before[5][:0], after[3][:0]
    found = compare(evaluation(records, before, "old"), evaluation(records, after, "new"))
    assert found.classes["circle"].change < -0.5 and 0 < found.classes["triangle"].change < 0.5
    assert next(iter(found.classes)) == "circle"
    assert (found.changes[0].file, found.changes[0].fewer_errors) == ("3.png", -2)
    assert ("5.png", 1) in [(one.file, one.fewer_errors) for one in found.changes]


def test_errors_of_a_model_without_a_best_threshold_are_counted_at_the_default_threshold():
    records = many(6)
    wrong = Detections(HW, np.float32([[0, 0, 9, 9], [100, 0, 109, 9]]), np.float32([0.9, 0.3]), np.array([1, 1]))
    found = compare(evaluation(records, [wrong] * 6, "old"), evaluation(records, perfect(records), "new"))
    assert {(one.baseline_false, one.baseline_missed) for one in found.changes} == {(1, 2)}


def test_table_and_json_have_the_verdict_all_classes_and_the_images():
    records = many(6)
    found = compare(evaluation(records, shifted(records, 8), "old"), evaluation(records, perfect(records), "new"))
    text, content = found.table(), json.loads(json.dumps(found.to_dict()))
    assert text.startswith(found.verdict()) and content["verdict"] == found.verdict()
    assert all(f"bbox AP {name}" in text for name in SHAPES.names)
    assert content["metrics"]["bbox_AP"]["model"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda records: [*records[:-2], drawn(9, [BOX, FAR], [1, 2])], "one has 5 images, the other 6"),
        (lambda records: [*records[:-1], drawn(9, [BOX, FAR], [1, 2])], "9.png and 5.png differ"),
        (lambda records: [drawn(0, [BOX, FAR], [2, 2]), *records[1:]], "0.png and 0.png differ"),
    ],
)
def test_evaluations_on_different_images_or_annotations_are_refused(change, words):
    records = many(6)
    other = change(records)
    with pytest.raises(UsageError, match=f"only be compared on the same images and annotations: {words}"):
        compare(evaluation(other, perfect(other)), evaluation(records, perfect(records)))


def test_images_that_only_one_evaluation_has_are_left_out_with_a_warning(capsys):
    records = many(6)
    all_bad = evaluation(records, shifted(records, 8), "bad")
    readable = [*records[:3], *records[4:]]
    few_good, few_bad = (evaluation(readable, found(readable), "x") for found in (perfect, lambda r: shifted(r, 8)))
    expected = compare(few_bad, few_good).metrics
    assert compare(all_bad, few_good).metrics == expected and compare(few_good, all_bad).images == 5
    assert (
        capsys.readouterr().err.splitlines()
        == ["warning: 1 image of 6 left out of the comparison, which only one of the models has: 3.png"] * 2
    )


def test_without_any_object_there_is_no_metric_and_the_json_is_valid():
    records = [drawn(i, [], []) for i in range(3)]
    found = compare(evaluation(records, perfect(records), "a"), evaluation(records, perfect(records), "b"))
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["metrics"]["bbox_AP"]["baseline"] is None and not content["classes"]
    assert "distinguish b from a" in found.verdict() and "bbox AP" in found.table()


def test_evaluations_with_different_limits_are_refused():
    records = many(3)
    with pytest.raises(UsageError, match="evaluate both with the same `max_detections`"):
        compare(evaluation(records, perfect(records), limit=200), evaluation(records, perfect(records)))
