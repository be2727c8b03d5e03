"""Contents of VIA files and their images for tests."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detect.media.images import write_image
from detect.structures import masks
from detect.structures.image_record import ImageRecord
from helpers.reading import read_split

HW = (40, 60)
SQUARE = {"name": "polygon", "all_points_x": [10, 30, 30, 10], "all_points_y": [5, 5, 20, 20]}
RECT = {"name": "rect", "x": 10, "y": 5, "width": 20, "height": 15}
BITMAP = np.zeros(HW, bool)
BITMAP[5:20, 10:30] = True
CIRCLE = {"name": "circle", "cx": 30, "cy": 20, "r": 10}
ELLIPSE = {"name": "ellipse", "cx": 30, "cy": 20, "rx": 15, "ry": 5, "theta": 0.5}
LINE = SQUARE | {"name": "polyline"}
KINDS = {"type": "dropdown", "options": {"k": "kite", "b": "balloon", "n": "never seen"}}


def region(shape: dict[str, Any] | None = None, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": dict(SQUARE if shape is None else shape), "region_attributes": attributes}


def shaped(shape: dict[str, Any] = SQUARE, **changes: Any) -> dict[str, Any]:
    """Return a region with a changed shape; a change to None removes the key."""
    return region({k: v for k, v in (shape | changes).items() if v is not None})


def entries(*regions: Any, version: int = 2) -> dict[str, Any]:
    """Return the entries of b.png with ``regions`` and a.png without any."""
    held = [list(regions), []] if version == 2 else [{str(i): r for i, r in enumerate(regions)}, {}]
    return {
        "b.png123": {"filename": "b.png", "size": 123, "regions": held[0], "file_attributes": {}},
        "a.png45": {"filename": "a.png", "size": 45, "regions": held[1], "file_attributes": {}},
    }


def project(*regions: Any, **attributes: Any) -> dict[str, Any]:
    """Return a VIA 2 project that defines region ``attributes``."""
    return {
        "_via_settings": {"core": {"filepath": {}, "default_filepath": "C:\\somewhere\\else\\"}},
        "_via_img_metadata": entries(*regions),
        "_via_attributes": {"region": attributes, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": ["b.png123", "a.png45"],
    }


def as_csv(content: dict[str, Any], mark: str = "") -> str:
    """Return the CSV export of the same entries."""
    names = ("file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes")
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow([f"{mark}filename", *names, "region_attributes"])
    for entry in content.values():
        held = entry["regions"]
        for i, one in enumerate(held or [{"shape_attributes": {}, "region_attributes": {}}]):
            attributes = [json.dumps(one["shape_attributes"]), json.dumps(one["region_attributes"])]
            lines.writerow([entry["filename"], entry["size"], "{}", len(held), i, *attributes])
    return out.getvalue()


def write_images(parent: Path) -> Path:
    """Write three black images of size HW and return their folder ``parent/images``."""
    folder = parent / "images"
    (folder / "more").mkdir(parents=True)
    for name in ("a.png", "b.png", "more/c.png"):
        write_image(folder / name, np.zeros((*HW, 3), np.uint8))
    return folder


def reader(images: Path) -> Callable:
    """Return a function that writes ``content`` beside ``images`` and reads it."""

    def read(content: Any, classes: list[str] | None = None, name: str = "ground truth.json"):
        path = images.parent / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return read_split("via", images, path, classes)

    return read


def bitmap_of(record: ImageRecord, i: int = 0) -> np.ndarray:
    return masks.to_bitmap(masks.from_coco(record.masks[i], record.image_hw))


def one_warning(capsys: pytest.CaptureFixture) -> str:
    (warning,) = capsys.readouterr().err.splitlines()
    return warning
