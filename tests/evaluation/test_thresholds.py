"""Chosen thresholds are the best ones, compared with a search over all scores, and keep what they were chosen for."""

from __future__ import annotations

import json
from itertools import accumulate

import numpy as np
import pytest
from helpers.greedy_matching import counts_by_loops, matched_at_half
from helpers.scenes import HW, SHAPES, drawn, noisy_scene, small_sets
from hypothesis import given, settings
from hypothesis import strategies as st

from detect.errors import UsageError
from detect.evaluation.threshold_counts import counts_at
from detect.evaluation.thresholds import MIN_OBJECTS, Thresholds, between, choose_thresholds, with_intervals
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

BALLOON = ClassNames(("balloon",))


def grid(n: int) -> np.ndarray:
    """Return n boxes that do not overlap, [n, 4]."""
    x, y = np.arange(n) % 10 * 15, np.arange(n) // 10 * 15
    return np.stack([x, y, x + 10, y + 10], axis=1)


def one_image(correct: str, scores: list[float], objects: int, label: int = 1) -> tuple[ImageRecord, Detections]:
    """Return an image with ``objects`` objects, and detections: those with "+" in ``correct`` are correct."""
    hits = list(accumulate(c == "+" for c in correct))
    boxes = [grid(objects)[n - 1] if c == "+" else [150, 100, 160, 120] for c, n in zip(correct, hits, strict=True)]
    labels = np.full(len(scores), label)
    found = Detections(HW, np.float32(boxes).reshape(-1, 4), np.float32(scores), labels)
    return drawn(1, grid(objects), [label] * objects), found


def chosen(correct: str, scores: list[float], objects: int, **wanted: float) -> Thresholds:
    record, found = one_image(correct, scores, objects)
    table, _, matching = matched_at_half([record], [found], BALLOON)
    return choose_thresholds(table, matching, **wanted)


def every_option(records, found, label: int) -> dict[float, tuple[float, float, float]]:
    """Return precision, recall and F1 of a class for a threshold equal to each of its scores."""
    values = {}
    for threshold in {float(score) for one in found for score in one.scores[one.labels == label]}:
        correct, false, objects = counts_by_loops(records, found, label, threshold)
        if correct + false:
            recall = correct / objects
            values[threshold] = (correct / (correct + false), recall, 2 * correct / (correct + false + objects))
    return values


def with_enough_objects(sets) -> tuple[list[ImageRecord], list[Detections]]:
    """Add an image with enough objects of every class that a class has a threshold of its own."""
    records, found = sets
    labels = np.repeat([1, 2, 3], MIN_OBJECTS)
    boxes = grid(len(labels))
    scores = np.linspace(1, 0.05, len(labels), dtype=np.float32)
    more = Detections(HW, np.float32(boxes), scores, np.roll(labels, 2))
    return [*records, drawn(99, boxes, labels)], [*found, more]


@given(small_sets())
@settings(max_examples=40, deadline=None)
def test_no_other_threshold_has_a_higher_f1_and_of_equal_ones_the_highest_is_chosen(sets):
    records, found = with_enough_objects(sets)
    table, _, matching = matched_at_half(records, found)
    for label, one in enumerate(choose_thresholds(table, matching).classes.values(), 1):
        options = every_option(records, found, label)
        assert one.f1 == pytest.approx(max(f1 for _, _, f1 in options.values()))
        best = max(score for score, values in options.items() if values[2] == pytest.approx(one.f1))
        assert one.threshold <= best and not any(one.threshold <= score < best for score in options)
        assert (one.precision, one.recall, one.f1) == pytest.approx(options[best])


@given(small_sets(), st.sampled_from([0.2, 0.5, 0.75, 0.95, 1.0]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_wanted_precision_has_the_lowest_threshold_and_a_wanted_recall_the_highest(sets, value, is_precision):
    records, found = with_enough_objects(sets)
    table, _, matching = matched_at_half(records, found)
    wanted = {"precision" if is_precision else "recall": value}
    for label, one in enumerate(choose_thresholds(table, matching, **wanted).classes.values(), 1):
        options = every_option(records, found, label)
        wanted_index = 0 if is_precision else 1
        if one.threshold is None:
            assert one.remark and all(values[wanted_index] < value for values in options.values())
            continue
        result = pytest.approx((one.precision, one.recall, one.f1))
        assert options[min(score for score in options if score >= one.threshold)] == result
        assert (one.precision, one.recall)[wanted_index] >= value
        for score, values in options.items():  # equal values: a detection in a crowd region lies between the scores
            beyond = score < one.threshold if is_precision else score >= one.threshold
            assert not beyond or values[wanted_index] < value or values == result


@given(small_sets())
@settings(max_examples=40, deadline=None)
def test_the_stated_precision_and_recall_are_those_of_the_detections_that_are_kept(sets):
    table, _, matching = matched_at_half(*with_enough_objects(sets))
    result = choose_thresholds(table, matching)
    precision, recall, f1 = counts_at(table, matching, result.array(0.5)).rates()
    assert [one.precision for one in result.classes.values()] == pytest.approx(precision)
    assert [one.recall for one in result.classes.values()] == pytest.approx(recall)
    assert [one.f1 for one in result.classes.values()] == pytest.approx(f1)


def test_scores_that_differ_slightly_elsewhere_are_still_kept_or_dropped():
    records, found = noisy_scene()
    table, _, matching = matched_at_half(records, found)
    thresholds = choose_thresholds(table, matching).array(0.5)[table.dt_label - 1]
    kept = table.dt_scores >= thresholds
    assert 0 < kept.sum() < len(kept)
    for change in (-1e-5, 1e-5):
        np.testing.assert_array_equal(table.dt_scores + change >= thresholds, kept)


@given(st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_a_threshold_between_two_scores_separates_them_as_float32(a, b):
    low, high = sorted((a, b))
    if low < high:
        threshold = between(low, high)
        assert low < np.float32(threshold) <= high and low < threshold <= high


def test_adjacent_float32_scores_are_separated():
    for low in np.float32([0.5, 0.1, 0.999, 1e-8]):
        high = np.nextafter(low, np.float32(2))
        assert low < np.float32(between(float(low), float(high))) <= high


def test_a_threshold_has_few_decimals_and_lies_far_from_both_scores():
    assert between(0.4, 0.8) == 0.6
    assert between(0.6123, 0.6345) == 0.62
    assert between(0.61231, 0.61245) == 0.6124


def test_a_threshold_below_the_lowest_score_stays_close_to_it():
    one = chosen("+" * 8, list(np.linspace(0.9, 0.06, 8)), 8).overall
    assert 0.05 < one.threshold < 0.06 and one.recall == 1


def test_equal_scores_are_kept_or_dropped_together():
    one = chosen("+++-++", [0.9, 0.8, 0.7, 0.6, 0.6, 0.6], 5).overall
    assert one.threshold < 0.6 and (one.precision, one.recall) == pytest.approx((5 / 6, 1))
    one = chosen("+++-+-", [0.9, 0.8, 0.7, 0.6, 0.6, 0.6], 5, precision=0.75).overall
    assert one.threshold == 0.65 and one.precision == 1


def test_a_wanted_precision_that_is_never_reached_is_explained_with_the_best_one():
    one = chosen("+-++++-", [0.9, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 6, precision=0.95).overall
    assert one.threshold is None and one.precision is None
    assert one.remark == "precision 0.95 is never reached; the best is 0.8333 at threshold 0.45"


def test_a_wanted_recall_that_is_never_reached_is_explained_with_the_best_one():
    one = chosen("+++-", [0.9, 0.8, 0.7, 0.6], 6, recall=0.9).overall
    assert one.threshold is None
    assert one.remark == "recall 0.9 is never reached; the best is 0.5 at threshold 0.65"


def test_a_fraction_that_equals_the_wanted_value_reaches_it():
    assert chosen("+" * 19 + "-", list(np.linspace(0.9, 0.5, 20)), 20, precision=0.95).overall.precision == 0.95
    assert chosen("+" * 9, list(np.linspace(0.9, 0.5, 9)), 10, recall=0.9).overall.recall == 0.9


def test_without_detections_or_correct_ones_there_is_no_threshold():
    assert chosen("", [], 6).overall.remark == "nothing is detected"
    assert chosen("--", [0.9, 0.8], 6).overall.remark == "no detection is correct"
    assert chosen("--", [0.9, 0.8], 6, precision=0.5).classes["balloon"].remark == "no detection is correct"


def test_a_class_with_few_objects_gets_the_overall_threshold():
    many, found_many = one_image("+" * 10 + "-", [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4, 0.3], 10)
    few, found_few = one_image("+-", [0.95, 0.94], 2, label=2)
    table, _, matching = matched_at_half([many, few], [found_many, found_few])
    result = choose_thresholds(table, matching)
    own, rare, none = (result.classes[name] for name in SHAPES.names)
    assert own.threshold == 0.35 and not own.remark
    assert rare.threshold == none.threshold == result.overall.threshold
    assert (
        rare.remark == "only 2 objects: threshold of all classes"
        and none.remark == "no objects: threshold of all classes"
    )
    assert (rare.objects, rare.precision, rare.recall) == (2, 0.5, 0.5)
    assert (none.objects, none.precision, none.recall) == (0, None, None)
    assert set(result.values) == set(SHAPES.names)


def test_the_only_class_keeps_its_own_threshold_with_a_remark_if_it_has_few_objects():
    result = chosen("++-", [0.9, 0.8, 0.3], 2)
    assert result.classes == {"balloon": result.overall} and result.overall.threshold == 0.55
    assert result.overall.remark == "chosen on only 2 objects"


def test_an_undetected_class_gets_the_overall_threshold_only_for_the_highest_f1():
    many, found = one_image("+" * 10, list(np.linspace(0.9, 0.5, 10)), 10)
    undetected = drawn(2, grid(10), [2] * 10)
    table, _, matching = matched_at_half([many, undetected], [found, Detections(HW)])
    square = choose_thresholds(table, matching).classes["square"]
    assert square.threshold is not None and square.remark == "nothing is detected: threshold of all classes"
    square = choose_thresholds(table, matching, precision=0.5).classes["square"]
    assert square.threshold is None and square.remark == "nothing is detected"


def test_the_overall_threshold_has_the_highest_mean_f1():
    records, found = noisy_scene()
    table, _, matching = matched_at_half(records, found)
    overall = choose_thresholds(table, matching).overall
    options = {float(score) for score in table.dt_scores}
    means = [counts_at(table, matching, np.full(3, score)).rates()[2].mean() for score in options]
    assert overall.f1 == pytest.approx(max(means))
    assert counts_at(table, matching, np.full(3, overall.threshold)).rates()[2].mean() == pytest.approx(max(means))


def test_settings_that_contradict_or_are_out_of_range_are_refused():
    with pytest.raises(UsageError, match="chosen for one of them"):
        chosen("+", [0.9], 1, precision=0.9, recall=0.9)
    with pytest.raises(UsageError, match=r"`precision=95` must be a number in 0\.\.1"):
        chosen("+", [0.9], 1, precision=95)
    with pytest.raises(UsageError, match="`recall=nan`"):
        chosen("+", [0.9], 1, recall=float("nan"))


def test_the_result_is_shown_as_a_table_and_stored_as_json():
    records, found = noisy_scene()
    table, _, matching = matched_at_half(records, found)
    result = choose_thresholds(table, matching, precision=0.8)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["rule"] == "precision of at least 0.8"
    lines = result.table().splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["all", *SHAPES.names]
    assert len(chosen("+", [0.9], 1).table().splitlines()) == 2


def test_precision_and_recall_get_intervals_that_contain_them():
    records, found = noisy_scene()
    table, _, matching = matched_at_half(records, found)
    plain = choose_thresholds(table, matching)
    extended = with_intervals(plain, table, matching)
    assert extended.values == plain.values
    for one in (extended.overall, *extended.classes.values()):
        for value, (low, high) in ((one.precision, one.precision_interval), (one.recall, one.recall_interval)):
            assert 0 <= low <= value <= high <= 1
    low, high = extended.overall.recall_interval
    assert f"{extended.overall.recall:.3f} [{low:.3f}, {high:.3f}]" in extended.table()
    assert json.loads(json.dumps(extended.to_dict()))["overall"]["recall_interval"] == [low, high]
