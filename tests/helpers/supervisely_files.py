"""Contents of Supervisely's files for tests."""

from __future__ import annotations

import base64
import json
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers.reading import read_split

BOX = [10, 5, 30, 20]
CORNERS = [[10.5, 5], [30, 5], [30, 20], [10.5, 20]]


def shape(exterior: Any = ((10, 5), (29, 19)), kind: str = "rectangle", *holes: Any, label: Any = "kite", **more: Any):
    points = {"exterior": exterior, "interior": list(holes)}
    return {"classTitle": label, "geometryType": kind, "points": points, "tags": [], "nnCreated": False} | more


def bitmap(mask: np.ndarray, x: Any, y: Any, form: str = "palette", packed: bool = True) -> dict[str, Any]:
    """Return a bitmap; Supervisely writes a palette whose first color is transparent, older versions RGBA."""
    content = BytesIO()
    image = Image.fromarray(mask.astype(np.uint8))
    if form == "palette":
        image.putpalette([0, 0, 0, 255, 255, 255])
        image.save(content, "PNG", transparency=0)
    elif form == "rgba":
        pixels = np.zeros((*mask.shape, 4), np.uint8)
        pixels[mask] = (255, 255, 255, 128)
        Image.fromarray(pixels).save(content, "PNG")
    else:
        image.save(content, form)
    data = zlib.compress(content.getvalue()) if packed else content.getvalue()
    entry = shape((), "bitmap") | {"bitmap": {"data": base64.b64encode(data).decode(), "origin": [x, y]}}
    return entry


def document(*objects: Any, **more: Any) -> dict[str, Any]:
    return {"description": "", "tags": [], "size": {"height": 40, "width": 60}, "objects": list(objects)} | more


def write(path: Path, *objects: Any, **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(*objects, **more)))


def read(images, *objects: Any, **more: Any):
    write(images.parent / "ann" / "a.png.json", *objects, **more)
    return read_split("supervisely", images, images.parent / "ann")
