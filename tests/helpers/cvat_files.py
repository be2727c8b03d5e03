"""Contents of CVAT files for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from helpers.reading import read_split

LABELS = (("kite", "any"), ("bird", "polygon"), ("wing", "points"), ("scene", "tag"), ("body", "skeleton"))
BOX = 'xtl="10.00" ytl="5.00" xbr="30.00" ybr="20.00"'
CORNERS = "10.00,5.00;30.00,5.00;30.00,20.00;10.00,20.00"


def shape(tag: str = "box", attributes: str = BOX, label: str = "kite", more: str = "", inside: str = "") -> str:
    return f'<{tag} label="{label}" occluded="0" source="manual" {attributes} z_order="0" {more}>{inside}</{tag}>'


def polygon(points: str = CORNERS, **more: str) -> str:
    return shape("polygon", f'points="{points}"', **more)


def mask(crop: np.ndarray, x: int, y: int, **more: str) -> str:
    """Return a brush mask of the pixels ``crop``, bool [h, w], whose upper left pixel is at x, y."""
    h, w = crop.shape
    runs, last = [0], False
    for pixel in crop.ravel().tolist():
        if pixel == last:
            runs[-1] += 1
        else:
            runs.append(1)
            last = pixel
    return shape("mask", f'rle="{", ".join(map(str, runs))}" left="{x}" top="{y}" width="{w}" height="{h}"', **more)


def image(*shapes: str, name: str = "a.png", size: str = 'width="60" height="40"', more: str = "") -> str:
    return f'<image id="0" name="{name}" {more} {size}>{"".join(shapes)}</image>'


def document(*content: str, labels: Iterable[tuple[str, str]] = LABELS, task: str = "") -> str:
    listed = "".join(f"<label><name>{n}</name><color>#fff</color><type>{t}</type></label>" for n, t in labels)
    meta = f"<meta><task><id>1</id>{task}<labels>{listed}</labels></task><dumped>2024</dumped></meta>"
    body = f"<version>1.1</version>{meta}{''.join(content)}"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{body}</annotations>'


def read(images: Path, *content: str, **more):
    """Write a CVAT file beside the folder ``images`` and return the classes and the records."""
    path = images.parent / "annotations.xml"
    path.write_text(document(*content, **more), encoding="utf-8")
    return read_split("cvat", images, path)
