"""What fixing each type of error would add to AP, and the same in words; compared with the figures of tidecv."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.analyzed import BESIDE, BOX, FAR, analyze, found
from helpers.planted_errors import drawn_records, planted
from helpers.scenes import SHAPES, drawn, nothing, perfect, scene, small_sets
from helpers.tide_cases import RECORDED, TINY, make_case
from hypothesis import given, settings

from detect.evaluation.coco_metrics import score
from detect.evaluation.error_analysis import ErrorType
from detect.evaluation.error_gains import GAIN_NAMES, error_gains
from detect.evaluation.error_texts import top_errors

TIDECV = json.loads((Path(__file__).parent / "fixtures" / "tidecv.json").read_text())
SAME = dict(zip(("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss", "FalsePos", "FalseNeg"), GAIN_NAMES, strict=True))
NO_GAIN = dict.fromkeys(GAIN_NAMES, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize(("dataset", "errors"), RECORDED)
def test_gains_and_numbers_of_errors_equal_those_of_tidecv(dataset, errors, kind):
    if dataset != "drawn" and not TINY.is_dir():
        pytest.skip("needs coco_tiny80")
    case, expected = make_case(dataset, errors), TIDECV[f"{dataset}, {errors}"][kind]
    analysis = analyze(case.records, case.detections, kind, case.class_names)
    gains = error_gains(analysis)
    assert 100 * gains.ap == pytest.approx(expected["AP50"], abs=0.05)
    for name, value in expected["dAP"].items():
        assert 100 * gains.overall[SAME[name]] == pytest.approx(value, abs=0.05), name
    # tidecv also gives ignored detections an error type.
    counts, ignored = analysis.counts(), int((analysis.detection_error == ErrorType.IGNORED).sum())
    more = {name: number - counts[SAME[name]] for name, number in expected["errors"].items()}
    assert more["Miss"] == 0 and min(more.values()) >= 0 and sum(more.values()) == ignored


@settings(max_examples=60)
@given(small_sets())
def test_fixing_errors_never_lowers_ap(sets):
    records, detections = sets
    metrics = score(records, detections, SHAPES)
    for kind in ("bbox", "segm"):
        gains = error_gains(analyze(records, detections, kind))
        assert gains.ap == pytest.approx(metrics[kind]["AP50"] or 0.0)
        assert {name: metrics["classes"][name][kind]["AP50"] for name in gains.class_ap} == pytest.approx(
            gains.class_ap
        )
        for one in (gains.overall, *gains.classes.values()):
            assert tuple(one) == GAIN_NAMES and min(one.values()) > -1e-9
        assert gains.ap + max(gains.overall.values()) < 1 + 1e-9


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_ground_truth_as_detections_has_nothing_to_gain(kind):
    records = scene()
    analysis = analyze(records, perfect(records), kind)
    gains = error_gains(analysis)
    assert gains.ap == pytest.approx(1) and gains.overall == pytest.approx(NO_GAIN)
    assert gains.classes == {name: pytest.approx(NO_GAIN) for name in ("circle", "square")}  # no triangle
    assert top_errors(analysis, gains) == []


@pytest.mark.parametrize(
    ("planted_error", "name"),
    [("missed", "missed"), ("shifted", "localization"), ("wrong class", "classification"), ("duplicate", "duplicate")],
)
def test_fixing_the_only_type_of_error_makes_the_model_perfect(planted_error, name):
    boxes = {"shifted": BESIDE, "wrong class": BOX, "duplicate": BOX}
    record = drawn(1, [BOX, FAR], [1, 2])
    parts = [(FAR, 2, 0.8)]
    if planted_error == "duplicate":
        parts = [(BOX, 1, 0.95), (BOX, 1, 0.9), (FAR, 2, 0.8), (FAR, 2, 0.7)]
    elif planted_error != "missed":
        parts.insert(0, (boxes[planted_error], 3 if planted_error == "wrong class" else 1, 0.9))
    gains = error_gains(analyze([record], [found(*parts)]))
    assert gains.ap + gains.overall[name] == pytest.approx(1)
    others = {k: v for k, v in gains.overall.items() if k not in (name, "false_positives", "false_negatives")}
    assert max(others.values()) == 0


def test_only_the_best_of_several_corrected_detections_finds_the_object():
    record = drawn(1, [BOX], [1])
    gains = error_gains(analyze([record], [found((BESIDE, 1, 0.9), ([12, 18, 32, 38], 1, 0.8))]))
    assert gains.overall == pytest.approx(NO_GAIN | {"localization": 1.0, "false_negatives": 0.0})


def test_gains_of_a_class_concern_its_own_objects_and_detections():
    record = drawn(1, [BOX, FAR], [1, 2])
    gains = error_gains(analyze([record], [found(([100, 10, 120, 20], 2, 0.95), (FAR, 2, 0.9))]))
    assert gains.class_ap == {"circle": 0.0, "square": pytest.approx(0.5)}
    assert gains.classes["circle"] == NO_GAIN | {"missed": 1.0, "false_negatives": 1.0}
    assert gains.classes["square"] == pytest.approx(NO_GAIN | {"background": 0.5, "false_positives": 0.5})


def test_classes_without_objects_do_not_count():
    record = drawn(1, [BOX], [1])
    gains = error_gains(analyze([record], [found((FAR, 2, 0.95), (BOX, 1, 0.9))]))
    assert (
        gains.ap == pytest.approx(1) and gains.overall == pytest.approx(NO_GAIN) and list(gains.classes) == ["circle"]
    )


def test_without_objects_there_is_nothing_to_gain():
    gains = error_gains(analyze([drawn(1, [], [])], [found((BOX, 1, 0.9))]))
    assert (gains.ap, gains.overall, gains.classes) == (0.0, NO_GAIN, {})


# In words


def test_the_most_costly_errors_come_first_in_words():
    records = drawn_records()
    for kind in ("bbox", "segm"):
        analysis = analyze(records, planted(records, len(SHAPES)), kind)
        gains = error_gains(analysis)
        costly = sorted(((gain, name) for name, gain in gains.overall.items() if "false" not in name), reverse=True)
        lines = top_errors(analysis, gains, 6)
        assert len(lines) == sum(gain >= 0.0005 for gain, _ in costly) and lines[:2] == top_errors(analysis, gains, 2)
        for line, (gain, name) in zip(lines, costly, strict=False):
            assert f" add {100 * gain:.1f} points of AP50" in line and str(analysis.counts()[name]) in line


def test_words_name_classes_and_sizes():
    record = drawn(1, [BOX, FAR, [100, 10, 155, 50], [20, 70, 58, 110]], [1, 2, 3, 2])
    analysis = analyze([record], [found((FAR, 2, 0.5), (BOX, 2, 0.4))])
    confused, missed = top_errors(analysis, error_gains(analysis), min_score=0.5)
    assert missed.startswith("2 of 4 objects are missed (triangle: 1, square: 1): finding them would add ")
    assert confused.startswith(
        "1 detection has the wrong class (circle detected as square: 1; 0 with a score of at least 0.50): correcting"
    )
    analysis = analyze([drawn(1, [BOX, [100, 10, 120, 20]], [1, 1])], nothing([record]))
    (line,) = top_errors(analysis, error_gains(analysis))
    assert "2 of 2 objects are missed (circle: 2; 2 smaller than 32 x 32 pixels): finding them would add" in line
