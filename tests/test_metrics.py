"""COCO's metrics: perfect is 1, nothing is 0, what cannot be scored is None, and all is what pycocotools says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from reading import read_split

from detect import masks
from detect.data.description import find_spec
from detect.metrics.coco import NAMES, one_line, score, table
from detect.types import ClassNames, Detections, ImageRecord

SHARED = Path(__file__).parents[2] / "shared" / "data"
TINY = SHARED / "coco_tiny80"
SHAPES = ClassNames(("circle", "square", "triangle"), (90, 7, 3))
HW = (120, 160)


def rectangle(box, hw: tuple[int, int] = HW) -> masks.Rle:
    x0, y0, x1, y1 = map(float, box)
    return masks.from_polygons([[x0, y0, x1, y0, x1, y1, x0, y1]], hw)


def drawn(image_id: int, boxes, labels, crowds=()) -> ImageRecord:
    """A picture of rectangles."""
    boxes = np.float32(boxes).reshape(-1, 4)
    return ImageRecord(
        path=Path(f"{image_id}.png"),
        image_hw=HW,
        image_id=image_id,
        boxes=boxes,
        labels=np.array(labels, np.int64),
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).astype(float),
        iscrowd=np.isin(np.arange(len(boxes)), crowds),
        annotation_ids=np.arange(len(boxes)),
        masks=[rectangle(box) for box in boxes],
    )


def scene() -> list[ImageRecord]:
    """Circles and squares, small and medium, a crowd of circles, and an empty picture; no triangle, none large."""
    return [
        drawn(1, [[5, 5, 25, 25], [60, 20, 120, 80], [0, 90, 159, 119]], [1, 2, 1], crowds=[2]),
        drawn(2, [[10, 10, 60, 60], [30, 30, 80, 90]], [1, 1]),
        drawn(3, [], []),
    ]


def perfect(records: list[ImageRecord]) -> list[Detections]:
    """The truth as a model would have to find it: all but the crowds."""
    found = []
    for record in records:
        single = np.flatnonzero(~record.iscrowd)
        rles = [masks.from_coco(record.masks[i], record.image_hw) for i in single]
        scores = np.linspace(0.9, 0.5, len(single), dtype=np.float32)
        found.append(Detections(record.image_hw, record.boxes[single], scores, record.labels[single], rles))
    return found


def nothing(records: list[ImageRecord], with_masks: bool = True) -> list[Detections]:
    return [Detections(record.image_hw, masks=[] if with_masks else None) for record in records]


# What every number must obey


def test_the_truth_found_is_perfect():
    metrics = score(scene(), perfect(scene()), SHAPES)
    for kind in ("bbox", "segm"):
        for name in ("AP", "AP50", "AP75", "APs", "APm", "AR100"):
            assert metrics[kind][name] == pytest.approx(1.0, abs=1e-6), (kind, name)


def test_what_has_no_truth_is_none_not_minus_1():
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


def noisy_scene() -> tuple[list[ImageRecord], list[Detections]]:
    """Eight pictures of rectangles of all classes, and what a middling model finds in them."""
    rng = np.random.default_rng(3)
    records, found = [], []
    for image_id in range(8):
        corner = rng.uniform(0, 60, (6, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(12, 60, (6, 2))], axis=1)
        records.append(drawn(image_id, boxes, rng.integers(1, 4, 6), crowds=[5] if image_id == 4 else []))
        boxes = (boxes + rng.normal(0, 2, boxes.shape)).clip(0, 120).astype(np.float32)
        labels = np.where(rng.random(6) < 0.8, records[-1].labels, rng.integers(1, 4, 6))
        scores = np.sort(rng.random(6).astype(np.float32))[::-1]
        found.append(Detections(HW, boxes, scores, labels, [rectangle(box) for box in boxes]))
    return records, found


def test_the_original_ids_change_nothing():
    records, found = noisy_scene()
    assert score(records, found, SHAPES) == score(records, found, ClassNames(SHAPES.names))


# What is refused


def test_results_of_other_pictures_are_refused():
    """Taken as they are, COCO's evaluator would answer 0 without a word."""
    with pytest.raises(ValueError, match="3 pictures but 2 results"):
        score(scene(), perfect(scene())[:2], SHAPES)
    with pytest.raises(ValueError, match=r"1\.png is \(120, 160\) \(h, w\), its detections are for \(160, 120\)"):
        score(scene(), [Detections((160, 120), masks=[]), *perfect(scene())[1:]], SHAPES)
    with pytest.raises(ValueError, match=r"1\.png: label 4 is not in 1\.\.3"):
        score(scene(), one_changed(labels=np.array([4, 2])), SHAPES)


def test_masks_are_scored_only_where_both_sides_have_them():
    bare = [replace(record, masks=None) for record in scene()]
    assert set(score(bare, perfect(scene()), SHAPES)) == {"bbox", "classes"}
    boxes_only = [replace(one, masks=None) for one in perfect(scene())]
    metrics = score(scene(), boxes_only, SHAPES)
    assert set(metrics) == {"bbox", "classes"} and set(metrics["classes"]["circle"]) == {"bbox"}
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


# Real data


@pytest.fixture(scope="module")
def tiny() -> tuple[ClassNames, list[ImageRecord]]:
    if not TINY.is_dir():
        pytest.skip("the small COCO is not there")
    return read_split("coco", TINY / "val2017", TINY / "annotations" / "instances_val2017.json")


def assert_perfect(records: list[ImageRecord], class_names: ClassNames) -> None:
    metrics = score(records, perfect(records), class_names)
    for kind in ("bbox", "segm"):
        for name in ("AP", "AP50", "AP75", "AR100"):
            assert metrics[kind][name] == pytest.approx(1.0, abs=1e-6), (kind, name)


def test_the_balloons_found_are_perfect():
    if not (SHARED / "balloon").is_dir():
        pytest.skip("the balloon data set is not there")
    class_names, records = find_spec("balloon", SHARED / "balloon").read("test")
    assert_perfect(records, class_names)


def test_the_small_coco_found_is_perfect(tiny):
    class_names, records = tiny
    assert sum(record.iscrowd.sum() for record in records) == 11
    assert_perfect(records, class_names)


def noisy(records: list[ImageRecord], classes: int) -> list[Detections]:
    """What a middling model finds: shifted, missed, doubled and of wrong classes, scores all different."""
    rng = np.random.default_rng(0)
    unused = iter(rng.permutation(20_000) / 20_000)
    found = []
    for record in records:
        kept = np.flatnonzero(rng.random(len(record)) < 0.85)
        kept = np.concatenate([kept, kept[rng.random(len(kept)) < 0.2]])
        sides = np.tile(record.boxes[kept][:, 2:] - record.boxes[kept][:, :2], 2)
        boxes = record.boxes[kept] + rng.normal(0, 0.06, sides.shape) * sides
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        labels = np.where(rng.random(len(kept)) < 0.9, record.labels[kept], rng.integers(1, classes + 1, len(kept)))
        own = [masks.from_coco(record.masks[i], record.image_hw) for i in kept]
        rles = [
            rle if rng.random() < 0.6 else rectangle(box, record.image_hw) for rle, box in zip(own, boxes, strict=True)
        ]
        scores = np.sort(np.float32([next(unused) for _ in kept]))[::-1]
        found.append(Detections(record.image_hw, boxes.astype(np.float32), scores, labels.astype(np.int64), rles))
    return found


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_all_12_numbers_are_those_of_pycocotools_on_the_published_file(tiny, tmp_path, capsys, kind):
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

    truth = COCO(str(TINY / "annotations" / "instances_val2017.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()

    capsys.readouterr()
    ours = score(records, found, class_names)
    assert capsys.readouterr() == ("", "")  # COCOeval prints; a metric does not
    assert list(ours[kind]) == list(NAMES)
    assert list(ours[kind].values()) == pytest.approx(evaluation.stats.tolist(), abs=1e-6)
    assert 0.1 < ours[kind]["AP"] < 0.9
