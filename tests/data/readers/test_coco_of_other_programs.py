"""COCO files as other programs write them: every good box survives, and what is changed is said in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.coco_files import SQUARE, annotation, content
from helpers.reading import read_problems
from helpers.via_files import BITMAP, HW, bitmap_of

BOX = [10, 5, 30, 20]  # of SQUARE, xyxy
PAIRS = [[10, 5], [30, 5], [30, 20], [10, 20]]
POINTS = [{"x": x, "y": y} for x, y in PAIRS]
POLYGON_AND_BOX = pytest.mark.parametrize(
    "bbox", [[10, 5, 20, 15], [], None, [0, 0, 0, 0], ["10", "5", "20", "15"], "[10, 5, 20, 15]"]
)


def problems(images) -> dict[str, list[str]]:
    """Return the locations of each kind of problem in the file that ``read`` wrote."""
    found: dict[str, list[str]] = {}
    for kind, location in read_problems("coco", images, images.parent / "ground truth.json"):
        found.setdefault(kind, []).append(location)
    return found


@POLYGON_AND_BOX
@pytest.mark.parametrize(
    "segmentation", [[SQUARE], SQUARE, [PAIRS], PAIRS, [POINTS], POINTS, [[], SQUARE], [[SQUARE]], [[PAIRS]]]
)
def test_box_and_polygon_survive_in_every_notation(read, images, segmentation, bbox):
    written = annotation(1, segmentation=segmentation) | {"bbox": bbox}
    _, (record, *_) = read(content(written))
    assert record.boxes.tolist() == [BOX]
    np.testing.assert_array_equal(bitmap_of(record), BITMAP)
    assert not problems(images)


@pytest.mark.parametrize("segmentation", [[[]], [], None, "", {}, [[], []]])
def test_a_box_without_a_polygon_survives(read, images, segmentation):
    _, (record, *_) = read(content(annotation(1) | {"segmentation": segmentation}))
    assert record.boxes.tolist() == [BOX] and record.masks is None
    assert not problems(images)


@pytest.mark.parametrize("segmentation", [[[10, 5]], [[10, 5, 30, 20]], [10, 5, 30, 20], [[*SQUARE, 7]]])
def test_a_box_with_an_unusable_polygon_survives_and_does_not_switch_masks_off(read, images, segmentation):
    bad = annotation(1) | {"segmentation": segmentation}
    _, (record, *_) = read(content(bad, annotation(2)))
    assert record.boxes.tolist() == [BOX, BOX] and len(record.masks) == 2
    np.testing.assert_array_equal(bitmap_of(record, 0), BITMAP)
    assert problems(images)["box_without_polygon"] == ["b.png, annotation 1"]
    _, (record, *_) = read(content(bad))
    assert record.boxes.tolist() == [BOX] and record.masks is None


@pytest.mark.parametrize("rotation", [45, 45.0, "45.0", -315, 405])
@pytest.mark.parametrize("segmentation", [None, [], [SQUARE]])
def test_a_rotated_box_is_read_as_the_upright_box_around_it(read, images, rotation, segmentation):
    written = annotation(1, attributes={"occluded": False, "rotation": rotation}) | {"segmentation": segmentation}
    _, (record, *_) = read(content(written))
    half = (20 + 15) / 2 / np.sqrt(2)
    np.testing.assert_allclose(record.boxes, [[20 - half, 12.5 - half, 20 + half, 12.5 + half]], atol=1e-4)
    assert record.masks is None and record.areas[0] == pytest.approx(35**2 / 2)
    assert list(problems(images)) == ["rotated_box"]


def test_a_rotated_box_is_a_polygon_among_masks(read):
    rotated = annotation(1, segmentation=None, attributes={"rotation": 90}, bbox=[10, 5, 20, 16])
    _, (record, *_) = read(content(rotated, annotation(2)))
    assert record.boxes.tolist() == [[12, 3, 28, 23], BOX]
    assert record.masks is not None and bitmap_of(record, 0)[3:23, 12:28].all() and bitmap_of(record, 0).sum() == 320


def test_an_attribute_called_rotation_does_not_turn_a_polygon(read):
    triangle = [10, 5, 30, 5, 30, 20]
    _, (record, *_) = read(content(annotation(1, segmentation=[triangle], attributes={"rotation": 45})))
    assert record.boxes.tolist() == [BOX]


@pytest.mark.parametrize("attributes", [{}, None, [], {"rotation": 0}, {"rotation": "left"}, {"rotation": None}])
def test_a_box_without_rotation_is_read_as_it_is(read, images, attributes):
    _, (record, *_) = read(content(annotation(1) | {"attributes": attributes}))
    assert record.boxes.tolist() == [BOX] and not problems(images)


def test_a_rotated_box_of_five_numbers_is_refused_by_name(read, images):
    read(content(annotation(1), annotation(2, bbox=[10, 5, 20, 15, 45])))
    (problem,) = problems(images)["malformed_object"]
    assert "rotated box" in problem and "annotation 2" in problem


@pytest.mark.parametrize("size", [{}, {"width": None, "height": None}, {"width": 0, "height": 0}])
def test_missing_image_sizes_are_read_from_the_image_files(read, images, size):
    unsized = content(annotation(1))
    unsized["images"] = [{"id": image["id"], "file_name": image["file_name"]} | size for image in unsized["images"]]
    _, (record, *_) = read(unsized)
    assert record.image_hw == HW and record.boxes.tolist() == [BOX] and not problems(images)


@pytest.mark.parametrize(
    ("ids", "image_ids"),
    [
        ({21: "21", 11: "11", 31: 31}, [21, 11, 31]),
        ({21: "a_01", 11: "a_02", 31: "a_03"}, [1, 2, 3]),
        ({21: "a_01", 11: 11, 31: 31}, [32, 11, 31]),
    ],
)
def test_text_ids_become_numbers(read, images, ids, image_ids):
    whole = content(annotation(1, ids[21]), annotation(2, ids[31], bbox=[0, 0, 5, 5]))
    for image in whole["images"]:
        image["id"] = ids[image["id"]]
    _, records = read(whole)
    assert [(record.image_id, record.path.name, len(record)) for record in records] == list(
        zip(image_ids, ["b.png", "a.png", "c.png"], [1, 0, 1], strict=True)
    )
    assert set(problems(images)) == ({"renumbered_ids"} if "a_01" in ids.values() else set())


def test_annotations_without_ids_are_numbered(read, images):
    entries = [{key: value for key, value in annotation(1, image).items() if key != "id"} for image in (21, 11)]
    _, records = read(content(*entries))
    assert [record.annotation_ids.tolist() for record in records] == [[1], [2], []] and not problems(images)


def test_text_category_ids_and_numeric_names_are_read(read, images):
    whole = content(annotation(1, category_id="circle"), annotation(2, category_id="7", bbox=[0, 0, 5, 5]))
    whole["categories"] = [{"id": "circle", "name": 5}, {"id": 7, "name": "7 a"}]
    names, (record, *_) = read(whole)
    assert names.names == ("5", "7 a") and names.ids == (8, 7) and record.labels.tolist() == [1, 2]
    assert list(problems(images)) == ["renumbered_ids"]


ROBOFLOW = {"id": 0, "name": "people", "supercategory": "none"}


@pytest.mark.parametrize(
    ("categories", "names", "ids"),
    [
        ([ROBOFLOW, {"id": 7, "name": "people", "supercategory": "people"}], ("people",), (7,)),
        (
            [ROBOFLOW, {"id": 7, "name": "cat", "supercategory": "people"}, {"id": 9, "name": "dog"}],
            ("cat", "dog"),
            (7, 9),
        ),
        ([{"id": 0, "name": "cat"}, {"id": 7, "name": "cat"}], ("cat",), (7,)),
        # A category without objects that is nobody's supercategory is a class.
        ([ROBOFLOW, {"id": 7, "name": "cat", "supercategory": "animal"}], ("people", "cat"), (0, 7)),
        # So is one that has a supercategory itself, a level of a hierarchy.
        (
            [{**ROBOFLOW, "supercategory": "animal"}, {"id": 7, "name": "cat", "supercategory": "people"}],
            ("people", "cat"),
            (0, 7),
        ),
    ],
)
def test_an_unused_root_category_is_not_a_class(read, images, categories: list[dict[str, Any]], names, ids):
    classes, (record, *_) = read(content(annotation(1)) | {"categories": categories})
    assert (classes.names, classes.ids) == (names, ids)
    assert classes.name(record.labels[0]) == next(c["name"] for c in categories if c["id"] == 7)
    assert set(problems(images)) == ({"dropped_category"} if len(names) < len(categories) else set())


def test_a_root_category_with_objects_is_a_class(read):
    categories = [ROBOFLOW, {"id": 7, "name": "cat", "supercategory": "people"}]
    both = [annotation(1), annotation(2, category_id=0, bbox=[0, 0, 5, 5])]
    classes, (record, *_) = read(content(*both) | {"categories": categories})
    assert classes.names == ("people", "cat") and record.labels.tolist() == [2, 1]


@pytest.mark.parametrize("bbox", [[-1, -1, -1, -1], [0, 0, 0, 0]])
@pytest.mark.parametrize("name", ["background", "none"])
def test_an_annotation_that_says_no_object_makes_an_image_without_objects(read, images, bbox, name):
    marker = {"category_id": 0, "bbox": bbox, "segmentation": None, "area": 0}
    whole = content(annotation(1), *(annotation(2 + i, image, **marker) for i, image in enumerate((11, 31))))
    whole["categories"] = [{"id": 0, "name": name}, {"id": 7, "name": "square"}]
    classes, records = read(whole)
    assert classes.names == ("square",) and [len(record) for record in records] == [1, 0, 0]
    found = problems(images)
    assert set(found) == {"no_object", "dropped_category"} and len(found["no_object"]) == 2


def test_keypoints_are_reported_as_dropped(read, images):
    _, (record, *_) = read(
        content(annotation(1, keypoints=[10, 5, 2] * 17, num_keypoints=17), annotation(2, keypoints=[]))
    )
    assert record.boxes.tolist() == [BOX, BOX]
    assert problems(images)["keypoints"] == ["b.png, annotation 1"]
