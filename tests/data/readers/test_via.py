"""VIA files: every version is read, and nothing is lost without an error or a warning."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from helpers.reading import read_split
from helpers.via_files import (
    BITMAP,
    CIRCLE,
    ELLIPSE,
    HW,
    KINDS,
    RECT,
    SQUARE,
    as_csv,
    bitmap_of,
    entries,
    project,
    region,
    shaped,
)

from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset
from detect.data.description import find_spec
from detect.data.download import verify_files
from detect.errors import DataError

GONE = "gone"


# Versions


@pytest.mark.parametrize("kind", ["1", "2", "project", "csv 1", "csv 2"])
def test_every_version_is_read_the_same_sorted_by_name(read_via, images, kind):
    regions = [region(), region(SQUARE | {"all_points_x": [0, 8, 0], "all_points_y": [0, 0, 6]})]
    files = {
        "1": (entries(*regions, version=1),),
        "2": (entries(*regions),),
        "project": (project(*regions),),
        "csv 1": (as_csv(entries(*regions), mark="#"), "annotations.csv"),
        "csv 2": (as_csv(entries(*regions)), "ANNOTATIONS.CSV"),
    }
    content, *name = files[kind]
    names, (a, b) = read_via(content, ["balloon"], *name)
    assert names.names == ("balloon",) and names.ids == (1,)
    assert [r.path for r in (a, b)] == [images / "a.png", images / "b.png"]
    assert a.image_id != b.image_id and a.image_hw == b.image_hw == HW
    assert a.boxes.shape == (0, 4) and a.masks == []
    assert b.boxes.tolist() == [[10, 5, 30, 20], [0, 0, 8, 6]] and b.labels.tolist() == [1, 1]
    np.testing.assert_array_equal(bitmap_of(b), BITMAP)
    assert b.areas[0] == 300 and len(set(b.annotation_ids.tolist())) == 2


def test_square_equals_that_of_coco_and_a_rectangle(read_via, images, tmp_path):
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 5, 20, 15], "area": 300}
    annotation["segmentation"] = [[10, 5, 30, 5, 30, 20, 10, 20]]
    image = {"id": 1, "file_name": "b.png", "height": 40, "width": 60}
    path = tmp_path / "coco.json"
    categories = [{"id": 1, "name": "square"}]
    path.write_text(json.dumps({"images": [image], "annotations": [annotation], "categories": categories}))
    _, (from_coco,) = read_split("coco", images, path)
    _, (_, from_via) = read_via(entries(region(), region(RECT)), ["square"])
    for i in (0, 1):
        np.testing.assert_array_equal(from_coco.boxes[0], from_via.boxes[i])
        np.testing.assert_array_equal(from_coco.areas[0], from_via.areas[i])
        np.testing.assert_array_equal(bitmap_of(from_coco), bitmap_of(from_via, i))


# Files


@pytest.mark.parametrize(
    "name",
    ["more/c.png", "more\\c.png", "./more/c.png", "C:\\mine\\a.png", "c:/mine/a.png", "/no/such/folder/a.png"],
)
def test_paths_of_other_machines_are_resolved(read_via, images, name):
    _, (record,) = read_via({"x": {"filename": name, "size": -1, "regions": [region()]}}, ["balloon"])
    assert record.path == images / ("more/c.png" if "c.png" in name else "a.png")


@pytest.mark.parametrize(
    "name",
    ["https://x.org/1/c.png", "http://x.org/a/more/c.png?w=100#x", "https://x.org/more%2Fc.PNG", "gs://x/c.png"],
)
def test_images_on_the_web_are_matched_to_the_only_file_that_fits(read_via, images, name):
    held = {"x": {"filename": name, "size": -1, "regions": [region()]}}
    _, (record,) = read_via(held, ["balloon"])
    assert record.path == images / "more/c.png" and len(record) == 1


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("one", "two"), [([region()], [region()]), ([], [region()]), ([region()], []), ([region()], {})]
)
def test_entries_of_one_image_are_merged_unless_they_differ(read_via, one, two, version):
    if version == 1:
        one, two = ({str(i): r for i, r in enumerate(regions)} for regions in (one, two))
    held = {
        "a.png4711": {"filename": "a.png", "size": 4711, "regions": one},
        "a.png-1": {"filename": "a.png", "size": -1, "regions": two},
    }
    _, (a,) = read_via(held, ["balloon"])
    assert a.boxes.tolist() == [[10, 5, 30, 20]]


@pytest.mark.parametrize("name", ["nowhere.png", "", "x" * 5000, "a\0.png", "more", "C:\\"])
def test_missing_images_are_named(read_via, name):
    with pytest.raises(DataError, match=r"ground truth\.json: split 'train': 1 of its 1 image is missing"):
        read_via({"x": {"filename": name, "size": 1, "regions": []}}, ["balloon"])


def entry(**changes: Any) -> dict[str, Any]:
    whole = {"filename": "a.png", "size": 1, "regions": []} | changes
    return {"a": {k: v for k, v in whole.items() if v != GONE}}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("[", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a": ' + "1" * 5000 + "}", "is not JSON"),
        ([], "it should hold one dict, not a list"),
        ({"a": 5}, r"ground truth\.json: a is a int"),
        (entry(filename=GONE), r"ground truth\.json: a lacks the key 'filename'"),
        (entry(filename=5), "a: 'filename' is '5'; expected text"),
        (
            entry(filename="https://x.org/z.png"),
            "the URL https://x.org/z.png; download the image to .*images",
        ),
        (entry(filename="data:image/png;base64,AAAA"), "the URL"),
        (entry(regions=GONE), r"a\.png lacks the key 'regions'"),
        (entry(regions=None), r"a\.png: 'regions' is 'None'; expected a list"),
        (
            entries(region()) | {"x": {"filename": "b.png", "regions": [region(RECT)]}},
            r"b\.png is listed twice, with different regions",
        ),
        (
            entries(region()) | {"x": {"filename": "C:\\b.png", "regions": {"0": region(RECT)}}},
            r"b\.png is listed twice, with different regions",
        ),
        ({"_via_settings": {}}, "lacks the key '_via_img_metadata'"),
        (project() | {"_via_img_metadata": []}, "'_via_img_metadata' is .* expected a dict"),
        ({"project": {}, "config": {}, "file": {}, "metadata": {}, "view": {}}, "is a VIA 3 project"),
        (entries("x"), r"b\.png, region 1 is a str"),
        (entries({"region_attributes": {}}), r"b\.png, region 1 lacks the key 'shape_attributes'"),
        (entries({"shape_attributes": SQUARE}), r"b\.png, region 1 lacks the key 'region_attributes'"),
        (entries(shaped(name=None)), "region 1 lacks the key 'name'"),
        (
            entries(region(), shaped(name="rectangle")),
            "b.png, region 2: unknown shape 'rectangle': did you .* rect.*point",
        ),
        (entries(shaped(all_points_y=[1, 2])), r"b\.png, region 1 has 4 x and 2 y"),
        (entries(shaped(all_points_x=[], all_points_y=[])), r"b\.png, region 1 has 0 x and 0 y"),
        (entries(shaped(all_points_x=5)), r"region 1: 'all_points_x' is '5'; expected a list"),
        (
            entries(shaped(all_points_x=[1, 2, "3", 4])),
            "item of 'all_points_x' is '3'; expected a number",
        ),
        (entries(shaped(all_points_y=None)), r"region 1 lacks the key 'all_points_y'"),
        (entries(shaped(RECT, width=None)), "region 1 lacks the key 'width'"),
        (entries(shaped(RECT, width=True)), "region 1: 'width' is 'True'; expected a number"),
        (entries(shaped(CIRCLE, r="5")), "region 1: 'r' is '5'; expected a number"),
        (entries(shaped(ELLIPSE, theta=[1])), r"region 1: 'theta' is '\[1\]'; expected a number"),
    ],
)
def test_bad_file_is_a_one_line_error_with_file_and_reason(read_via, bad, said):
    with pytest.raises(DataError, match=said) as error:
        read_via(bad, ["balloon"])
    assert "ground truth.json" in str(error.value) and "\n" not in str(error.value)


def test_file_sizes_in_a_project_are_verified_unless_unknown(images):
    held = project()
    held["_via_img_metadata"]["a.png45"]["size"] = -1
    (images / "via.json").write_text(json.dumps(held))
    download = {"url": "https://x.org/y.zip", "via_sizes": ["via.json"]}
    with pytest.raises(DataError, match=r"b\.png has \d+ bytes, expected 123$"):
        verify_files(download, images)
    held["_via_img_metadata"]["b.png123"]["size"] = (images / "b.png").stat().st_size
    (images / "via.json").write_text(json.dumps(held))
    verify_files(download, images)


# From a description to training items


@pytest.mark.parametrize("classes", ["", "classes: [balloon, kite]\n"])
def test_project_gives_training_items_by_its_description(images, tmp_path, classes):
    held = project(region(RECT, kind="b"), region(CIRCLE, kind="k"), kind=KINDS)
    held["_via_img_metadata"]["c"] = {"filename": "more\\c.png", "size": -1, "regions": [region(ELLIPSE, kind="k")]}
    (images.parent / "via.json").write_text(json.dumps(held))
    description = tmp_path / "mine.yaml"
    description.write_text(
        f"format: via\n{classes}splits:\n"
        "  train: {images: images, annotations: via.json, without: [more/c.png]}\n"
        "  val: {images: images, annotations: via.json, files: [more/c.png]}\n"
    )
    spec = find_spec(str(description), images.parent)
    spec.prepare()
    names, records = spec.read("train")
    assert [r.path.name for r in records] == ["a.png", "b.png"]
    assert [names.name(n) for n in records[1].labels] == ["balloon", "kite"]
    assert [r.path.name for r in spec.read("val")[1]] == ["c.png"]
    image, target = DetectionDataset(records, TrainTransform(64, Augmentation("none")), with_masks=True)[1]
    assert image.shape[0] == 3 and target["masks"].shape == (2, *image.shape[1:])
    assert target["masks"].flatten(1).sum(1).min() > 100
