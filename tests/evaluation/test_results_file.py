"""Files of detections: every dialect gives the metrics of pycocotools, and mistakes are errors or warnings."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.any_format import HW, put_images, yolo
from helpers.folders import SHARED
from helpers.results_files import (
    IDS,
    IMAGES,
    fiftyone,
    name_of,
    noisy_rows,
    own_writer,
    perfect_rows,
    stem_of,
    uncompressed,
    without,
    write_dataset,
)
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detect.errors import DataError, UsageError
from detect.evaluation.coco_metrics import NAMES
from detect.evaluation.evaluate import Evaluation, evaluate

TINY = SHARED / "data" / "coco_tiny80"
DIALECTS: dict[str, Callable] = {
    "Detectron2": lambda rows: rows,
    "MMDetection boxes": lambda rows: without(rows, "segmentation"),
    "YOLOX, with empty masks": lambda rows: [row | {"segmentation": []} for row in rows],
    "masks alone": lambda rows: without(rows, "bbox"),
    "uncompressed RLE": lambda rows: [row | {"segmentation": uncompressed(row["segmentation"])} for row in rows],
    "ids as text": lambda rows: [row | {k: str(row[k]) for k in ("image_id", "category_id")} for row in rows],
    "ids as floats": lambda rows: [row | {k: float(row[k]) for k in ("image_id", "category_id")} for row in rows],
    "Ultralytics, stems as numbers": lambda rows: [row | {"image_id": int(stem_of(row))} for row in rows],
    "stems": lambda rows: [row | {"image_id": stem_of(row)} for row in rows],
    "paths of Windows": lambda rows: [row | {"image_id": f"D:\\coco\\val\\{Path(name_of(row)).name}"} for row in rows],
    "file names beside other ids": lambda rows: [row | {"image_id": 11, "file_name": name_of(row)} for row in rows],
    "class names": lambda rows: [row | {"category_id": 0, "category_name": name_of_class(row)} for row in rows],
    "class names under another key": lambda rows: [
        row | {"category_id": 0, "class_name": name_of_class(row)} for row in rows
    ],
    "another order": lambda rows: rows[::-1],
    "FiftyOne": fiftyone,
    "predictions": lambda rows: {"predictions": rows},
}


def name_of_class(row: dict[str, Any]) -> str:
    return {90: "circle", 7: "square", 3: "triangle"}[row["category_id"]]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture
def evaluated(data, tmp_path) -> Callable[..., Evaluation]:
    """``evaluated(content)`` writes content as results.json and evaluates it on the split val."""

    def call(content: Any, **settings: Any) -> Evaluation:
        path = tmp_path / "results.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return evaluate(path, data, **{"split": "val"} | settings)

    return call


def of_pycocotools(annotations: Path, rows: list[dict[str, Any]], kind: str) -> list[float]:
    """Return COCO's 12 metrics of rows with compressed masks; -1 without ground truth."""
    # With a bbox, pycocotools takes the size of a mask from the box; Detectron2 removes it too.
    if kind == "segm":
        rows = without(rows, "bbox")
    else:
        rows = [{"bbox": coco_mask.toBbox(row["segmentation"]).tolist(), **row} for row in rows]
        rows = without(rows, "segmentation")
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO(str(annotations))
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(rows), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def assert_equal_to_pycocotools(found: Evaluation, annotations: Path, rows: list[dict[str, Any]]) -> None:
    for kind in ("bbox", "segm"):
        if kind in found.scores:
            expected = of_pycocotools(annotations, rows, kind)
            own = [-1 if found.scores[kind][name] is None else found.scores[kind][name] for name in NAMES]
            assert own == pytest.approx(expected, abs=1e-12), kind


# Dialects


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_read_and_perfect_detections_score_1(evaluated, data, dialect, capsys):
    found = evaluated(DIALECTS[dialect](perfect_rows(data.parent)))
    assert found.metrics["bbox_AP"] == pytest.approx(1.0)
    with_masks = dialect not in ("MMDetection boxes", "YOLOX, with empty masks")
    assert ("segm" in found.scores) == with_masks
    assert found.metrics.get("segm_AP", 1.0) == pytest.approx(1.0)
    (warning,) = capsys.readouterr().err.splitlines()
    assert "its lowest score is 0.989" in warning


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_exactly_the_metrics_of_pycocotools(evaluated, data, dialect):
    rows = noisy_rows(data.parent)
    reference = without(rows, "bbox") if dialect == "masks alone" else rows
    reference = reference[::-1] if dialect == "another order" else reference
    found = evaluated(DIALECTS[dialect](rows))
    assert 0.05 < found.metrics["bbox_AP"] < 0.9
    assert_equal_to_pycocotools(found, data.parent / "val.json", reference)


@pytest.mark.parametrize("format", ["json", "coco"])
def test_files_of_detect_image_are_read(evaluated, data, format):
    """File names decide: the numbers in them are no ids of this dataset."""
    rows = noisy_rows(data.parent)
    found = evaluated(own_writer(rows, data, format))
    assert found.metrics == pytest.approx(evaluated(rows).metrics, nan_ok=True)


def test_result_of_to_coco_is_read_back_unchanged(evaluated, data):
    first = evaluated(noisy_rows(data.parent))
    pairs = zip(first.records, first.detections, strict=True)
    again = evaluated([row for record, one in pairs for row in one.to_coco(record.image_id)])
    assert again.metrics == pytest.approx(first.metrics, nan_ok=True)
    for one, other in zip(first.detections, again.detections, strict=True):
        assert np.array_equal(one.labels, other.labels) and np.array_equal(one.scores, other.scores)
        assert np.allclose(one.boxes, other.boxes, atol=1e-4) and one.masks == other.masks


def test_images_of_yolo_data_are_known_by_their_stems(tmp_path):
    names = ["000010.png", "000020.png", "big.png"]
    for split, files in (("val", names), ("train", ["1.png", "2.png"])):
        put_images(tmp_path / "images" / split, *files)
        yolo(tmp_path / "labels" / split, files)
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [kite, plane]\n")
    rows = [{"image_id": i, "category_id": 1, "bbox": [10, 5, 20, 15], "score": 0.9} for i in (10, 20, "big")]
    (tmp_path / "predictions.json").write_text(json.dumps(rows))
    found = evaluate(tmp_path / "predictions.json", tmp_path, split="val")
    assert found.metrics["bbox_AP"] == pytest.approx(1.0)


def test_image_ids_that_are_also_numbers_of_other_files_are_ids_with_a_warning(tmp_path, capsys):
    data = write_dataset(tmp_path)
    content = json.loads((tmp_path / "val.json").read_text())
    other = {21: 5, 11: 8, 40: 7}  # 5 is 000005.png, but 8 is 000007.png
    for image in content["images"]:
        image["id"] = other[image["id"]]
    for row in content["annotations"]:
        row["image_id"] = other[row["image_id"]]
    (tmp_path / "val.json").write_text(json.dumps(content))
    (tmp_path / "results.json").write_text(json.dumps(perfect_rows(tmp_path)))
    assert evaluate(tmp_path / "results.json", data, split="val").metrics["bbox_AP"] == pytest.approx(1.0)
    assert "its image ids fit the image ids and the file names; they are read as image ids" in capsys.readouterr().err


@pytest.mark.skipif(not TINY.is_dir(), reason="needs the shared data")
@pytest.mark.slow
def test_noisy_detections_of_real_images_give_exactly_the_metrics_of_pycocotools(tmp_path):
    annotations = TINY / "annotations" / "instances_val2017.json"
    content = json.loads(annotations.read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    categories = [category["id"] for category in content["categories"]]
    rng = np.random.default_rng(0)
    rows = []
    for row in [row for row in content["annotations"] if not row["iscrowd"]] * 2:
        x, y, w, h = row["bbox"]
        shift = rng.normal(0, 0.15, 4)
        polygons = [[n + shift[i % 2] * (w, h)[i % 2] for i, n in enumerate(p)] for p in row["segmentation"]]
        objects = coco_mask.frPyObjects(polygons, *sizes[row["image_id"]])
        rle = coco_mask.merge(objects)
        rows.append(
            {
                "image_id": row["image_id"],
                "category_id": row["category_id"] if rng.random() < 0.8 else int(rng.choice(categories)),
                "bbox": [x + shift[0] * w, y + shift[1] * h, w * np.exp(shift[2]), h * np.exp(shift[3])],
                "score": round(rng.random(), 3),
                "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode()},
            }
        )
    (tmp_path / "results.json").write_text(json.dumps(rows))
    found = evaluate(tmp_path / "results.json", TINY, split="val")
    assert 0.05 < found.metrics["segm_AP"] < 0.9
    assert_equal_to_pycocotools(found, annotations, rows)


# Mistakes: each is one line


def changed(rows: list[dict[str, Any]], **values: Any) -> list[dict[str, Any]]:
    """Return rows with other values in the one at index 2."""
    return [*rows[:2], rows[2] | values, *rows[3:]]


def numbered(rows: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    return [row | {"category_id": IDS.index(row["category_id"]) + first} for row in rows]


def in_fractions(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"bbox": [n / HW[1 - i % 2] for i, n in enumerate(row["bbox"])]}


MISTAKES: dict[str, tuple[Callable, str]] = {
    "unknown image": (
        lambda r: changed(r, image_id=5555),
        r"all but 1 of its 4 images.*lacks 5555.*21 \(000005.png\)",
    ),
    "huge image id": (lambda r: changed(r, image_id=10**30), "lacks 1000000"),
    "text as image id": (lambda r: changed(r, image_id="frame_7"), "lacks 'frame_7'"),
    "images of another split": (lambda r: [row | {"image_id": 31} for row in r], "none of its 1 image.*split 'train'"),
    "no image id": (lambda r: changed(r, image_id=None), "at index 2 has the image_id None"),
    "list as image id": (lambda r: changed(r, image_id=[1]), r"at index 2 has the image_id \[1\]"),
    "unknown category": (lambda r: changed(r, category_id=12), "category id 12 is not .* 90 circle, 7 square"),
    "no category": (lambda r: changed(r, category_id=None), "at index 2 has the category_id None"),
    "classes from 0": (lambda r: numbered(r, 0), "counted from 0: write 90 instead of 0 .circle"),
    "classes from 1": (lambda r: numbered(r, 1), "counted from 1: write 90 instead of 1 .circle"),
    "other classes": (lambda r: [row | {"category_name": "cat"} for row in r], "no class in common.*the file has cat"),
    "NaN as score": (lambda r: changed(r, score=float("nan")), r"1 score outside 0\.\.1.*index 2 .image \d+. has nan"),
    "infinite score": (lambda r: changed(r, score=float("inf")), "has inf"),
    "percentages": (lambda r: [row | {"score": 100 * row["score"]} for row in r], "12 scores.*divide percentages"),
    "negative score": (lambda r: changed(r, score=-1), "has -1"),
    "text as score": (lambda r: changed(r, score="0.5"), "at index 2 has the score '0.5'; expected a number"),
    "one score missing": (lambda r: changed(r, score=None), "1 detection lacks a 'score', the first at index 2"),
    "no scores": (lambda r: without(r, "score"), "holds no scores.*ground truth"),
    "fractions": (lambda r: [in_fractions(row) for row in r], r"12 boxes in fractions 0\.\.1"),
    "negative width": (lambda r: changed(r, bbox=[5, 5, -2, 4]), "1 box with a negative width"),
    "NaN in a box": (lambda r: changed(r, bbox=[5, float("nan"), 2, 4]), "impossible.*nan"),
    "huge box": (lambda r: changed(r, bbox=[5, 1e300, 2, 4]), "impossible"),
    "rotated box": (lambda r: changed(r, bbox=[5, 5, 2, 4, 0.5]), "index 2 .* has the bbox .*0.5"),
    "neither box nor mask": (lambda r: without(r, "bbox", "segmentation"), "index 0 .* has the bbox None"),
    "mask of another size": (
        lambda r: changed(r, segmentation={"size": [4, 4], "counts": [16]}),
        r"invalid mask: the RLE is for an image of \[4, 4\], the image is \[40, 60\]",
    ),
    "damaged mask": (lambda r: changed(r, segmentation={"size": list(HW), "counts": "##"}), "index 2.*invalid mask"),
    "empty list": (lambda r: [], "holds no detections"),
    "empty file": (lambda r: " ", "is empty; expected a list"),
    "damaged file": (lambda r: json.dumps(r)[:-9], "is not JSON: .*column"),
    "number": (lambda r: "3", "expected a list of detections"),
    "list of numbers": (lambda r: [1, 2], "at index 0 is 1; expected an object"),
    "metrics": (lambda r: {"AP": 0.4}, "holds no list of detections"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_that_names_the_file_and_what_is_right(evaluated, data, mistake):
    change, words = MISTAKES[mistake]
    with pytest.raises((DataError, UsageError), match=words) as error:
        evaluated(change(perfect_rows(data.parent)))
    message = str(error.value)
    assert "results.json" in message and "\n" not in message and len(message) < 400


def test_ground_truth_is_no_results_file(evaluated, data):
    with pytest.raises(DataError, match=r"no scores.*annotations \(ground truth\)"):
        evaluated((data.parent / "val.json").read_text())


def test_settings_of_a_model_are_errors_and_a_missing_file_is_named(evaluated, data):
    rows = perfect_rows(data.parent)
    for settings in ({"device": "cpu"}, {"imgsz": 320}):
        with pytest.raises(UsageError, match=f"`{next(iter(settings))}=.*results.json holds detections"):
            evaluated(rows, **settings)
    with pytest.raises(DataError, match=r"none\.json does not exist"):
        evaluate("none.json", data, split="val")
    with pytest.raises(UsageError, match="not from a URL"):
        evaluate("https://example.org/results.json", data, split="val")


# What is suspicious is a warning


def xyxy(row: dict[str, Any]) -> dict[str, Any]:
    x, y, w, h = row["bbox"]
    return row | {"bbox": [x, y, x + w, y + h]}


WARNINGS: dict[str, tuple[Callable, str]] = {
    "boxes as xyxy": (lambda r: [xyxy(row) for row in r], r"boxes reach outside.*these look like \[x0, y0, x1, y1\]"),
    "enlarged boxes": (
        lambda r: [row | {"bbox": [3 * n for n in row["bbox"]]} for row in r],
        r"boxes reach outside.*hold \[x, y, width, height\] in pixels of the original image",
    ),
    "copies": (lambda r: r + r[:2], "2 detections are exact copies of another one; they count as false positives"),
    "most images empty": (lambda r: r[:4], "2 of the 3 images of the split have no detection"),
    "high scores alone": (lambda r: r, r"its lowest score is 0\.989"),
    "some masks": (lambda r: [*r[:1], *without(r[1:], "segmentation")], "11 of 12 detections have no mask"),
    "unknown class by name": (
        lambda r: [row | {"category_name": "circle" if i else "cat"} for i, row in enumerate(r)],
        "1 detection of classes that are not evaluated are left out: cat",
    ),
    "crowded": (
        lambda r: [*r, *(r[0] | {"score": i / 1000, "bbox": [i / 9, 1, 9, 9]} for i in range(110))],
        r"1 image has more than 100 detections of one class \(up to 112\); the 100 with",
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_suspicious_files_are_evaluated_with_a_warning(evaluated, data, name, capsys):
    change, words = WARNINGS[name]
    found = evaluated(change(perfect_rows(data.parent)))
    lines = capsys.readouterr().err.splitlines()
    matching = [line for line in lines if line.startswith("warning: ") and "results.json: " in line]
    assert len(found.detections) == 3
    assert sum(bool(re.search(words, line)) for line in matching) == 1, lines


def test_usual_results_have_no_warning(evaluated, data, capsys):
    evaluated(noisy_rows(data.parent))
    assert not capsys.readouterr().err


def test_category_ids_that_are_shifted_by_one_are_noticed_without_an_unknown_id(data, tmp_path, capsys):
    content = json.loads((data.parent / "val.json").read_text())
    names = [{"id": i, "name": f"class {i}"} for i in range(5)]
    for row in content["annotations"]:
        row["category_id"] = IDS.index(row["category_id"])
    folder = tmp_path / "shifted"
    put_images(folder / "val", *IMAGES["val"].values())
    (folder / "val.json").write_text(json.dumps(content | {"categories": names}))
    (folder / "data.yaml").write_text(
        "name: s\nformat: coco\nroot: .\nsplits:\n  val: {images: val, annotations: val.json}\n"
    )
    results = tmp_path / "results.json"
    results.write_text(json.dumps(numbered(perfect_rows(data.parent), first=1)))
    evaluate(results, folder / "data.yaml", split="val")
    assert "12 of 12 detections on an object have a category id that is 1 higher" in capsys.readouterr().err


# What is evaluated


def test_classes_that_the_description_leaves_out_are_left_out_of_the_results(evaluated, data, tmp_path, capsys):
    few = data.parent / "few.yaml"
    few.write_text(f"{data.read_text()}classes: [triangle, circle]\n")
    path = tmp_path / "results.json"
    path.write_text(json.dumps(perfect_rows(data.parent)))
    found = evaluate(path, few, split="val")
    assert found.metrics["bbox_AP"] == pytest.approx(1.0)
    assert set(found.per_class) == {"triangle", "circle"}
    assert "3 detections of classes that are not evaluated are left out: 7" in capsys.readouterr().err


def test_classes_that_the_description_merges_are_one_class_in_the_results_too(evaluated, data, tmp_path):
    merged = data.parent / "merged.yaml"
    merged.write_text(f"{data.read_text()}classes: {{angular: [square, triangle], circle: [circle]}}\n")
    categories = json.loads((data.parent / "val.json").read_text())["categories"]
    name_of = {category["id"]: category["name"] for category in categories}
    rows = [row | {"category_name": name_of[row["category_id"]]} for row in perfect_rows(data.parent)]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows))
    found = evaluate(path, merged, split="val")
    assert found.metrics["bbox_AP"] == pytest.approx(1.0) and set(found.per_class) == {"angular", "circle"}


def test_detections_in_images_that_are_missing_on_disk_are_ignored(tmp_path, capsys):
    data = write_dataset(tmp_path)
    (tmp_path / "val" / "000007.png").unlink()
    (tmp_path / "results.json").write_text(json.dumps(perfect_rows(tmp_path)))
    found = evaluate(tmp_path / "results.json", data, split="val")
    assert len(found.records) == 2
    assert found.metrics["bbox_AP"] == pytest.approx(1.0)
    assert "4 detections in images that were left out are ignored" in capsys.readouterr().err


def test_max_detections_keeps_those_with_the_highest_scores(evaluated, data):
    rows = noisy_rows(data.parent)
    found = evaluated(rows, max_detections=3)
    assert [len(one) for one in found.detections] == [3, 3, 3]
    for record, one in zip(found.records, found.detections, strict=True):
        scores = sorted((row["score"] for row in rows if row["image_id"] == record.image_id), reverse=True)
        assert one.scores.tolist() == pytest.approx(scores[:3])
    assert evaluated(rows, max_detections=150).scores["detection_limit"]["per_image_and_class"] == 150
    with pytest.raises(UsageError, match="max_detections=0"):
        evaluated(rows, max_detections=0)


def test_low_scores_that_max_detections_leaves_out_are_not_said_to_be_missing(evaluated, data, capsys):
    rows = noisy_rows(data.parent)
    lowest = min(row["score"] for row in rows)
    found = evaluated([row | {"score": 0.01} if row["score"] == lowest else row for row in rows], max_detections=3)
    assert min(one.scores.min() for one in found.detections) > 0.05
    assert "lowest score" not in capsys.readouterr().err


def test_a_results_file_has_intervals_but_no_speed(evaluated, data):
    found = evaluated(noisy_rows(data.parent), intervals=True)
    assert "speed" not in found.scores
    low, high = found.scores["intervals"]["bbox"]["AP"]
    assert low <= found.metrics["bbox_AP"] <= high
