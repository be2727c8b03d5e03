"""Output formats and annotated images: no file is overwritten, and no number is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detect.data.exporters.yolo import adapt_name
from detect.errors import DiskError, UsageError
from detect.inference.writers import FORMATS, Part, Source
from detect.inference.writers.annotated_images import write_annotated_image
from detect.inference.writers.files import DetectionFiles, encode_files
from detect.inference.writers.output_names import OutputStems, image_ids
from detect.media.encoding import JPEG_MAX_SIDE
from detect.media.images import read_image
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.detections_json import SCHEMA, detection_rows

NAMES = ClassNames(("кот", "dog"), (17, 0))
HW = (40, 60)
IMAGE = np.full((*HW, 3), 90, np.uint8)


def detections(with_masks: bool = True) -> Detections:
    boxes = np.array([[1 / 3, 2, 30.1, 33], [5, 6, 50, 39.999]], np.float32)
    bitmap = np.zeros(HW, bool)
    bitmap[3:20, 4:30] = True
    rles = [masks.from_bitmap(bitmap), masks.from_bitmap(~bitmap)] if with_masks else None
    return Detections(HW, boxes, np.array([0.1 + 0.8, 1 / 3], np.float32), np.array([2, 1]), rles)


def frame(number: int, *, detected: bool = True) -> Source:
    return Source("clip.mp4", IMAGE, number, number / 25, detected)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# JSON


def test_json_rows_keep_every_number():
    rows = json.loads(json.dumps(detection_rows(detections(), NAMES)))
    assert [(r["name"], r["category_id"]) for r in rows] == [("dog", 0), ("кот", 17)]
    np.testing.assert_array_equal(np.float32([r["score"] for r in rows]), detections().scores)
    np.testing.assert_array_equal(np.float32([r["box_xyxy"] for r in rows]), detections().boxes)
    for row, rle in zip(rows, detections().masks, strict=True):
        decoded = masks.from_coco(row["segmentation"], HW)
        np.testing.assert_array_equal(masks.to_bitmap(decoded), masks.to_bitmap(rle))


def test_json_rows_have_keypoints_if_the_model_has():
    points = np.random.default_rng(0).normal(size=(2, 17, 3)).astype(np.float32)
    without = detections(with_masks=False)
    rows = json.loads(json.dumps(detection_rows(replace(without, keypoints=points), NAMES)))
    np.testing.assert_array_equal(np.float32([row["keypoints"] for row in rows]), points)
    assert all("keypoints" not in row for row in detection_rows(without, NAMES))


def test_json_rows_have_segmentation_if_the_model_has_masks():
    assert all("segmentation" not in row for row in detection_rows(detections(with_masks=False), NAMES))
    assert detection_rows(Detections(HW), NAMES) == []


def test_json_document_lists_each_image_with_its_size(tmp_path):
    with DetectionFiles(tmp_path, NAMES, ["json"]) as files:
        files.write(Source("a/x.jpg", IMAGE, annotated_file="x_2.jpg"), detections())
        files.write(Source("y.jpg", IMAGE), Detections(HW))
    document = read_json(tmp_path / "detections.json")
    assert document["schema"] == SCHEMA
    first, second = document["images"]
    assert (first["source"], first["annotated_file"]) == ("a/x.jpg", "x_2.jpg")
    assert (first["height"], first["width"]) == (40, 60)
    assert first["detections"] == detection_rows(detections(), NAMES)
    assert second == {"source": "y.jpg", "annotated_file": None, "height": 40, "width": 60, "limit_reached": False} | {
        "detections": []
    }


def test_json_line_of_a_frame_is_written_at_once(tmp_path):
    with DetectionFiles(tmp_path, NAMES, ["json"], "clip") as files:
        for number in range(2):
            files.write(frame(number, detected=number == 0), detections())
            lines = [json.loads(line) for line in (tmp_path / "clip.jsonl").read_text("utf-8").splitlines()]
            assert len(lines) == number + 1
    assert [(line["frame"], line["time"], line["detected"]) for line in lines] == [(0, 0, True), (1, 0.04, False)]
    assert lines[0]["detections"] == detection_rows(detections(), NAMES)
    assert (lines[0]["height"], lines[0]["width"]) == HW and {line["schema"] for line in lines} == {SCHEMA}


# Every format


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_works_for_images_videos_and_in_memory(tmp_path, name):
    pairs = [(Source("a/x.jpg", IMAGE), detections()), (Source("y.jpg", IMAGE), Detections(HW))]
    for folder, sources in (("images", pairs), ("video", [(frame(i), one) for i, (_, one) in enumerate(pairs)])):
        (tmp_path / folder).mkdir()
        with DetectionFiles(tmp_path / folder, NAMES, [name], "stem") as files:
            for source, one in sources:
                files.write(source, one)
        assert list((tmp_path / folder).iterdir()) and not list((tmp_path / folder).glob(".*"))
    in_memory = encode_files(name, NAMES, pairs)
    assert in_memory and all(isinstance(content, bytes) for content in in_memory.values())
    (tmp_path / "same").mkdir()
    with DetectionFiles(tmp_path / "same", NAMES, [name]) as files:
        for source, one in pairs:
            files.write(source, one)
    folder = tmp_path / "same"
    on_disk = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert on_disk == in_memory


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_the_results_if_the_work_ends_early(tmp_path, name):
    with pytest.raises(KeyboardInterrupt), DetectionFiles(tmp_path, NAMES, [name]) as files:
        files.write(Source("x.jpg", IMAGE), detections())
        raise KeyboardInterrupt
    assert [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.parametrize("name", FORMATS)
def test_no_file_is_created_without_images(tmp_path, name):
    with DetectionFiles(tmp_path, NAMES, [name]):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sources", [[Source("x.jpg", IMAGE)], [frame(0)]])
def test_unwritable_folder_is_an_error_that_names_it(tmp_path, sources):
    with pytest.raises(DiskError, match="none"), DetectionFiles(tmp_path / "none", NAMES, ["json"]) as files:
        for source in sources:
            files.write(source, detections())


def test_files_in_subfolders_and_files_that_grow_are_supported(tmp_path, monkeypatch):
    class Lines(FORMATS["json"]):
        def add(self, source, detections):
            yield Part(f"deep/sub/{source.name}.txt", b"a")
            yield Part("all.txt", b"1")

        def finish(self):
            return [Part("all.txt", b"end"), Part("late.txt", b"y"), Part("late.txt", b"z")]

    monkeypatch.setitem(FORMATS, "lines", Lines)
    pairs = [(Source(name, IMAGE), Detections(HW)) for name in "xyx"]
    expected = {"deep/sub/x.txt": b"aa", "deep/sub/y.txt": b"a", "all.txt": b"111end", "late.txt": b"yz"}
    assert encode_files("lines", NAMES, pairs) == expected
    with DetectionFiles(tmp_path, NAMES, ["lines"]) as files:
        for source, one in pairs:
            files.write(source, one)
    assert {name: (tmp_path / name).read_bytes() for name in expected} == expected


def test_unknown_format_is_an_error_with_the_near_name(tmp_path):
    with pytest.raises(UsageError, match="'jsn': did you mean json"):
        DetectionFiles(tmp_path, NAMES, ["jsn"])


# Annotated images


@pytest.mark.parametrize(
    ("name", "written"),
    [("x.jpg", "s.jpg"), ("x.JPEG", "s.JPEG"), ("a/x.png", "s.png"), ("x.tif", "s.jpg"), ("x", "s.jpg")],
)
def test_annotated_image_keeps_a_suffix_that_every_program_can_show(tmp_path, name, written):
    path = write_annotated_image(tmp_path, "s", name, IMAGE, detections(), NAMES)
    assert path == tmp_path / written and read_image(path).shape == (*HW, 3)


def test_image_too_long_for_jpeg_becomes_png(tmp_path):
    for side, name in ((JPEG_MAX_SIDE + 1, "long.png"), (JPEG_MAX_SIDE, "long.jpg")):
        image = np.zeros((1, side, 3), np.uint8)
        written = write_annotated_image(tmp_path, "long", "long.jpg", image, Detections((1, side)), NAMES)
        assert written.name == name


# Names and numbers of images


def test_images_of_equal_name_get_different_stems():
    stems = OutputStems(["kept"])
    names = (
        "a/x.jpg",
        "b/x.jpg",
        "x.png",
        "X.bmp",
        "kept.jpg",
        ".hidden.png",
        "no\ttab.png",
        "half\udcff.png",
        "a.b.c",
    )
    assert [stems.choose(name) for name in names] == [
        "x", "x_2", "x_3", "X_4", "kept_2", "hidden", "no_tab", "half_", "a.b",
    ]  # fmt: skip


def test_stems_are_chosen_so_that_yolo_reads_their_labels():
    """Files such as train.txt are no labels, so the labels of train.jpg are in train_.txt."""
    for names in (["train.jpg", "train_.jpg"], ["train_.jpg", "train.jpg"], ["train.jpg", "train.png"]):
        stems = OutputStems()
        assert len({adapt_name(f"{stems.choose(name)}.jpg") for name in names}) == 2


@pytest.mark.parametrize("stem", ["x" * 251, "日" * 83 + "xx"])
def test_long_names_are_shortened_to_what_file_systems_allow(stem):
    stems = OutputStems()
    chosen = [stems.choose(f"{stem}{suffix}") for suffix in (".jpg", ".jpg", ".png")]
    assert len(set(chosen)) == 3
    assert all(one[:60] == stem[:60] and len(f"{one}_123456.jpg".encode()) <= 255 for one in chosen)


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["a/000000000139.jpg", "7.png"], [139, 7]),
        (["1.jpg", "2.jpg", "cat.jpg"], [1, 2, 3]),
        (["7.jpg", "cat.jpg"], [1, 2]),
        (["7.jpg", "007.jpg"], [1, 2]),
        (["9" * 19 + ".jpg", "1.jpg"], [1, 2]),
        (["٣.jpg"], [1]),
        ([], []),
    ],
)
def test_images_are_numbered_by_their_names_if_these_are_different_numbers(names, numbers):
    assert image_ids(names) == numbers
