"""Polygons, run-length codes and bitmaps: the one place that codes and decodes instance masks.

An instance mask is kept as COCO's compressed run-length code, a dict ``{"size": [H, W], "counts": bytes}``
(https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h): a few hundred bytes instead of H x W.
Polygons are lists of ``[x0, y0, x1, y1, ...]`` in absolute pixels, as COCO writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

Rle = dict[str, Any]
Polygons = list[list[float]]


def from_polygons(polygons: Sequence[Sequence[float]], image_hw: tuple[int, int]) -> Rle:
    """Code the union of ``polygons`` (absolute pixels) on an image of ``image_hw``.

    Raises ValueError for a polygon of fewer than 3 points.
    """
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon needs at least 3 points (x, y pairs), this has {len(polygon)} numbers")
    height, width = image_hw
    # pycocotools takes a 4-number list for a box; every polygon here has at least 6.
    return coco_mask.merge(coco_mask.frPyObjects([list(map(float, p)) for p in polygons], height, width))


def from_coco(segmentation: Any, image_hw: tuple[int, int]) -> Rle:
    """Code any ``segmentation`` that COCO's format allows: polygons, uncompressed or compressed RLE.

    Raises ValueError where it is none of the three, or an RLE made for another image size.
    """
    if isinstance(segmentation, list):
        return from_polygons(segmentation, image_hw)
    if not (isinstance(segmentation, dict) and "size" in segmentation and "counts" in segmentation):
        raise ValueError("a segmentation is a list of polygons or a dict with 'size' and 'counts'")
    if tuple(segmentation["size"]) != tuple(image_hw):
        raise ValueError(f"the RLE is for an image of {segmentation['size']}, the image is {list(image_hw)} (h, w)")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        if sum(counts) != image_hw[0] * image_hw[1]:
            raise ValueError(f"the RLE counts {sum(counts)} pixels, the image has {image_hw[0] * image_hw[1]}")
        return coco_mask.frPyObjects({"size": list(image_hw), "counts": counts}, *image_hw)
    return {"size": list(image_hw), "counts": counts.encode() if isinstance(counts, str) else counts}


def from_bitmap(bitmap: np.ndarray) -> Rle:
    """Code a boolean or 0/1 ``bitmap`` [H, W]."""
    return coco_mask.encode(np.asfortranarray(bitmap, dtype=np.uint8))


def from_pasted(crop: np.ndarray, corner_xy: tuple[int, int], image_hw: tuple[int, int]) -> Rle:
    """Code a boolean ``crop`` [h, w] whose upper left pixel lies at ``corner_xy`` inside the image.

    Works column by column as the code does, so that the cost grows with the crop, not with the image.
    """
    height, width = image_hw
    x, y = corner_xy
    h, w = crop.shape
    strip = np.zeros((height, w), dtype=np.uint8, order="F")
    strip[y : y + h] = crop
    flat = np.concatenate([[0], strip.ravel(order="F"), [0]])
    edges = np.flatnonzero(np.diff(flat)) + x * height
    end = [height * width] if not len(edges) or edges[-1] < height * width else []
    runs = np.diff(np.concatenate([[0], edges, end]))  # starts with the run of zeros, as the code wants
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)


def to_bitmap(rle: Rle) -> np.ndarray:
    """Decode to uint8 0/1 [H, W]."""
    return coco_mask.decode(rle)


def to_json(rle: Rle) -> dict[str, Any]:
    """The same code with text counts, which JSON can carry."""
    counts = rle["counts"]
    size = [int(n) for n in rle["size"]]
    return {"size": size, "counts": counts.decode() if isinstance(counts, bytes) else counts}


def area(rle: Rle) -> int:
    """Pixels inside."""
    return int(coco_mask.area(rle))


def box(rle: Rle) -> np.ndarray:
    """The tight box [4], xyxy in pixels (right and lower edges exclusive); zeros for an empty mask."""
    x, y, w, h = coco_mask.toBbox(rle)
    return np.array([x, y, x + w, y + h], dtype=np.float32)


def iou(found: Sequence[Rle], truth: Sequence[Rle]) -> np.ndarray:
    """Intersection over union of every pair, [len(found), len(truth)] in 0..1."""
    if not found or not truth:
        return np.zeros((len(found), len(truth)))
    return np.asarray(coco_mask.iou(list(found), list(truth), [False] * len(truth)))
