"""More objects of one class in an image than COCO's protocol scores: the stated bound is the score of a perfect
detector, and a higher limit lifts it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from helpers.reading import read_split
from helpers.scenes import HW, SHAPES, drawn, noisy_scene, perfect
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detect.evaluation import EVALUATORS
from detect.evaluation.coco_metrics import NAMES, one_line, score
from detect.evaluation.coco_rows import to_coco_rows
from detect.evaluation.columns import evaluation_table
from detect.evaluation.detection_limit import limit_facts, scored_detections
from detect.evaluation.evaluators import evaluate
from detect.evaluation.intervals import ap_intervals
from detect.evaluation.matched_table import MatchedTable
from detect.evaluation.metrics_table import table
from detect.structures.image_record import ImageRecord


def crowded(*labels_per_image: Sequence[int], crowds: int = 0) -> list[ImageRecord]:
    """Return one record per list of labels, with objects that do not overlap; the first ``crowds`` are crowds."""
    records = []
    for image_id, labels in enumerate(labels_per_image):
        columns = HW[1] // 5
        corners = np.array([(5 * (i % columns), 5 * (i // columns)) for i in range(len(labels))]).reshape(-1, 2)
        records.append(drawn(image_id, np.concatenate([corners, corners + 4], axis=1), labels, range(crowds)))
    return records


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize(
    ("records", "images", "ap", "ar"),
    [
        (crowded([1] * 120), 1, 84 / 101, 100 / 120),  # recalls 0.00 to 0.83
        (crowded([1] * 100), 0, 1, 1),
        (crowded([1] * 101), 1, 100 / 101, 100 / 101),
        (crowded([1] * 125), 1, 81 / 101, 0.8),
        (crowded([1] * 120, [1] * 30, []), 1, 87 / 101, 130 / 150),
        (crowded([1] * 120, [1] * 140), 2, 77 / 101, 200 / 260),
        (crowded([1] * 120 + [2] * 90), 1, (84 / 101 + 1) / 2, (100 / 120 + 1) / 2),  # a mean over classes
        (crowded([1] * 150 + [3] * 200), 1, (67 + 51) / 2 / 101, (100 / 150 + 100 / 200) / 2),
        (crowded([1] * 105, crowds=5), 0, 1, 1),
    ],
)
def test_bound_is_the_score_of_a_perfect_detector(records, images, ap, ar, evaluator):
    metrics = score(records, perfect(records), SHAPES, evaluator=evaluator)
    facts = metrics["detection_limit"]
    assert (facts["per_image_and_class"], facts["images_above"]) == (100, images)
    for kind in ("bbox", "segm"):
        assert metrics[kind]["AP"] == pytest.approx(facts["max_AP"], abs=1e-9) == pytest.approx(ap)
        assert metrics[kind]["AR100"] == pytest.approx(facts["max_AR"], abs=1e-9) == pytest.approx(ar)
    assert ("AP is at most" in table(metrics)) == (images > 0)
    assert "maxDets" not in one_line(metrics)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("limit", [110, 120, 300])
def test_higher_limit_scores_more_objects_and_says_that_it_is_not_cocos(limit, evaluator):
    records = crowded([1] * 120)
    metrics = score(records, perfect(records), SHAPES, evaluator=evaluator, limit=limit)
    assert metrics["bbox"][f"AR{limit}"] == metrics["classes"]["circle"]["bbox"][f"AR{limit}"] == min(limit / 120, 1)
    assert metrics["bbox"]["AP"] == pytest.approx(metrics["detection_limit"]["max_AP"])
    assert "AR100" not in metrics["bbox"] and f"AR{limit}" in table(metrics).splitlines()[0]
    assert f"not COCO's standard: up to {limit} " in table(metrics) and f"maxDets {limit}" in one_line(metrics)


def test_intervals_have_the_same_limit_as_the_metrics():
    records = crowded([1] * 120, [1] * 120)
    for limit, expected in ((100, 84 / 101), (120, 1)):
        low, high = ap_intervals(records, perfect(records), SHAPES, splits=10, limit=limit)["bbox"]["AP"]
        assert low <= high == pytest.approx(expected)


@pytest.mark.parametrize(("given", "expected"), [(None, 100), (1, 100), (100, 100), (101, 101), (300, 300)])
def test_only_a_number_above_cocos_replaces_it(given, expected):
    assert scored_detections(given) == expected


def test_crowds_of_a_dataset_do_not_count(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    objects = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [i % 50, i // 50, 9, 9], "iscrowd": int(i <= 5)}
        for i in range(1, 106)
    ]
    whole = {"images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}], "annotations": objects}
    (tmp_path / "a.json").write_text(json.dumps(whole | {"categories": [{"id": 1, "name": "circle"}]}))
    _, table = read_split("coco", tmp_path, tmp_path / "a.json")
    facts = limit_facts(table, 1)
    assert facts == limit_facts(list(table), 1) and (facts["images_above"], facts["max_AR"]) == (0, 1)


def test_there_is_no_bound_without_objects():
    facts = limit_facts(crowded([], [1, 1], crowds=2), len(SHAPES))
    assert (facts["images_above"], facts["max_AP"], facts["max_AR"]) == (0, None, None)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_metrics_are_those_that_pycocotools_summarizes(evaluator, kind):
    table = evaluation_table(*noisy_scene(), SHAPES)
    rows = to_coco_rows(table, kind)
    ground_truth, detections = COCO(), COCO()
    for coco, part in ((ground_truth, rows.ground_truth), (detections, rows.detections)):
        coco.dataset = {"images": rows.images, "annotations": part, "categories": rows.categories}
        coco.createIndex()
    evaluation = COCOeval(ground_truth, detections, kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    found = evaluate(MatchedTable(table), kind, evaluator).stats
    assert len(found) == len(NAMES) and found == pytest.approx(evaluation.stats, abs=1e-12)
