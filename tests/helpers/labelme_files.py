"""Contents of labelme files for tests."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers.reading import read_split

BOX = [10, 5, 30, 20]
CORNERS = [[10, 5], [30, 5], [30, 20], [10, 20]]


def shape(points: Any = CORNERS, kind: str | None = "polygon", label: str = "kite", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, "mask": None} | more


def png(pixels: np.ndarray, form: str = "PNG") -> str:
    """Return an image in base64, as labelme stores masks."""
    content = BytesIO()
    Image.fromarray(pixels).save(content, form)
    return base64.b64encode(content.getvalue()).decode()


def masked(pixels: np.ndarray, x: float, y: float, **more: Any) -> dict[str, Any]:
    """Return a mask with its upper left pixel at x, y; the second corner is the last pixel, as in labelme."""
    h, w = pixels.shape[:2]
    return shape([[x, y], [x + w - 1, y + h - 1]], "mask", mask=png(pixels), **more)


def document(*shapes: Any, image: Any = "a.png", **more: Any) -> dict[str, Any]:
    whole = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": None}
    return whole | {"imageHeight": 40, "imageWidth": 60} | more


def write(path: Path, *shapes: Any, **more: Any) -> None:
    """Write a file that describes ``image``, by default the image of the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(*shapes, **{"image": f"{path.stem}.png"} | more)), encoding="utf-8")


def read(images: Path, *shapes: Any, annotations: Path | None = None, classes: list[str] | None = None, **more: Any):
    """Write a.json for a.png and return the classes and the records."""
    if shapes or more:
        write(images / "a.json", *shapes, **more)
    return read_split("labelme", images, annotations or images, classes)
