"""Detections as annotations for a person to correct: our own readers read every format back, in every use."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from detect.data.description import find_spec
from detect.data.exporters import EXPORTERS
from detect.data.table import Table
from detect.errors import UsageError
from detect.inference.writers import LABELS, Source
from detect.inference.writers.files import DetectionFiles, encode_files
from detect.media.images import read_image, write_image
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

HW = (120, 160)
NAMES = ClassNames(("Vögel & <Co>", "kite", "never seen"), (17, 5, 90))


def ellipse(center: tuple[int, int], axes: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: HW[0], : HW[1]]
    return ((x - center[0]) / axes[0]) ** 2 + ((y - center[1]) / axes[1]) ** 2 < 1


def bitmaps() -> list[np.ndarray]:
    """Return a round mask, one with a hole, and one of two parts."""
    ring = ellipse((50, 60), (40, 30)) & ~ellipse((50, 60), (15, 10))
    parts = ellipse((100, 30), (20, 20)) | ellipse((140, 90), (15, 20))
    return [ellipse((110, 60), (30, 45)), ring, parts]


def detections(with_masks: bool) -> Detections:
    shapes = bitmaps()
    rles = [masks.from_bitmap(one) for one in shapes]
    boxes = np.array([masks.box(rle) for rle in rles])
    if not with_masks:
        boxes = boxes + np.array([0.25, 0.5, -0.25, -0.5], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    return Detections(HW, boxes, scores, np.array([1, 2, 1]), rles if with_masks else None, class_names=NAMES)


def with_sources(tmp_path: Path, cases: dict[str, Detections]) -> list[tuple[Source, Detections]]:
    """Write an image for each name, and return their sources with the detections."""
    found = []
    for number, (name, one) in enumerate(cases.items(), start=7):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.full((*HW, 3), (9 * number, 20 * number, 90), np.uint8)
        write_image(path, image)
        found.append((Source(str(path), image, stem=path.stem, image_id=number, path=path), one))
    return found


def read(folder: Path) -> tuple[ClassNames, Table]:
    """Read a dataset as train.py does, which splits it at random."""
    spec = find_spec(str(folder))
    names, tables = zip(*(spec.read(split) for split in spec.splits), strict=True)
    return names[0], functools.reduce(Table.append, tables)


def rows_of(table: Table, stem: str) -> range:
    (index,) = (i for i in range(len(table)) if Path(table.names[i]).stem.rstrip("_") == stem)
    return range(int(table.object_starts[index]), int(table.object_starts[index + 1]))


@pytest.mark.parametrize("use", ["images", "memory", "frames"])
@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("form", EXPORTERS)
def test_labels_are_read_back_with_equal_boxes_and_masks(tmp_path, form, with_masks, use):
    found = detections(with_masks)
    pairs = with_sources(tmp_path, {"a.jpg": found, "empty.png": Detections(HW), "train.png": found})
    stems = [source.stem for source, _ in pairs]
    if use == "frames":
        pairs = [(Source("clip.mp4", source.image, i, i / 25), one) for i, (source, one) in enumerate(pairs)]
        stems = [source.file_stem for source, _ in pairs]
    if use == "memory":
        for name, content in encode_files(f"{LABELS}{form}", NAMES, pairs).items():
            (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "out" / name).write_bytes(content)
    else:
        (tmp_path / "out").mkdir()
        stem = ["clip"] if use == "frames" else []
        with DetectionFiles(tmp_path / "out", NAMES, [f"{LABELS}{form}"], *stem) as files:
            for source, one in pairs:
                files.write(source, one)
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name == f"clip_labels_{form}" if use == "frames" else f"labels_{form}"
    class_names, table = read(folder)
    assert len(table) == 3
    for stem, (source, expected) in zip(stems, pairs, strict=True):
        check(form, class_names, table, rows_of(table, stem), expected)
        (index,) = (i for i in range(3) if Path(table.names[i]).stem.rstrip("_") == stem)
        assert np.abs(read_image(table.path(index)).astype(int) - source.image).max() <= 5


def check(form: str, class_names: ClassNames, table: Table, rows: range, expected: Detections) -> None:
    assert [class_names.name(int(table.labels[row])) for row in rows] == expected.names
    assert not table.iscrowd[list(rows)].any()
    for row, box, rle in zip(rows, expected.boxes, expected.masks or [None] * 3, strict=False):
        if rle is None or form == "voc":
            assert np.abs(table.boxes[row] - box).max() <= 0.5
            continue
        drawn = masks.from_coco(table.mask(row), HW)
        assert isinstance(table.mask(row), list) and masks.iou([drawn], [rle])[0, 0] >= 0.97
        assert np.abs(table.boxes[row] - masks.box(rle)).max() <= 1
        assert sum(map(len, table.mask(row))) < 200


def test_coco_keeps_boxes_ids_and_categories(tmp_path):
    pairs = with_sources(tmp_path, {"a.jpg": detections(True), "b.jpg": detections(False)})
    with DetectionFiles(tmp_path, NAMES, ["labels_coco"]) as files:
        for source, one in pairs:
            files.write(source, one)
    content = json.loads((tmp_path / "labels_coco" / "annotations" / "instances_train.json").read_text())
    assert [(one["id"], one["file_name"], one["height"]) for one in content["images"]] == [
        (7, "a.jpg", 120), (8, "b.jpg", 120),
    ]  # fmt: skip
    assert [one["id"] for one in content["annotations"]] == [1, 2, 3, 4, 5, 6]
    assert [(one["id"], one["name"]) for one in content["categories"]] == list(
        zip(NAMES.ids, NAMES.names, strict=True)
    )
    for annotation, box in zip(content["annotations"][3:], detections(False).boxes, strict=True):
        x, y, w, h = annotation["bbox"]
        np.testing.assert_array_equal(np.float32([x, y, x + w, y + h]), box)
        assert annotation["area"] == pytest.approx(w * h) and "segmentation" not in annotation


def test_image_files_are_copied_unchanged(tmp_path):
    path = tmp_path / "in.BMP"
    write_image(tmp_path / "in.png", np.zeros((*HW, 3), np.uint8))
    (tmp_path / "in.png").rename(path)
    source = Source(str(path), np.zeros((*HW, 3), np.uint8), stem="in_2", path=path)
    with DetectionFiles(tmp_path, NAMES, ["labels_yolo"]) as files:
        files.write(source, detections(False))
    copy = tmp_path / "labels_yolo" / "images" / "train" / "in_2.bmp"
    assert copy.read_bytes() == path.read_bytes()
    assert (tmp_path / "labels_yolo" / "labels" / "train" / "in_2.txt").read_text().count("\n") == 3


def test_frames_that_repeat_detections_are_left_out(tmp_path):
    with DetectionFiles(tmp_path, NAMES, ["labels_voc", "crops", "coco"], "clip") as files:
        for number in range(4):
            image = np.zeros((*HW, 3), np.uint8)
            files.write(Source("clip", image, number, number / 25, number % 2 == 0), detections(False))
    written = sorted(path.stem for path in (tmp_path / "clip_labels_voc" / "Annotations").iterdir())
    assert written == ["clip_000000", "clip_000002"]
    assert len(list((tmp_path / "clip_crops").rglob("*.jpg"))) == 6
    rows = json.loads((tmp_path / "clip_coco.json").read_text())
    assert [(row["image_id"], row["file_name"]) for row in rows[::3]] == [
        (0, "clip_000000.jpg"), (2, "clip_000002.jpg"),
    ]  # fmt: skip


def test_class_names_that_a_format_cannot_hold_are_an_error_before_any_work(tmp_path):
    with pytest.raises(UsageError, match="would be equal in this format"):
        DetectionFiles(tmp_path, ClassNames(("a b", "a  b")), ["labels_voc"])


@pytest.mark.slow
def test_many_images_do_not_stay_in_memory(tmp_path):
    """More than fits into the part of the spooled file that is in memory."""
    path = tmp_path / "x.jpg"
    write_image(path, np.zeros((8, 8, 3), np.uint8))
    boxes = np.tile(np.array([[1, 2, 30, 40]], np.float32), (100, 1))
    crowded = Detections(HW, boxes, np.ones(100, np.float32), np.ones(100, np.int64), class_names=NAMES)
    with DetectionFiles(tmp_path, NAMES, ["labels_coco"], staged=True) as files:
        for number in range(1000):
            files.add(Source(f"{number}.jpg", None, path=path), crowded)
    content = json.loads((tmp_path / "labels_coco" / "annotations" / "instances_train.json").read_text())
    assert len(content["images"]) == 1000 and len(content["annotations"]) == 100_000
