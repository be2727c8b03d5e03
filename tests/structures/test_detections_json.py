"""Detections as JSON: one schema, and the conventions of other tools with all numbers and masks that have a place."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from detect.errors import UsageError
from detect.inference.writers import JSON_FORMATS, Source
from detect.inference.writers.files import encode_files
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.detections_json import CONVENTIONS, SCHEMA

HW = (40, 60)
NAMES = ClassNames(("кот", "dog"), (17, 0))


def bitmaps() -> list[np.ndarray]:
    """A disc with a hole, and two separate rectangles."""
    y, x = np.mgrid[: HW[0], : HW[1]]
    distance = np.hypot(y - 20, x - 20)
    two = np.zeros(HW, bool)
    two[5:15, 30:40] = two[25:38, 42:58] = True
    return [(distance < 15) & (distance > 5), two]


def found(**more: Any) -> Detections:
    boxes = np.array([[5.25, 5, 35, 35.5], [30, 5, 58, 38]], np.float32)
    rles = [masks.from_bitmap(bitmap) for bitmap in bitmaps()]
    scores, labels = np.array([0.9, 1 / 3], np.float32), np.array([2, 1])
    return replace(Detections(HW, boxes, scores, labels, rles, class_names=NAMES), **more)


def as_json(detections: Detections, *arguments: Any, **keywords: Any) -> Any:
    return json.loads(json.dumps(detections.to_json(*arguments, **keywords)))


def overlap(segmentation: Any, index: int) -> float:
    """Return the IoU of a mask of COCO's format with the mask of a detection."""
    return masks.iou([masks.from_coco(segmentation, HW)], [found().masks[index]]).item()


def test_the_document_of_an_image_has_the_schema_and_every_field():
    document = as_json(found(track_ids=np.array([4, 9])), source="in/a.jpg")
    (image,) = document["images"]
    first, second = image.pop("detections")
    assert document["schema"] == SCHEMA == "detect/1"
    assert image == {"source": "in/a.jpg", "height": 40, "width": 60, "limit_reached": False}
    assert (first["name"], first["category_id"], first["track_id"], second["track_id"]) == ("dog", 0, 4, 9)
    assert first["box_xyxy"] == [5.25, 5, 35, 35.5] and np.float32(second["score"]) == found().scores[1]
    assert overlap(first["segmentation"], 0) == 1


def test_the_command_line_writes_the_document_that_python_returns():
    pairs = [(Source("a.jpg", None), found()), (Source("b.jpg", None), Detections(HW))]
    (text,) = encode_files("json", NAMES, pairs).values()
    document = json.loads(text)
    for image, (source, one) in zip(document["images"], pairs, strict=True):
        assert image.pop("annotated_file") is None
        assert {"schema": document["schema"], "images": [image]} == as_json(one, source=source.name)


@pytest.mark.parametrize("convention", ["detect", "coco"])
def test_masks_are_polygons_if_they_are_asked_for(convention):
    document = as_json(found(), convention, mask_format="polygons")
    rows = document["images"][0]["detections"] if convention == "detect" else document
    assert [len(row["segmentation"]) for row in rows] == [1, 2]  # connected parts
    assert all(overlap(row["segmentation"], i) > 0.97 for i, row in enumerate(rows))


@pytest.mark.parametrize("mask_format", ["rle", "polygons"])
def test_pycocotools_reads_both_forms_of_masks(tmp_path, mask_format):
    ground_truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": HW[0], "width": HW[1]}],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in zip(NAMES.ids, NAMES.names, strict=True)],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(ground_truth))
    (tmp_path / "found.json").write_text(json.dumps(found().to_json("coco", mask_format=mask_format)))
    loaded = COCO(str(tmp_path / "annotations.json")).loadRes(str(tmp_path / "found.json"))
    for i, annotation in enumerate(loaded.loadAnns(loaded.getAnnIds())):
        assert masks.iou([loaded.annToRLE(annotation)], [found().masks[i]]).item() > 0.97


def test_hugging_face_rows_have_label_score_and_a_box_in_whole_pixels():
    first, second = as_json(found(), "huggingface")
    assert first == {"label": "dog", "score": 0.9, "box": {"xmin": 5, "ymin": 5, "xmax": 35, "ymax": 36}}
    assert second["label"] == "кот" and all(type(side) is int for side in second["box"].values())


def test_a_roboflow_response_has_centers_sizes_and_one_polygon_per_mask():
    response = as_json(found(track_ids=np.array([4, 9])), "roboflow")
    assert response["image"] == {"width": 60, "height": 40}
    first, second = response["predictions"]
    assert [first[side] for side in ("x", "y", "width", "height")] == [20.125, 20.25, 29.75, 30.5]
    assert (first["class"], first["class_id"], first["confidence"], first["tracker_id"]) == ("dog", 1, 0.9, 4)
    for i, one in enumerate((first, second)):
        polygon = [point[axis] for point in one["points"] for axis in ("x", "y")]
        assert one["mask_format"] == "polygon" and overlap([polygon], i) > 0.97


def test_a_roboflow_response_has_masks_as_rle_if_they_are_asked_for():
    for i, one in enumerate(as_json(found(), "roboflow", mask_format="rle")["predictions"]):
        assert overlap(one["rle"], i) == 1 and one["mask_format"] == "rle" and "points" not in one


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_describes_boxes_without_masks_names_or_detections(convention):
    assert "segmentation" not in json.dumps(as_json(found(masks=None), convention))
    assert "points" not in json.dumps(as_json(found(masks=None), convention))
    assert as_json(found(class_names=None), convention) and as_json(Detections(HW), convention) is not None
    empty = Detections(HW, *(getattr(found()[:1], name) for name in ("boxes", "scores", "labels")))
    nothing = replace(empty, masks=[masks.from_bitmap(np.zeros(HW, bool))])
    assert as_json(nothing, convention, mask_format="polygons")


@pytest.mark.parametrize("convention", ["huggingface", "roboflow"])
def test_files_have_an_entry_per_image_that_names_it_and_a_line_per_frame(convention):
    pairs = [(Source(name, None), found()) for name in ("in/a.jpg", "b.jpg")]
    ((name, text),) = encode_files(JSON_FORMATS[convention], NAMES, pairs).items()
    entries = json.loads(text)
    assert name == f"detections_{convention}.json" and len(entries) == 2
    assert json.dumps(entries[0]).count('"in/a.jpg"') == (2 if convention == "huggingface" else 1)
    frames = [(Source("clip", None, i, i / 25), found()) for i in range(2)]
    ((name, text),) = encode_files(JSON_FORMATS[convention], NAMES, frames).items()
    lines = [json.loads(line) for line in text.splitlines()]
    assert name == f"detections_{convention}.jsonl" and len(lines) == 2
    if convention == "huggingface":
        assert lines == [as_json(found(), convention)] * 2
    else:
        assert [(line["frame"], line["time"]) for line in lines] == [(0, 0.0), (1, 0.04)]


@pytest.mark.parametrize(
    ("arguments", "words"), [(["huggingfaze"], "did you mean huggingface"), (["coco", "rles"], "did you mean rle")]
)
def test_an_unknown_format_is_an_error_with_the_near_name(arguments, words):
    format, *mask_format = arguments
    with pytest.raises(UsageError, match=words):
        found().to_json(format, mask_format=mask_format[0] if mask_format else None)
