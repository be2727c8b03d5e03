"""Contents of COCO files for tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from detect.structures import masks
from helpers.reading import read_split
from helpers.via_files import BITMAP

SQUARE = [10, 5, 30, 5, 30, 20, 10, 20]  # columns 10..29, rows 5..19
COMPRESSED = masks.to_json(masks.from_bitmap(BITMAP))
UNCOMPRESSED = {"size": [40, 60], "counts": [405, *[15, 25] * 19, 15, 1220]}
NAN = float("nan")
CATEGORIES = [{"id": 90, "name": "circle"}, {"id": 7, "name": "square"}, {"id": 3, "name": "triangle"}]
IMAGES = [
    {"id": 21, "file_name": "b.png", "height": 40, "width": 60},
    {"id": 11, "file_name": "a.png", "height": 40, "width": 60},
    {"id": 31, "file_name": "more/c.png", "height": 40, "width": 60},
]


def annotation(number: int, image_id: int = 21, category_id: int = 7, **changes: Any) -> dict[str, Any]:
    """Return an annotation of the square with changes; a change to None removes the key."""
    whole = {"id": number, "image_id": image_id, "category_id": category_id, "bbox": [10, 5, 20, 15], "area": 300}
    whole |= {"segmentation": [SQUARE], "iscrowd": 0} | changes
    return {k: v for k, v in whole.items() if v is not None}


def content(*annotations: Any) -> dict[str, Any]:
    return {"categories": deepcopy(CATEGORIES), "images": deepcopy(IMAGES), "annotations": list(annotations)}


def assert_one_line(error: pytest.ExceptionInfo) -> None:
    assert "\n" not in str(error.value)


def reader(images: Path) -> Callable:
    """Return a function that writes ``content`` beside ``images`` and reads it in a format."""

    def read(content: Any, classes: list[str] | None = None, reader: str = "coco"):
        path = images.parent / "ground truth.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_split(reader, images, path, classes)

    return read
