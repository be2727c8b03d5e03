"""Supervisely: geometries, holes, bitmaps, layouts of projects, classes of meta.json, and broken objects."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.any_format import put_images
from helpers.reading import read_problems, read_split
from helpers.supervisely_files import BOX, CORNERS, bitmap, read, shape, write
from helpers.via_files import BITMAP, HW, bitmap_of

from detect.data.description import find_spec
from detect.errors import DataError


@pytest.mark.parametrize(
    ("entry", "box"),
    [
        (shape(), BOX),
        (shape([[29, 19], [10, 5]]), BOX),
        (shape([[10.0, 5.5], [30.25, 20]]), [10, 5.5, 30.25, 20]),
        (shape([[10, 5], [29, 5], [29, 19], [10, 19]], "polygon"), [10.5, 5.5, 29.5, 19.5]),
        (shape(CORNERS, "polygon"), [10.5, 5, 30, 20]),
        (bitmap(BITMAP[5:20, 10:30], 10, 5), BOX),
        (bitmap(BITMAP[5:20, 10:30], 10, 5, "rgba"), BOX),
        (bitmap(BITMAP[3:22, 8:31], 8, 3, packed=False), BOX),
        (bitmap(np.ones((9, 9), bool), -4, 35), [0, 35, 5, 40]),
        (bitmap(BITMAP[5:20, 10:30], 10, 5) | {"geometryType": "alpha_mask"}, BOX),
        ({k: v for k, v in bitmap(BITMAP[5:20, 10:30], 10, 5).items() if k != "geometryType"}, BOX),
    ],
)
def test_shapes_have_their_boxes(images, entry, box):
    names, (a,) = read(images, entry)
    assert a.path == images / "a.png" and a.boxes.tolist() == [box] and names.names == ("kite",)


def test_bitmap_is_read_exactly(images):
    mask = np.zeros(HW, bool)
    mask[7:19, 12:40] = np.random.default_rng(0).random((12, 28)) > 0.5
    _, (a,) = read(images, bitmap(mask[7:19, 12:40], 12, 7))
    assert np.array_equal(bitmap_of(a), mask) and not a.iscrowd.any()


def test_interior_rings_are_holes(images):
    outer = [[10, 5], [20.5, 5], [30, 5], [30, 20], [10, 20]]
    hole, other = [[12, 7], [20, 7], [20, 12], [12, 12]], [[22, 14], [25, 14], [25, 17], [22, 17]]
    _, (a,) = read(images, shape(outer, "polygon", hole, other))
    expected = np.zeros(HW, bool)
    expected[5:20, 10:30] = True
    expected[7:12, 12:20] = expected[14:17, 22:25] = False
    assert np.array_equal(bitmap_of(a), expected) and a.boxes.tolist() == [BOX]


def test_shapes_without_an_area_are_left_out_and_rectangles_alone_are_no_masks(images):
    point, line = shape([[3, 4]], "point"), shape([[3, 4], [5, 6]], "line", label="bird")
    names, (a,) = read(images, point, line, shape())
    assert a.masks is None and names.names == ("kite",)
    found = [place for kind, place in read_problems("supervisely", images, images.parent / "ann") if "area" in kind]
    assert found == ["a.png.json, object 1: point kite", "a.png.json, object 2: line bird"]


def test_classes_are_those_of_meta_json(images):
    meta = {"classes": [{"title": n, "shape": s} for n, s in (("bird", "polygon"), ("eye", "point"), ("kite", "any"))]}
    (images.parent / "meta.json").write_text(json.dumps(meta))
    names, (a,) = read(images, shape())
    assert names.names == ("bird", "kite") and a.labels.tolist() == [2]
    names, _ = read(images, shape(label="eye"), shape(label="new"))
    assert names.names == ("bird", "kite", "eye", "new")
    (images.parent / "meta.json").write_text('{"classes": 3}')
    assert read(images, shape())[0].names == ("kite",)


@pytest.mark.parametrize("suffix", [".png.json", ".json"])
@pytest.mark.parametrize("datasets", [("ds",), ("ds1", "ds2"), ("train", "val")])
def test_datasets_of_a_project_are_found(tmp_path, suffix, datasets):
    for dataset in datasets:
        names = [f"{dataset}{i}" for i in range(4)]
        put_images(tmp_path / "set" / dataset / "img", *(f"{n}.png" for n in names))
        for name in names:
            write(tmp_path / "set" / dataset / "ann" / f"{name}{suffix}", shape())
    (tmp_path / "set" / "meta.json").write_text('{"classes": [{"title": "kite", "shape": "rectangle"}], "tags": []}')
    spec = find_spec(str(tmp_path / "set"), save_splits=False)
    assert spec.format == "supervisely" and spec.all_classes().names == ("kite",)
    assert sum(len(spec.read(split)[1]) for split in spec.splits) == 4 * len(datasets)
    if datasets == ("train", "val"):
        assert {split: len(spec.read(split)[1]) for split in spec.splits} == {"train": 4, "val": 4}


def test_images_that_were_moved_are_found_by_their_names(tmp_path):
    put_images(tmp_path / "set" / "photos", *(f"{i}.png" for i in range(4)))
    for i in range(4):
        write(tmp_path / "set" / "ds" / "ann" / f"{i}.png.json", shape())
    spec = find_spec(str(tmp_path / "set"), save_splits=False)
    assert {path.parent.name for path in spec.image_paths()} == {"photos"}


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (5, "malformed_object"),
        (shape(kind="circle"), "malformed_object"),
        (shape(kind=[1]), "malformed_object"),
        (shape(label=None), "no_class"),
        (shape([[1, 2]]), "malformed_object"),
        (shape([[1, 2], [3, "x"]]), "malformed_object"),
        (shape([[1, 2], [3]]), "malformed_object"),
        (shape([[1, 2], [3, float("nan")]]), "non_finite_box"),
        (shape([[1.5, 2], [1.5, 3]]), "zero_area_box"),
        (shape([[1, 2], [3, 4]], "polygon"), "too_few_points"),
        (shape(CORNERS, "polygon", [[1, 2], [3, 4]]), "too_few_points"),
        (shape(CORNERS, "polygon", [[12, 7], [20, 7], [20, 1e160]]), "invalid_mask"),
        (shape(CORNERS, "polygon", [[12, 7], [20, 7], [20, float("nan")]]), "non_finite_box"),
        (shape(CORNERS, "polygon") | {"points": 3}, "malformed_object"),
        (shape(CORNERS, "polygon") | {"points": {"exterior": CORNERS, "interior": 3}}, "malformed_object"),
        (shape(kind="bitmap"), "invalid_mask"),
        (bitmap(BITMAP, 0, 0) | {"bitmap": {"data": "!", "origin": [0, 0]}}, "invalid_mask"),
        (bitmap(BITMAP, 0, 0, "JPEG"), "invalid_mask"),
        (bitmap(BITMAP, 0.5, 0), "malformed_object"),
        (bitmap(BITMAP, "x", 0), "malformed_object"),
        (bitmap(BITMAP, 60, 0), "box_outside_image"),
        (bitmap(np.zeros((3, 3), bool), 0, 0), "zero_area_box"),
    ],
)
def test_broken_objects_are_skipped_and_others_are_read(images, broken, kind):
    _, (a,) = read(images, shape(), broken)
    assert a.boxes.tolist() == [BOX]
    found = dict(read_problems("supervisely", images, images.parent / "ann"))
    assert found[kind].startswith("a.png.json, object 2")


def test_sizes_are_compared_and_other_files_are_ignored(images):
    (images.parent / "ann").mkdir()
    (images.parent / "ann" / "b.png.json").write_text("[")
    (images.parent / "ann" / "key_id_map.json").write_text('{"tags": {}}')
    _, (a,) = read(images, bitmap(BITMAP, 0, 0), size={"height": None})
    assert a.image_hw == HW
    found = dict(read_problems("supervisely", images, images.parent / "ann"))
    assert found["unreadable_annotations"].startswith("b.png.json") and found["unannotated_image"] == "more/c.png"
    with pytest.raises(DataError, match="has no images"):
        read(images, size={"height": 41, "width": 60})
    assert "60x41" in dict(read_problems("supervisely", images, images.parent / "ann"))["image_size_mismatch"]


def test_folder_without_such_files_is_an_error(images):
    with pytest.raises(DataError, match="no Supervisely file in"):
        read_split("supervisely", images, images)
