"""COCO results, CSV and crops: every number is kept, for images and for frames."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.reading import read_split
from pycocotools.coco import COCO

from detect.inference.writers import Source
from detect.inference.writers.files import DetectionFiles, encode_files
from detect.media.encoding import EncodedImage
from detect.media.images import read_image, write_image
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

HW = (40, 60)
NAMES = ClassNames(("кот", 'a "dog", big', "a/dog", "a dog"), (17, 0, 3, 4))
IMAGE = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
BOXES = np.array([[1 / 3, 2, 30.1, 33], [5, 6, 50, 39.999], [59.2, 39.5, 60, 40]], np.float32)


def detections(**more) -> Detections:
    return Detections(HW, BOXES, np.array([0.9, 1 / 3, 0.1], np.float32), np.array([2, 1, 3]), **more)


def lines(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode())))


def test_csv_keeps_every_number_and_name():
    odd = 'in/a "b", c\nd.jpg'
    (text,) = encode_files(
        "csv", NAMES, [(Source(odd, IMAGE), detections()), (Source("e", IMAGE), Detections(HW))]
    ).values()
    rows = lines(text)
    assert [row["image"] for row in rows] == [odd] * 3
    assert [(row["name"], int(row["category_id"])) for row in rows] == [('a "dog", big', 0), ("кот", 17), ("a/dog", 3)]
    np.testing.assert_array_equal(np.float32([row["score"] for row in rows]), detections().scores)
    sides = ("x_min", "y_min", "x_max", "y_max")
    np.testing.assert_array_equal(np.float32([[row[side] for side in sides] for row in rows]), BOXES)
    assert {(row["image_width"], row["image_height"]) for row in rows} == {("60", "40")}


def test_csv_of_a_video_has_frames_and_tracks():
    plain = detections()
    tracked = replace(plain, track_ids=np.array([5, 1, 9]))
    pairs = [(Source("clip", IMAGE, 0, 0.0), plain), (Source("clip", IMAGE, 1, 1 / 3, False), tracked)]
    ((name, text),) = encode_files("csv", NAMES, pairs).items()
    rows = lines(text)
    assert [row["frame"] for row in rows] == ["0"] * 3 + ["1"] * 3
    assert [row["detected"] for row in rows] == ["true"] * 3 + ["false"] * 3
    assert [row["track_id"] for row in rows] == ["", "", "", "5", "1", "9"]
    assert rows[3]["time"] == "0.333333" and name == "detections.csv"


def test_csv_is_a_dataset_for_our_reader(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, IMAGE)
    pairs = [(Source(name, IMAGE), detections()[:2]) for name in ("a.png", "b.png")]
    (text,) = encode_files("csv", NAMES, pairs).values()
    (tmp_path / "x.csv").write_bytes(text)
    names, table = read_split("csv", tmp_path, tmp_path / "x.csv")
    assert len(table) == 2 and len(table.labels) == 4
    assert np.abs(table.boxes[:2] - BOXES[:2]).max() < 1e-4
    assert [names.name(int(label)) for label in table.labels[:2]] == ['a "dog", big', "кот"]


def test_coco_results_are_those_of_the_detections_with_names_of_image_and_class():
    rles = [masks.from_bitmap(np.random.default_rng(i).random(HW) > 0.5) for i in range(3)]
    points = np.random.default_rng(0).normal(size=(3, 17, 3)).astype(np.float32)
    one = detections(masks=rles, keypoints=points)
    pairs = [(Source("in/7.jpg", IMAGE, image_id=7), one), (Source("in/9.jpg", IMAGE, image_id=9), detections())]
    (text,) = encode_files("coco", NAMES, pairs).values()
    rows = json.loads(text)
    expected = replace(one, class_names=NAMES).to_coco(7)
    for row, other, point in zip(rows[:3], expected, points, strict=True):
        assert {key: row[key] for key in other} == other
        np.testing.assert_array_equal(np.float32(row["keypoints"]).reshape(17, 3), point)
    assert [row["image_id"] for row in rows] == [7] * 3 + [9] * 3
    assert {row["file_name"] for row in rows[:3]} == {"in/7.jpg"}
    assert [row["category_name"] for row in rows[3:]] == ['a "dog", big', "кот", "a/dog"]
    assert all("segmentation" not in row for row in rows[3:])


def test_coco_results_are_loaded_by_pycocotools(tmp_path, capsys):
    images = [{"id": i, "file_name": f"{i:012}.jpg", "height": HW[0], "width": HW[1]} for i in (139, 285)]
    categories = [{"id": i, "name": name} for i, name in zip(NAMES.ids, NAMES.names, strict=True)]
    content = {"images": images, "annotations": [], "categories": categories}
    (tmp_path / "ground_truth.json").write_text(json.dumps(content))
    with DetectionFiles(tmp_path, NAMES, ["coco"]) as files:
        for image in images:
            files.write(Source(f"in/{image['file_name']}", IMAGE, image_id=image["id"]), detections())
    found = COCO(str(tmp_path / "ground_truth.json")).loadRes(str(tmp_path / "detections_coco.json"))
    assert sorted(found.getImgIds()) == [139, 285] and len(found.getAnnIds(imgIds=[139])) == 3


def test_images_without_a_number_are_numbered_and_an_empty_result_is_a_list():
    found = encode_files("coco", NAMES, [(Source(name, IMAGE), detections()[:1]) for name in "ab"])
    assert [row["image_id"] for row in json.loads(found["detections_coco.json"])] == [1, 2]
    assert (
        json.loads(encode_files("coco", NAMES, [(Source("a", IMAGE), Detections(HW))])["detections_coco.json"]) == []
    )


def test_crops_are_the_pixels_in_the_boxes():
    found = encode_files("crops", NAMES, [(Source("in/x.png", IMAGE, stem="x_2"), detections())])
    assert list(found) == ["crops/a_dog_big/x_2_1.png", "crops/кот/x_2_2.png", "crops/a_dog/x_2_3.png"]
    expected = (IMAGE[2:33, 0:31], IMAGE[6:40, 5:50], IMAGE[39:40, 59:60])
    for content, pixels in zip(found.values(), expected, strict=True):
        np.testing.assert_array_equal(read_image(EncodedImage(content)), pixels)


@pytest.mark.parametrize("box", [[-3, -2, 0, 0], [59.9, 39.9, 59.95, 39.95], [-5, -5, 90, 90], [60, 40, 60, 40]])
def test_a_crop_has_at_least_a_pixel_and_lies_in_the_image(box):
    one = Detections(HW, np.array([box], np.float32), np.ones(1, np.float32), np.ones(1, np.int64))
    (content,) = encode_files("crops", NAMES, [(Source("x.png", IMAGE), one)]).values()
    height, width = read_image(EncodedImage(content)).shape[:2]
    assert 1 <= height <= HW[0] and 1 <= width <= HW[1]


def test_classes_of_equal_folder_name_have_different_folders():
    labels = np.array([3, 4], np.int64)
    two = Detections(HW, BOXES[:2], np.array([0.9, 0.8], np.float32), labels)
    assert {Path(name).parent.name for name in encode_files("crops", NAMES, [(Source("x.png", IMAGE), two)])} == {
        "a_dog", "a_dog_2",
    }  # fmt: skip


def test_crops_of_frames_name_video_and_frame(tmp_path):
    with DetectionFiles(tmp_path, NAMES, ["crops"], "clip") as files:
        files.write(Source("clip", IMAGE, 12, 0.5), detections())
    names = sorted(path.relative_to(tmp_path / "clip_crops").as_posix() for path in tmp_path.rglob("*.jpg"))
    assert names == ["a_dog/clip_000012_3.jpg", "a_dog_big/clip_000012_1.jpg", "кот/clip_000012_2.jpg"]
