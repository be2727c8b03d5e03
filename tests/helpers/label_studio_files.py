"""Contents of Label Studio's files for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from helpers.reading import read_split

RECTANGLE = {"x": 100 / 6, "y": 12.5, "width": 100 / 3, "height": 37.5, "rotation": 0}  # the box 10, 5, 30, 20
POLYGON = {"points": [[100 / 6, 12.5], [50, 12.5], [50, 50], [100 / 6, 50]], "closed": True}


def result(value: Any = None, kind: str = "rectanglelabels", label: Any = "kite", **more: Any) -> dict[str, Any]:
    """Return a result on an image of 60 x 40 pixels; by default a rectangle."""
    value = dict(RECTANGLE if value is None else value)
    if label is not None:
        value[kind] = label if isinstance(label, list) else [label]
    whole = {"id": "r1", "type": kind, "value": value, "original_width": 60, "original_height": 40}
    return whole | {"from_name": "label", "to_name": "image", "image_rotation": 0, "origin": "manual"} | more


def results(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    """Give each result its own id."""
    return [entry | {"id": f"r{number}"} for number, entry in enumerate(entries, 1)]


def done(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    whole = {"id": 1, "result": results(*entries), "was_cancelled": False, "ground_truth": False}
    return whole | {"created_at": "2024-05-01T10:00:00Z", "updated_at": "2024-05-01T10:00:00Z"} | more


def task(*annotations: Any, image: str = "/data/upload/3/1a2b3c4d-a.png", **more: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"image": image}, "annotations": list(annotations), "predictions": []} | more


def encode_brush(mask: np.ndarray) -> list[int]:
    """Return a mask, bool [H, W], as Label Studio writes it, with four equal values per pixel."""
    return encode_values(np.repeat(np.where(mask, 255, 0)[:, :, None], 4, axis=2))


def encode_values(rgba: np.ndarray) -> list[int]:
    """Return RGBA values, uint8 [H, W, 4], as Label Studio writes them: in runs of one value, and singly by turns."""
    values = rgba.ravel()
    bits = f"{len(values):032b}" + f"{8 - 1:05b}" + "".join(f"{width - 1:04b}" for width in (3, 4, 8, 16))
    position = 0
    while position < len(values):
        differs = np.flatnonzero(values[position:] != values[position])
        length = int(min(differs[0] if len(differs) else len(values) - position, 2**16))
        if position % 3 == 0:  # a run that lists its values
            length = min(8, len(values) - position)
            bits += (
                "0" + "00" + f"{length - 1:03b}" + "".join(f"{v:08b}" for v in values[position : position + length])
            )
        else:
            select, width = next((i, w) for i, w in enumerate((3, 4, 8, 16)) if length <= 2**w)
            bits += "1" + f"{select:02b}" + f"{length - 1:0{width}b}" + f"{values[position]:08b}"
        position += length
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def brush(mask: np.ndarray, **more: Any) -> dict[str, Any]:
    return result({"format": "rle", "rle": encode_brush(mask)}, "brushlabels", **more)


def read(images: Path, *tasks: Any):
    """Write a file beside the folder ``images`` and return the classes and the records."""
    path = images.parent / "project-1.json"
    path.write_text(json.dumps(list(tasks)), encoding="utf-8")
    return read_split("label_studio", images, path)
