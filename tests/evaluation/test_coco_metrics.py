"""COCO's metrics: perfect detections score 1, none score 0, classes without ground truth None; and the text table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.scenes import HW, SHAPES, drawn, noisy_scene, nothing, perfect, rectangle, scene

from detect.evaluation.coco_metrics import NAMES, one_line, score
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

# Rules for every metric


def test_ground_truth_as_detections_scores_1():
    metrics = score(scene(), perfect(scene()), SHAPES)
    for kind in ("bbox", "segm"):
        for name in ("AP", "AP50", "AP75", "APs", "APm", "AR100"):
            assert metrics[kind][name] == pytest.approx(1.0, abs=1e-6), (kind, name)


def test_metric_without_ground_truth_is_none_and_not_minus_1():
    metrics = score(scene(), perfect(scene()), SHAPES)
    assert metrics["bbox"]["APl"] is None and metrics["segm"]["ARl"] is None
    assert set(metrics["classes"]["triangle"]["bbox"].values()) == {None}
    assert metrics["classes"]["square"]["bbox"]["APs"] is None
    assert set(score(scene()[2:], nothing(scene()[2:]), SHAPES)["bbox"].values()) == {None}


def test_no_detections_score_0():
    metrics = score(scene(), nothing(scene()), SHAPES)
    for kind in ("bbox", "segm"):
        assert {n for n, value in metrics[kind].items() if value == 0} == set(NAMES) - {"APl", "ARl"}
        assert metrics["classes"]["circle"][kind]["AP"] == 0


def one_changed(**changes) -> list[Detections]:
    """Perfect detections, those of the first image changed."""
    found = perfect(scene())
    return [replace(found[0], **changes), *found[1:]]


def moved(by: float) -> list[Detections]:
    boxes = perfect(scene())[0].boxes + np.float32(by)
    return one_changed(boxes=boxes, masks=[rectangle(box) for box in boxes])


def metric(found: list[Detections], kind: str = "bbox", name: str = "AP") -> float:
    return score(scene(), found, SHAPES)[kind][name]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_every_kind_of_error_lowers_ap(kind):
    wrong_class = one_changed(labels=np.array([1, 3]))
    lost = [one[1:] for one in perfect(scene())]
    extra = perfect(scene())
    extra[2] = Detections(
        HW, np.float32([[5, 5, 50, 50]]), np.float32([1]), np.array([1]), [rectangle((5, 5, 50, 50))]
    )
    assert metric(moved(3), kind) > metric(moved(8), kind)
    for wrong in (moved(3), wrong_class, lost, extra):
        assert metric(wrong, kind) < 0.99


def test_shifted_box_lowers_ap_at_strict_thresholds_first():
    """Shifted by 3 pixels the small square has an IoU of 0.57, the large one of 0.82."""
    assert metric(moved(3), name="AP50") == pytest.approx(1.0, abs=1e-6)
    assert metric(moved(3), name="AP75") < 0.99


def test_wrong_mask_lowers_only_segm():
    found = one_changed(masks=[rectangle((130, 90, 150, 110)) for _ in range(2)])
    assert metric(found, "bbox") == pytest.approx(1.0, abs=1e-6)
    assert metric(found, "segm") < 0.8


def test_detections_inside_a_crowd_region_do_not_count():
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
        assert metric(found, kind) == pytest.approx(1.0, abs=1e-6)


def test_metrics_of_a_class_do_not_depend_on_other_classes():
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


def test_category_ids_do_not_change_the_metrics():
    records, found = noisy_scene()
    assert score(records, found, SHAPES) == score(records, found, ClassNames(SHAPES.names))


# Invalid input


def test_detections_of_other_images_are_an_error():
    """COCO's evaluator would silently return 0."""
    with pytest.raises(ValueError, match="3 records but detections of 2 images"):
        score(scene(), perfect(scene())[:2], SHAPES)
    with pytest.raises(ValueError, match=r"1\.png is \(120, 160\) \(h, w\), its detections are for \(160, 120\)"):
        score(scene(), [Detections((160, 120), masks=[]), *perfect(scene())[1:]], SHAPES)
    with pytest.raises(ValueError, match=r"1\.png: label 4 is not in 1\.\.3"):
        score(scene(), one_changed(labels=np.array([4, 2])), SHAPES)


def test_segm_needs_masks_in_ground_truth_and_detections():
    bare = [replace(record, masks=None) for record in scene()]
    assert set(score(bare, perfect(scene()), SHAPES)) == {"bbox", "classes", "evaluator", "detection_limit"}
    boxes_only = [replace(one, masks=None) for one in perfect(scene())]
    metrics = score(scene(), boxes_only, SHAPES)
    assert "segm" not in metrics and set(metrics["classes"]["circle"]) == {"bbox"}
    assert metrics["bbox"]["AP"] == pytest.approx(1.0, abs=1e-6)
    assert "segm" not in score(scene(), nothing(scene(), with_masks=False), SHAPES)


# As text


def test_one_line_has_a_dash_for_metrics_without_ground_truth():
    metrics = score(scene()[2:], nothing(scene()[2:], with_masks=False), SHAPES)
    assert one_line(metrics) == "bbox AP - AP50 -"
