"""Boxes that stand still beside boxes that move are reported; other equal boxes are not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detect.data.description import find_spec
from detect.data.quality.diagnosis import diagnose

Objects = Sequence[tuple[str, Sequence[float]]]
STUCK = (70, 40, 20, 15)


def stuck_boxes(
    folder: Path, count: int, objects: Callable[[int], Objects], name: Callable[[int], str] = "{}.png".format
) -> list[tuple[str, str]]:
    """Return class and text of the boxes reported for ``count`` images; ``objects`` gives class and xywh of each."""
    rng = np.random.default_rng(0)
    content: dict = {"images": [], "annotations": []}
    content["categories"] = [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]
    for number in range(count):
        file = name(number)
        Image.fromarray(rng.integers(0, 256, (80, 120, 3), np.uint8)).save(folder / file)
        content["images"].append({"id": number, "file_name": file, "width": 120, "height": 80})
        for kind, box in objects(number):
            entry = {"image_id": number, "category_id": 1 if kind == "car" else 2, "bbox": list(box)}
            entry["iscrowd"] = int(kind == "crowd of dogs")
            content["annotations"].append(entry | {"id": len(content["annotations"]) + 1})
    (folder / "a.json").write_text(json.dumps(content))
    split = {"images": ".", "annotations": "a.json"}
    (folder / "set.yaml").write_text(json.dumps({"format": "coco", "root": ".", "splits": {"train": split}}))
    found = dict(diagnose(find_spec(str(folder / "set.yaml"))).by_kind()).get("stuck_box", [])
    return [(location.file, location.value) for _, problem in found for location in problem.locations]


def moving(number: int) -> tuple[str, tuple[float, ...]]:
    return "dog", (3 * number % 60, 2 * number % 50, 18, 14)


def test_a_track_that_does_not_end_is_reported_with_class_place_and_count(tmp_path):
    ((name, text),) = stuck_boxes(tmp_path, 20, lambda i: [moving(i), ("car", STUCK)])
    assert name == "car" and text == "(70, 40, 90, 55) on 20 of 20 images, such as 0.png"


@pytest.mark.parametrize("lefts", [(70.0, 70.4, 70.9), (69.6, 70.4), (70.6, 71.4)])
def test_boxes_that_differ_by_less_than_a_pixel_stand_still(tmp_path, lefts):
    found = stuck_boxes(tmp_path, 18, lambda i: [moving(i), ("car", (lefts[i % len(lefts)], 40.5, 20, 15))])
    assert [name for name, _ in found] == ["car"]


def test_two_stuck_boxes_are_two_lines(tmp_path):
    found = stuck_boxes(tmp_path, 20, lambda i: [moving(i), ("car", STUCK), ("dog", (5, 60, 12, 12))])
    assert sorted(name for name, _ in found) == ["car", "dog"]


@pytest.mark.parametrize(
    ("count", "objects"),
    [
        (9, lambda i: [moving(i), ("car", STUCK)]),
        (30, lambda i: [moving(i), *([("car", STUCK)] if i % 3 == 0 else [])]),
        (20, lambda i: [("car", STUCK)]),
        (20, lambda i: [("car", STUCK), ("dog", (10, 10, 30, 30))]),
        (20, lambda i: [moving(i), ("car", (0, 0, 120, 80))]),
        (20, lambda i: [moving(i), ("crowd of dogs", STUCK)]),
        (20, lambda i: [moving(i), ("car", (40 + i, 40, 20, 15))]),
        (20, lambda i: [moving(i), (("car", "dog")[i % 2], STUCK)]),
        (20, lambda i: []),
    ],
)
def test_other_boxes_are_not_reported(tmp_path, count, objects):
    """Few images, a minority of the images, nothing that moves, whole images, crowds, moving boxes, two classes."""
    assert stuck_boxes(tmp_path, count, objects) == []


def test_a_box_that_stands_still_in_one_clip_is_reported(tmp_path):
    def objects(number: int) -> Objects:
        return [moving(number), *([("car", STUCK)] if number < 12 else [])]

    found = stuck_boxes(tmp_path, 48, objects, lambda i: f"clip{i // 12}_{i % 12}.png")
    assert found == [("car", "(70, 40, 90, 55) on 12 of 12 images, such as clip0_0.png")]
