"""Exporters: what each format contains, and which information it cannot hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.converted import one_image, read, read_back
from helpers.reading import read_split

from detect.data.convert import convert
from detect.data.exporters import EXPORTERS
from detect.data.exporters.export_rows import (
    AREAS,
    BOX_PARTS_OUTSIDE,
    CATEGORY_IDS,
    CROWDS,
    MASK_BOX_DIFFERENCES,
    MASKS,
    OBJECTS_WITHOUT_MASK,
    UNUSED_CLASSES,
)

FORMATS = list(EXPORTERS)
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]
LOSSES = {
    "nothing": (
        {"bbox": [10, 10, 20, 20], "area": 400},
        {"voc": {}, "yolo": {}, "via": {OBJECTS_WITHOUT_MASK: 1}, "labelme": {}},
    ),
    "mask": ({"segmentation": SQUARE}, {"voc": {MASKS: 1}, "yolo": {}, "via": {}, "labelme": {}}),
    "area": (
        {"bbox": [10, 10, 20, 20], "area": 300},
        {"voc": {AREAS: 1}, "yolo": {AREAS: 1}, "via": {AREAS: 1, OBJECTS_WITHOUT_MASK: 1}, "labelme": {AREAS: 1}},
    ),
    "crowd": (
        {"bbox": [10, 10, 20, 20], "iscrowd": 1},
        {"voc": {}, "yolo": {CROWDS: 1}, "via": {OBJECTS_WITHOUT_MASK: 1}, "labelme": {CROWDS: 1}},
    ),
    "box": (
        {"bbox": [10, 10, 20, 25], "segmentation": SQUARE},
        {
            "voc": {MASKS: 1, AREAS: 1},
            "yolo": {MASK_BOX_DIFFERENCES: 1},
            "via": {MASK_BOX_DIFFERENCES: 1},
            "labelme": {MASK_BOX_DIFFERENCES: 1},
        },
    ),
    "outside": (
        {"bbox": [-3, 10, 20, 20], "area": 400},
        {
            "voc": {BOX_PARTS_OUTSIDE: 1, AREAS: 1},
            "yolo": {BOX_PARTS_OUTSIDE: 1, AREAS: 1},
            "via": {OBJECTS_WITHOUT_MASK: 1},
            "labelme": {},
        },
    ),
    "no pixel": (
        {"bbox": [10, 10, 20, 0.3], "area": 6, "segmentation": [[10, 10, 30, 10.1, 10, 10.3]]},
        {"voc": {MASKS: 1}, "yolo": {MASKS: 1}, "via": {MASKS: 1}, "labelme": {MASKS: 1}},
    ),
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new"


@pytest.mark.parametrize("form", ["voc", "yolo", "via", "labelme"])
@pytest.mark.parametrize("case", LOSSES)
def test_lost_information_is_counted(tmp_path, out, case, form):
    entry, lost = LOSSES[case]
    class_names, table = one_image(tmp_path, entry)
    only_crowds = (case, form) == ("crowd", "labelme")  # which it leaves out
    unused = {} if form == "yolo" else {UNUSED_CLASSES: 2 if only_crowds else 1}
    times = 1 if form == "voc" else 2  # since its splits share the image
    expected = unused | {what: times * count for what, count in lost[form].items()}
    assert convert({"a": table, "b": table}, class_names, form, out) == expected


def test_category_ids_other_than_1_to_k_are_lost(tmp_path, out):
    class_names, table = one_image(tmp_path, {"bbox": [1, 1, 9, 9], "area": 81}, ids=(2, 1))
    assert convert({"a": table}, class_names, "yolo", out) == {CATEGORY_IDS: 2}


def test_coco_annotation_ids_are_made_unique(tmp_path, out):
    objects = [{"id": number, "bbox": [x, 1, 9, 9], "area": 81} for number, x in ((3, 1), (3, 20), (5, 40), (3, 60))]
    class_names, table = one_image(tmp_path, *objects)
    convert({"a": table}, class_names, "coco", out)
    written = json.loads((out / "annotations" / "instances_a.json").read_text())["annotations"]
    assert [(one["id"], one["bbox"][0]) for one in written] == [(3, 1), (6, 20), (5, 40), (7, 60)]


@pytest.mark.parametrize("box", [[10, 10, 1, 30], [10.2, 10.7, 0.1, 0.8], [79.5, 59.9, 0.5, 0.1], [0, 0, 0.2, 1]])
@pytest.mark.parametrize("form", FORMATS)
def test_boxes_thinner_than_a_pixel_are_kept(tmp_path, out, form, box):
    class_names, table = one_image(tmp_path, {"bbox": box})
    convert({"a": table}, class_names, form, out)
    (new,) = read_back(
        form, out, {"a": ["a.png"]}, ("kite",) if form in ("voc", "labelme") else class_names.names
    ).values()
    assert np.abs(new.boxes - table.boxes).max() <= 0.5


def test_voc_counts_pixels_from_1_and_writes_integers_without_decimals(tmp_path, out):
    class_names, table = one_image(tmp_path, {"bbox": [0, 10, 80, 20.256]}, {"bbox": [1, 2, 3, 4], "iscrowd": 1})
    convert({"a": table}, class_names, "voc", out)
    text = (out / "Annotations" / "a.xml").read_text()
    written = {key: re.findall(f"<{key}>(.*)</{key}>", text) for key in ("xmin", "ymin", "xmax", "ymax", "difficult")}
    assert list(written.values()) == [["1", "2"], ["11", "3"], ["80", "4"], ["30.26", "6"], ["0", "1"]]
    assert "<filename>a.png</filename>" in text and "<width>80</width>" in text


def test_yolo_numbers_are_inside_the_image_and_have_no_exponent(tmp_path, out):
    reaching = [[-5.0, 10, 40, 10, 40, 70.0, -5, 70]]
    entries = {"segmentation": reaching}, {"bbox": [20, 15, 40, 30]}, {"bbox": [-4, 50, 20, 40], "category_id": 2}
    class_names, table = one_image(tmp_path, *entries)
    convert({"a": table}, class_names, "yolo", out)
    polygon, plain, reaching = (out / "labels" / "a" / "a.txt").read_text().splitlines()
    assert plain == "0 0.5 0.5 0.5 0.5" and reaching.startswith("1 0.1 0.9166666")
    pairs = set(zip(polygon.split()[1::2], polygon.split()[2::2], strict=True))
    assert pairs == {("0", "0.16666667"), ("0.5", "0.16666667"), ("0.5", "1"), ("0", "1")}


def test_via_crowds_are_read_whatever_the_class_attribute_is_called(tmp_path, out):
    class_names, table = one_image(tmp_path, {"segmentation": SQUARE, "iscrowd": 1}, {"bbox": [1, 1, 9, 9]})
    convert({"a": table}, class_names, "via", out)
    path = out / "a" / "via_region_data.json"
    path.write_text(path.read_text().replace('"class"', '"species"'))
    names, new = read_split("via", out / "a", path)
    assert names.names == ("kite",) and new.iscrowd.tolist() == [True, False]
    entry = json.loads(path.read_text())[f"a.png{(out / 'a' / 'a.png').stat().st_size}"]
    assert entry["regions"][0]["region_attributes"] == {"species": "kite", "iscrowd": "1"}


def test_coco_to_coco_keeps_every_number(tmp_path, out):
    class_names, table = read(tmp_path, kinds=("box", "one", "parts", "rle"))
    assert convert({"train": table}, class_names, "coco", out) == {}
    old = json.loads((tmp_path / "ground_truth_0.json").read_text())
    new = json.loads((out / "annotations" / "instances_train.json").read_text())
    assert new["categories"] == old["categories"] and set(new) == {"info", "images", "annotations", "categories"}
    assert [{**one, "file_name": ""} for one in new["images"]] == [{**one, "file_name": ""} for one in old["images"]]
    assert len(old["annotations"]) > 10
    for ours, theirs in zip(old["annotations"], new["annotations"], strict=True):
        assert theirs == ours | {"bbox": pytest.approx(ours["bbox"], abs=1e-9)}
