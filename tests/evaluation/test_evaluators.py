"""All evaluators agree with each other, and with pycocotools on the original annotation file."""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np
import pytest
from helpers.folders import SHARED
from helpers.reading import read_split
from helpers.scenes import HW, SHAPES, drawn, noisy, noisy_scene, perfect, rectangle, small_sets
from hypothesis import given, settings
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import detect
from detect.data.description import find_spec
from detect.evaluation import EVALUATORS, evaluators, overlaps
from detect.evaluation.coco_metrics import NAMES, score
from detect.evaluation.columns import evaluation_table
from detect.evaluation.matched_table import MatchedTable
from detect.evaluation.overlaps import find_overlaps
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

DATA = SHARED / "data"
TINY = DATA / "coco_tiny80"


def flat(metrics: dict) -> dict[str, float]:
    """Every number of ``score``, of all classes and of each, under one name; -1 for None."""
    numbers = {}
    for kind in ("bbox", "segm"):
        for owner, scores in {"": metrics, **metrics["classes"]}.items():
            numbers |= {f"{owner} {kind} {name}": -1 if v is None else v for name, v in scores.get(kind, {}).items()}
    return numbers


def assert_all_agree(records: list[ImageRecord], found: list[Detections], class_names: ClassNames) -> dict[str, float]:
    ours, *references = (flat(score(records, found, class_names, evaluator=name)) for name in EVALUATORS)
    for reference in references:
        assert ours == pytest.approx(reference, abs=1e-9)
    return ours


# Synthetic sets


def test_evaluators_agree_with_crowds_several_classes_and_images_without_ground_truth():
    records, found = noisy_scene()
    assert sum(record.iscrowd.sum() for record in records) == 1
    empty = [drawn(8, [], []), drawn(9, [[5, 5, 50, 50]], [1], crowds=[0])]  # the second has only a crowd region
    found = [*found, found[0], found[1]]
    agreed = assert_all_agree([*records, *empty], found, SHAPES)
    assert 0.1 < agreed[" bbox AP"] < 0.9 and 0.1 < agreed[" segm AP"] < 0.9
    with_unused_class = ClassNames((*SHAPES.names, "dragon"), (*SHAPES.ids, 1000))
    agreed = assert_all_agree([*records, *empty], found, with_unused_class)
    assert agreed["dragon bbox AP"] == agreed["dragon segm AR100"] == -1


def test_evaluators_agree_without_any_detection():
    records, found = noisy_scene()
    none = [Detections(one.image_hw, masks=[]) for one in found]
    assert set(assert_all_agree(records, none, SHAPES).values()) == {0, -1}


def test_evaluators_use_the_100_best_detections_per_class_and_image():
    """150 shifted copies of each object of one image, three of each score."""
    rng = np.random.default_rng(0)
    record = drawn(1, [[5, 5, 25, 25], [60, 20, 120, 80], [20, 40, 58, 100]], [1, 2, 1], crowds=[2])
    which = rng.integers(0, 3, 450)
    boxes = (record.boxes[which] + rng.normal(0, 4, (450, 4))).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    scores = np.repeat(np.linspace(0.9, 0.1, 150), 3).astype(np.float32)
    found = Detections(HW, boxes, scores, record.labels[which], [rectangle(box) for box in boxes])
    agreed = assert_all_agree([record], [found], SHAPES)
    best = np.sort(np.concatenate([np.flatnonzero(found.labels == label)[:100] for label in (1, 2)]))
    assert agreed == pytest.approx(assert_all_agree([record], [found[best]], SHAPES))


@settings(max_examples=60, deadline=None)
@given(small_sets())
def test_evaluators_agree_on_random_small_sets(drawn_set):
    assert_all_agree(*drawn_set, SHAPES)


def test_overlaps_are_the_same_whatever_number_is_computed_together(monkeypatch):
    table = evaluation_table(*noisy_scene(), SHAPES)
    together = find_overlaps(table, "bbox")
    monkeypatch.setattr(overlaps, "_BLOCK", 7)
    in_blocks = find_overlaps(table, "bbox")
    for name in ("detection", "ground_truth", "iou"):
        np.testing.assert_array_equal(getattr(in_blocks, name), getattr(together, name))


def test_evaluator_and_its_version_are_recorded():
    records, found = noisy_scene()
    assert score(records, found, SHAPES)["evaluator"] == {"name": "detect", "version": detect.__version__}
    for name in EVALUATORS[1:]:
        assert score(records, found, SHAPES, evaluator=name)["evaluator"] == {"name": name, "version": version(name)}


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_evaluators_print_nothing(evaluator, capsys):
    matched = MatchedTable(evaluation_table(*noisy_scene(), SHAPES))
    for kind in matched.table.kinds:
        evaluators.evaluate(matched, kind, evaluator)
    assert capsys.readouterr() == ("", "")


# Real data


@pytest.fixture(scope="module")
def tiny() -> tuple[ClassNames, list[ImageRecord]]:
    if not TINY.is_dir():
        pytest.skip("needs coco_tiny80")
    return read_split("coco", TINY / "val2017", TINY / "annotations" / "instances_val2017.json")


def assert_perfect(records: list[ImageRecord], class_names: ClassNames) -> None:
    metrics = score(records, perfect(records), class_names)
    for kind in ("bbox", "segm"):
        for name in ("AP", "AP50", "AP75", "AR100"):
            assert metrics[kind][name] == pytest.approx(1.0, abs=1e-6), (kind, name)


def test_ground_truth_of_balloon_scores_1():
    if not (DATA / "balloon").is_dir():
        pytest.skip("needs the balloon dataset")
    class_names, records = find_spec("balloon", DATA / "balloon").read("test")
    assert_perfect(records, class_names)


def test_ground_truth_of_small_coco_scores_1(tiny):
    class_names, records = tiny
    assert sum(record.iscrowd.sum() for record in records) == 11
    assert_perfect(records, class_names)


def test_evaluators_agree_on_small_coco(tiny):
    class_names, records = tiny
    agreed = assert_all_agree(records, noisy(records, len(class_names)), class_names)
    assert len(agreed) == 2 * (12 + 7 * 80)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_all_12_metrics_equal_those_of_pycocotools_on_the_original_file(tiny, tmp_path, kind, evaluator):
    class_names, records = tiny
    found = noisy(records, len(class_names))
    rows = []
    for record, one in zip(records, found, strict=True):
        for i, (x0, y0, x1, y1) in enumerate(one.boxes.astype(float).tolist()):
            # loadRes takes the area from the box where there is one, so each kind has its own file.
            what = {"bbox": [x0, y0, x1 - x0, y1 - y0], "segm": masks.to_json(one.masks[i])}[kind]
            row = {"image_id": record.image_id, "category_id": class_names.category_id(one.labels[i])}
            rows.append(row | {"score": float(one.scores[i]), "segmentation" if kind == "segm" else kind: what})
    (tmp_path / "results.json").write_text(json.dumps(rows))

    ground_truth = COCO(str(TINY / "annotations" / "instances_val2017.json"))
    evaluation = COCOeval(ground_truth, ground_truth.loadRes(str(tmp_path / "results.json")), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()

    ours = score(records, found, class_names, evaluator=evaluator)
    assert list(ours[kind]) == list(NAMES)
    assert list(ours[kind].values()) == pytest.approx(evaluation.stats.tolist(), abs=1e-6)
    assert 0.1 < ours[kind]["AP"] < 0.9
