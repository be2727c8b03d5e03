"""COCO's metrics: perfect is 1, nothing is 0, what cannot be scored is None; and the same as text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.scenes import HW, SHAPES, drawn, noisy_scene, nothing, perfect, rectangle, scene

from detect.evaluation.coco_metrics import NAMES, one_line, score, table
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

# What every number must obey


def test_the_ground_truth_found_is_perfect():
    metrics = score(scene(), perfect(scene()), SHAPES)
    for kind in ("bbox", "segm"):
        for name in ("AP", "AP50", "AP75", "APs", "APm", "AR100"):
            assert metrics[kind][name] == pytest.approx(1.0, abs=1e-6), (kind, name)


def test_what_has_no_ground_truth_is_none_not_minus_1():
    metrics = score(scene(), perfect(scene()), SHAPES)
    assert metrics["bbox"]["APl"] is None and metrics["segm"]["ARl"] is None
    assert set(metrics["classes"]["triangle"]["bbox"].values()) == {None}
    assert metrics["classes"]["square"]["bbox"]["APs"] is None
    assert set(score(scene()[2:], nothing(scene()[2:]), SHAPES)["bbox"].values()) == {None}


def test_nothing_found_is_0():
    metrics = score(scene(), nothing(scene()), SHAPES)
    for kind in ("bbox", "segm"):
        assert {n for n, value in metrics[kind].items() if value == 0} == set(NAMES) - {"APl", "ARl"}
        assert metrics["classes"]["circle"][kind]["AP"] == 0


def one_changed(**changes) -> list[Detections]:
    """All found, the first of them changed."""
    found = perfect(scene())
    return [replace(found[0], **changes), *found[1:]]


def moved(by: float) -> list[Detections]:
    boxes = perfect(scene())[0].boxes + np.float32(by)
    return one_changed(boxes=boxes, masks=[rectangle(box) for box in boxes])


def average(found: list[Detections], kind: str = "bbox", name: str = "AP") -> float:
    return score(scene(), found, SHAPES)[kind][name]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_each_mistake_costs(kind):
    wrong_class = one_changed(labels=np.array([1, 3]))
    lost = [one[1:] for one in perfect(scene())]
    extra = perfect(scene())
    extra[2] = Detections(
        HW, np.float32([[5, 5, 50, 50]]), np.float32([1]), np.array([1]), [rectangle((5, 5, 50, 50))]
    )
    assert average(moved(3), kind) > average(moved(8), kind)
    for mistake in (moved(3), wrong_class, lost, extra):
        assert average(mistake, kind) < 0.99


def test_a_shift_costs_at_the_strict_thresholds_first():
    """By 3 pixels the small square has an IoU of 0.57, the large one of 0.82."""
    assert average(moved(3), name="AP50") == pytest.approx(1.0, abs=1e-6)
    assert average(moved(3), name="AP75") < 0.99


def test_a_wrong_mask_costs_in_segm_only():
    found = one_changed(masks=[rectangle((130, 90, 150, 110)) for _ in range(2)])
    assert average(found, "bbox") == pytest.approx(1.0, abs=1e-6)
    assert average(found, "segm") < 0.8


def test_what_is_found_in_a_crowd_neither_helps_nor_harms():
    found = perfect(scene())
    inside = np.float32([[20, 92, 40, 112], [70, 92, 90, 112]])
    found[0] = Detections(
        HW,
        np.concatenate([inside, found[0].boxes]),
        np.float32([1, 1, *found[0].scores]),
        np.array([1, 1, *found[0].labels]),
        [*map(rectangle, inside), *found[0].masks],
    )
    for kind in ("bbox", "segm"):
        assert average(found, kind) == pytest.approx(1.0, abs=1e-6)


def test_a_class_is_scored_as_if_it_were_alone():
    records, found = noisy_scene()
    metrics = score(records, found, SHAPES)
    for label, name in enumerate(SHAPES.names, start=1):
        chosen = [np.flatnonzero(r.labels == label) for r in records]
        alone = [
            drawn(r.image_id, r.boxes[i], np.ones(len(i)), np.flatnonzero(r.iscrowd[i]))
            for r, i in zip(records, chosen, strict=True)
        ]
        of_class = [one.filter(labels=[label]) for one in found]
        of_class = [replace(one, labels=np.ones(len(one), np.int64)) for one in of_class]
        expected = score(alone, of_class, ClassNames((name,)))
        for kind in ("bbox", "segm"):
            mine = metrics["classes"][name][kind]
            assert mine == pytest.approx({n: expected[kind][n] for n in mine}, abs=1e-9)
            assert 0 < mine["AP"] < 1


def test_the_original_ids_change_nothing():
    records, found = noisy_scene()
    assert score(records, found, SHAPES) == score(records, found, ClassNames(SHAPES.names))


# What is refused


def test_results_of_other_images_are_refused():
    """Taken as they are, COCO's evaluator would answer 0 without a word."""
    with pytest.raises(ValueError, match="3 images but 2 results"):
        score(scene(), perfect(scene())[:2], SHAPES)
    with pytest.raises(ValueError, match=r"1\.png is \(120, 160\) \(h, w\), its detections are for \(160, 120\)"):
        score(scene(), [Detections((160, 120), masks=[]), *perfect(scene())[1:]], SHAPES)
    with pytest.raises(ValueError, match=r"1\.png: label 4 is not in 1\.\.3"):
        score(scene(), one_changed(labels=np.array([4, 2])), SHAPES)


def test_masks_are_scored_only_where_both_sides_have_them():
    bare = [replace(record, masks=None) for record in scene()]
    assert set(score(bare, perfect(scene()), SHAPES)) == {"bbox", "classes", "evaluator"}
    boxes_only = [replace(one, masks=None) for one in perfect(scene())]
    metrics = score(scene(), boxes_only, SHAPES)
    assert set(metrics) == {"bbox", "classes", "evaluator"} and set(metrics["classes"]["circle"]) == {"bbox"}
    assert metrics["bbox"]["AP"] == pytest.approx(1.0, abs=1e-6)
    assert "segm" not in score(scene(), nothing(scene(), with_masks=False), SHAPES)


# As text


def test_the_table_has_a_dash_where_there_is_nothing_to_score():
    lines = table(score(scene(), perfect(scene()), SHAPES)).splitlines()
    assert lines[0].split() == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"]
    rows = {tuple(line.split()[:-7]): line.split()[-7:] for line in lines[1:]}
    assert rows[("bbox",)] == ["1.000"] * 5 + ["-", "1.000"]
    assert rows[("segm", "triangle")] == ["-"] * 7
    assert len(rows) == 2 + 2 * 3
    assert len({len(line) for line in lines}) == 1


def test_a_single_class_needs_no_rows_of_its_own():
    records = [drawn(1, [[5, 5, 25, 25]], [1])]
    metrics = score(records, perfect(records), ClassNames(("balloon",)))
    assert len(table(metrics).splitlines()) == 3
    assert one_line(metrics) == "bbox AP 1.000 AP50 1.000  segm AP 1.000 AP50 1.000"


def test_one_line_has_a_dash_too():
    metrics = score(scene()[2:], nothing(scene()[2:], with_masks=False), SHAPES)
    assert one_line(metrics) == "bbox AP - AP50 -"
