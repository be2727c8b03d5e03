"""Every output keeps all it is given: no name is written twice, and JSON loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from detect.errors import DiskError
from detect.inference.writers import FORMATS, ImageWriter, JsonLinesWriter, JsonWriter, annotated_video
from detect.inference.writers.json import detection_rows
from detect.media.encoding import JPEG_MOST_SIDE
from detect.media.images import read_image, write_image
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

NAMES = ClassNames(("кот", "dog"), (17, 0))
HW = (40, 60)
IMAGE = np.full((*HW, 3), 90, np.uint8)


def found(with_masks: bool = True) -> Detections:
    boxes = np.array([[1 / 3, 2, 30.1, 33], [5, 6, 50, 39.999]], np.float32)
    bitmap = np.zeros(HW, bool)
    bitmap[3:20, 4:30] = True
    rles = [masks.from_bitmap(bitmap), masks.from_bitmap(~bitmap)] if with_masks else None
    return Detections(HW, boxes, np.array([0.1 + 0.8, 1 / 3], np.float32), np.array([2, 1]), rles)


def test_rows_give_every_number_back():
    rows = json.loads(json.dumps(detection_rows(found(), NAMES)))
    assert [(r["name"], r["category_id"]) for r in rows] == [("dog", 0), ("кот", 17)]
    np.testing.assert_array_equal(np.float32([r["score"] for r in rows]), found().scores)
    np.testing.assert_array_equal(np.float32([r["box_xyxy"] for r in rows]), found().boxes)
    for row, rle in zip(rows, found().masks, strict=True):
        again = masks.from_coco(row["segmentation"], HW)
        np.testing.assert_array_equal(masks.to_bitmap(again), masks.to_bitmap(rle))


def test_rows_carry_every_keypoint():
    points = np.random.default_rng(0).normal(size=(2, 17, 3)).astype(np.float32)
    both = found(with_masks=False)
    rows = json.loads(json.dumps(detection_rows(replace(both, keypoints=points), NAMES)))
    np.testing.assert_array_equal(np.float32([row["keypoints"] for row in rows]), points)
    assert all("keypoints" not in row for row in detection_rows(both, NAMES))


def test_rows_without_masks_have_no_segmentation():
    assert all("segmentation" not in row for row in detection_rows(found(with_masks=False), NAMES))
    assert detection_rows(Detections(HW), NAMES) == []


@pytest.mark.parametrize("make", [ImageWriter, *FORMATS.values()])
def test_a_writer_is_closed_by_its_with_block_and_says_where_it_wrote(tmp_path, make):
    with make(tmp_path, NAMES) as writer:
        path = writer.write(Path("x.jpg"), IMAGE, found())
    assert path.parent == tmp_path and path.is_file()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_json_lists_each_image_with_its_size(tmp_path):
    with JsonWriter(tmp_path, NAMES) as writer:
        writer.write(Path("a/x.jpg"), IMAGE, found())
        writer.write(Path("y.jpg"), IMAGE, Detections(HW))
    first, second = json.loads((tmp_path / "detections.json").read_text(encoding="utf-8"))
    assert (first["source"], first["height"], first["width"]) == ("a/x.jpg", 40, 60)
    assert len(first["detections"]) == 2
    assert second == {"source": "y.jpg", "height": 40, "width": 60, "detections": []}


def test_json_keeps_what_was_done_when_the_work_ends_early(tmp_path):
    with pytest.raises(KeyboardInterrupt), JsonWriter(tmp_path, NAMES) as writer:
        writer.write(Path("x.jpg"), IMAGE, found())
        raise KeyboardInterrupt
    assert len(json.loads((tmp_path / "detections.json").read_text(encoding="utf-8"))) == 1


def test_lines_can_be_read_one_by_one(tmp_path):
    with JsonLinesWriter(tmp_path / "x.jsonl", NAMES) as writer:
        writer.write(0, 0.0, found())
        writer.write(1, 0.04, found(), detected=False)
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["frame"], line["time"], line["detected"]) for line in lines] == [
        (0, 0, True),
        (1, 0.04, False),
    ]
    assert lines[0]["detections"] == detection_rows(found(), NAMES)


def test_an_unwritable_place_is_named(tmp_path):
    images = JsonWriter(tmp_path / "none", NAMES)
    images.write(tmp_path / "x.jpg", np.zeros((10, 20, 3), np.uint8), found())
    with pytest.raises(DiskError, match="none"):
        images.close()
    frames = JsonLinesWriter(tmp_path / "none" / "x.jsonl", NAMES)
    with pytest.raises(DiskError, match="none"):
        frames.write(0, 0.0, found())
    frames.close()


def test_nothing_is_written_of_nothing(tmp_path):
    JsonWriter(tmp_path, NAMES).close()
    JsonLinesWriter(tmp_path / "x.jsonl", NAMES).close()
    assert not list(tmp_path.iterdir())


def test_two_sources_of_one_name_give_two_files(tmp_path):
    writer = ImageWriter(tmp_path, NAMES)
    sources = ("a/x.jpg", "b/x.jpg", "x.png", "x.bmp", "x.tif")
    names = [writer.write(Path(source), IMAGE, found()).name for source in sources]
    assert names == ["x.jpg", "x_2.jpg", "x.png", "x_3.jpg", "x_4.jpg"]
    assert all(read_image(tmp_path / name).shape == (*HW, 3) for name in names)


@pytest.mark.parametrize("stem", ["x" * 251, "日" * 83 + "xx"])
def test_the_longest_names_are_shortened_where_they_must_be(tmp_path, stem):
    writer = ImageWriter(tmp_path, NAMES)
    names = [writer.write(Path(f"{stem}{suffix}"), IMAGE, found()).name for suffix in (".jpg", ".jpg", ".b", ".png")]
    assert names[0] == f"{stem}.jpg" and names[3] == f"{stem}.png"
    assert names[1].endswith("_2.jpg") and names[2].endswith("_3.jpg")
    assert all(name[:80] == stem[:80] and len(name.encode()) <= 255 for name in names)


def test_the_input_is_never_overwritten(tmp_path):
    source = tmp_path / "x.png"
    write_image(source, IMAGE)
    assert ImageWriter(tmp_path, NAMES).write(source, IMAGE, found()).name == "x_2.png"
    np.testing.assert_array_equal(read_image(source), IMAGE)


def test_an_image_too_long_for_jpeg_becomes_a_png(tmp_path):
    hw = (1, JPEG_MOST_SIDE + 1)
    with ImageWriter(tmp_path, NAMES) as writer:
        assert writer.write(Path("long.jpg"), np.zeros((*hw, 3), np.uint8), Detections(hw)).name == "long.png"
        shorter = (1, JPEG_MOST_SIDE)
        assert writer.write(Path("x.jpg"), np.zeros((*shorter, 3), np.uint8), Detections(shorter)).name == "x.jpg"


def test_of_a_video_every_so_many_th_frame_is_looked_at_and_where_its_size_changes(tmp_path):
    clip, seen = tmp_path / "clip.mp4", []
    with VideoWriter(clip, 10, (64, 96)) as out:
        out.write(np.zeros((64, 96, 3), np.uint8))

    def look(image: np.ndarray) -> Detections:
        seen.append(image.shape[:2])
        return Detections(image.shape[:2])

    sizes = [(64, 96), (64, 96), (64, 96), (64, 96), (32, 48), (32, 48), (32, 48)]
    path = tmp_path / "out.mp4"
    with VideoReader(clip) as video, annotated_video(video, NAMES, path, stride=3, save_json=True) as annotated:
        for number, hw in enumerate(sizes):
            annotated.write(Frame(np.zeros((*hw, 3), np.uint8), Fraction(number, 10), None), look)
    lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines if line["detected"]] == [0, 3, 4, 6]
    assert seen == [(64, 96), (64, 96), (32, 48), (32, 48)]


def test_of_a_video_colors_stay_on_what_was_found(tmp_path):
    clip, names = tmp_path / "clip.mp4", ClassNames(("kite",))
    red = np.full((64, 96, 3), (200, 30, 30), np.uint8)
    with VideoWriter(clip, 10, (64, 96)) as out:
        out.write(red)
        out.write(red)
    box = np.array([[48, 0, 96, 64]], np.float32)
    one = Detections((64, 96), box, np.ones(1, np.float32), np.ones(1, np.int64))
    for gray in (True, False):
        path = tmp_path / f"{gray}.mp4"
        with VideoReader(clip) as video, annotated_video(video, names, path, save_json=True, gray=gray) as annotated:
            for frame, found in zip(video, (one, Detections((64, 96))), strict=True):
                annotated.write(frame, lambda _, found=found: found)
        with VideoReader(path) as video:
            first, second = (np.ptp(frame.image.astype(int), axis=2) for frame in video)
        outside, inside = first[40:, :40].mean(), first[40:, 60:88].mean()
        assert inside > 100 and (outside < 20) == (second.mean() < 20) == gray
        lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
        assert [(line["frame"], line["detected"], len(line["detections"])) for line in lines] == [
            (0, True, 1),
            (1, True, 0),
        ]
