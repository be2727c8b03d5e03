"""Polygons, run-length codes and bitmaps: the one place that codes and decodes instance masks.

An instance mask is kept as COCO's compressed run-length code, a dict ``{"size": [H, W], "counts": bytes}``
(https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h): a few hundred bytes instead of H x W.
Polygons are lists of ``[x0, y0, x1, y1, ...]`` in absolute pixels, as COCO writes them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

Rle = dict[str, Any]
Polygons = Sequence[Sequence[float] | np.ndarray]

# A polygon may reach out of its image by so many times the long side; to fill one that reaches farther takes all
# memory.
FARTHEST = 10


def check(segmentation: Any, image_hw: tuple[int, int]) -> None:
    """Raise ValueError where ``segmentation`` is nothing that ``from_coco`` can code on an image of ``image_hw``.

    Costs microseconds, since nothing is filled. pycocotools itself takes what it is given: a code that breaks off
    keeps its ``iou`` busy for ever, a polygon that reaches far out takes all memory.
    """
    height, width = image_hw
    if isinstance(segmentation, list):
        _check_polygons(segmentation, image_hw)
        return
    if not (isinstance(segmentation, dict) and "size" in segmentation and "counts" in segmentation):
        raise ValueError("a segmentation is a list of polygons or a dict with 'size' and 'counts'")
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list | tuple) or tuple(size) != tuple(image_hw):
        raise ValueError(f"the RLE is for an image of {size}, the image is {list(image_hw)} (h, w)")
    runs = _numbers(counts, "RLE") if isinstance(counts, list) else _runs(counts)
    if np.any(runs < 0) or np.any(runs % 1) or runs.sum() != height * width:
        raise ValueError(f"the RLE counts {runs.sum()} pixels, the image has {height * width}")


def is_drawable(polygon: Sequence[float] | np.ndarray, image_hw: tuple[int, int]) -> bool:
    """Whether ``from_polygons`` takes this one."""
    try:
        _check_polygons([polygon], image_hw)
    except ValueError:
        return False
    return True


def from_polygons(polygons: Sequence[Sequence[float]], image_hw: tuple[int, int]) -> Rle:
    """Code the union of ``polygons`` (absolute pixels) on an image of ``image_hw``.

    Raises ValueError for no polygon and for a polygon of fewer than 3 points.
    """
    _check_polygons(polygons, image_hw)
    height, width = image_hw
    # pycocotools takes a 4-number list for a box; every polygon here has at least 6.
    return coco_mask.merge(coco_mask.frPyObjects([list(map(float, p)) for p in polygons], height, width))


def from_coco(segmentation: Any, image_hw: tuple[int, int]) -> Rle:
    """Code any ``segmentation`` that COCO's format allows: polygons, uncompressed or compressed RLE.

    Raises ValueError where it is none of the three, or an RLE made for another image size.
    """
    check(segmentation, image_hw)
    if isinstance(segmentation, list):
        return from_polygons(segmentation, image_hw)
    size, counts = list(image_hw), segmentation["counts"]
    if isinstance(counts, list):
        return coco_mask.frPyObjects({"size": size, "counts": counts}, *image_hw)
    return {"size": size, "counts": counts.encode() if isinstance(counts, str) else counts}


def compressed(segmentation: Any) -> Rle:
    """A run-length code in COCO's compressed form, for whatever size it says; ValueError where it is none."""
    if not (isinstance(segmentation, dict) and "size" in segmentation and "counts" in segmentation):
        raise ValueError("a segmentation is a list of polygons or a dict with 'size' and 'counts'")
    size, counts = segmentation["size"], segmentation["counts"]
    if not (isinstance(size, list) and len(size) == 2 and all(type(n) is int and 0 < n < 2**31 for n in size)):
        raise ValueError(f"the size of the RLE is {str(size)[:60]}, it should be two whole numbers")
    if isinstance(counts, list):
        runs = _numbers(counts, "RLE")
        if np.any(runs < 0) or np.any(runs % 1) or runs.sum() >= 2**32:
            raise ValueError("the counts of the RLE are not all whole numbers from 0")
        return coco_mask.frPyObjects({"size": size, "counts": [int(n) for n in runs]}, *size)
    _runs(counts)
    return {"size": size, "counts": counts.encode()}


def from_bitmap(bitmap: np.ndarray) -> Rle:
    """Code a boolean or 0/1 ``bitmap`` [H, W]."""
    return coco_mask.encode(np.asfortranarray(bitmap, dtype=np.uint8))


def from_pasted(crop: np.ndarray, corner_xy: tuple[int, int], image_hw: tuple[int, int]) -> Rle:
    """Code a boolean ``crop`` [h, w] whose upper left pixel lies at ``corner_xy`` inside the image.

    Works column by column as the code does, so that the cost grows with the columns of the crop, not with the image.
    """
    height, width = image_hw
    x, y = corner_xy
    h, w = crop.shape
    strip = np.zeros((height, w), dtype=np.uint8, order="F")
    strip[y : y + h] = crop
    nothing = np.zeros(1, np.uint8)
    flat = np.concatenate([nothing, strip.ravel(order="F"), nothing])
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + x * height
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


def iou(found: Sequence[Rle], ground_truth: Sequence[Rle]) -> np.ndarray:
    """Intersection over union of every pair, [len(found), len(ground truth)] in 0..1."""
    if not found or not ground_truth:
        return np.zeros((len(found), len(ground_truth)))
    return np.asarray(coco_mask.iou(list(found), list(ground_truth), [False] * len(ground_truth)))


def _check_polygons(polygons: Polygons, image_hw: tuple[int, int]) -> None:
    if not polygons:
        raise ValueError("a mask needs at least one polygon")
    for polygon in polygons:
        numbers = _numbers(polygon, "polygon")
        if len(numbers) < 6 or len(numbers) % 2:
            raise ValueError(f"a polygon needs at least 3 points (x, y pairs), this has {len(numbers)} numbers")
        if not np.abs(numbers).max() <= FARTHEST * max(image_hw):  # not NaN either
            raise ValueError(f"a polygon reaches {np.abs(numbers).max():g}, far out of an image of {image_hw} (h, w)")


def _numbers(values: Any, what: str) -> np.ndarray:
    """A flat list of numbers as an array; ValueError for anything else."""
    with contextlib.suppress(ValueError):  # lists of different lengths
        numbers = np.array(values)
        if numbers.ndim == 1 and numbers.dtype.kind in "iuf":
            return numbers
    raise ValueError(f"a {what} is a flat list of numbers, not {str(values)[:60]}")


def _runs(counts: Any) -> np.ndarray:
    """The runs in a compressed code: 5 bits a character, low ones first, each run from the fourth on as the
    difference to the one before last (rleFrString in the file above)."""
    text = counts.encode() if isinstance(counts, str) else counts
    bits = np.frombuffer(text if isinstance(text, bytes) else b"", np.uint8).astype(np.int64) - 48
    last = (bits & 32) == 0  # the last character of its number
    if not len(bits) or bits.min() < 0 or bits.max() > 63 or not last[-1]:
        raise ValueError("the counts of the RLE are neither a list nor COCO's compressed text")
    start = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    place = 5 * (np.arange(len(bits)) - np.repeat(start, np.diff([*start, len(bits)])))
    negative = (bits[last] & 16) > 0
    runs = np.add.reduceat((bits & 31) << place, start) - (negative << (place[last] + 5))
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
