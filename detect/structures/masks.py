"""Instance masks: conversion between polygons, COCO's run-length encoding (RLE) and bitmaps.

An RLE is a dict ``{"size": [H, W], "counts": bytes}`` in COCO's compressed form
(https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h): a few hundred bytes instead of H x W.
Polygons are lists of ``[x0, y0, x1, y1, ...]`` in absolute pixels, as in COCO's annotation files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

Rle = dict[str, Any]
Polygons = Sequence[Sequence[float] | np.ndarray]

MAX_POLYGON_REACH = 10
"""Maximum coordinate of a polygon, in long sides of its image. Filling a polygon that reaches much further outside
would take all memory."""


def check(segmentation: Any, image_hw: tuple[int, int]) -> None:
    """Raise ValueError if ``from_coco`` cannot convert ``segmentation`` for an image of ``image_hw``.

    This takes microseconds, because nothing is filled. pycocotools itself accepts invalid input: its ``iou`` never
    returns for a truncated RLE, and a polygon that reaches far outside the image takes all memory.
    """
    height, width = image_hw
    if isinstance(segmentation, list):
        _check_polygons(segmentation, image_hw)
        return
    size, counts = _size_and_counts(segmentation)
    if not isinstance(size, list | tuple) or tuple(size) != tuple(image_hw):
        raise ValueError(f"the RLE is for an image of {size}, the image is {list(image_hw)} (h, w)")
    runs = _numbers(counts, "RLE") if isinstance(counts, list) else _runs(counts)
    if np.any(runs < 0) or np.any(runs % 1) or runs.sum() != height * width:
        raise ValueError(f"the RLE counts {runs.sum()} pixels, the image has {height * width}")


def is_valid_polygon(polygon: Sequence[float] | np.ndarray, image_hw: tuple[int, int]) -> bool:
    """Return whether ``from_polygons`` accepts ``polygon``."""
    try:
        _check_polygons([polygon], image_hw)
    except ValueError:
        return False
    return True


def from_polygons(polygons: Sequence[Sequence[float]], image_hw: tuple[int, int]) -> Rle:
    """Return the RLE of the union of ``polygons`` (absolute pixels) on an image of ``image_hw``.

    Raises ValueError for an empty list, a polygon of fewer than 3 points, and one that reaches far outside the image.
    """
    _check_polygons(polygons, image_hw)
    height, width = image_hw
    # pycocotools would read a list of 4 numbers as a box; every valid polygon has at least 6.
    return coco_mask.merge(coco_mask.frPyObjects([list(map(float, p)) for p in polygons], height, width))


def from_coco(segmentation: Any, image_hw: tuple[int, int]) -> Rle:
    """Return the RLE of any ``segmentation`` of COCO's format: polygons, uncompressed RLE or compressed RLE.

    Raises ValueError for anything else and for an RLE of another image size.
    """
    check(segmentation, image_hw)
    if isinstance(segmentation, list):
        return from_polygons(segmentation, image_hw)
    return _compressed(list(image_hw), segmentation["counts"])


def from_rle(segmentation: Any) -> Rle:
    """Return an RLE, compressed or not, in compressed form, for the image size that it states.

    Raises ValueError if it is not a valid RLE. Whether it covers the whole image is not checked.
    """
    size, counts = _size_and_counts(segmentation)
    if not (isinstance(size, list) and len(size) == 2 and all(type(n) is int and 0 < n < 2**31 for n in size)):
        raise ValueError(f"the size of the RLE is {str(size)[:60]}; expected two whole numbers")
    if isinstance(counts, list):
        runs = _numbers(counts, "RLE")
        if np.any(runs < 0) or np.any(runs % 1) or runs.sum() >= 2**32:
            raise ValueError("the counts of the RLE must all be whole numbers of at least 0")
        return _compressed(size, [int(n) for n in runs])
    _runs(counts)
    return _compressed(size, counts)


def from_bitmap(bitmap: np.ndarray) -> Rle:
    """Return the RLE of a boolean or 0/1 ``bitmap`` [H, W]."""
    return coco_mask.encode(np.asfortranarray(bitmap, dtype=np.uint8))


def from_crop(crop: np.ndarray, corner_xy: tuple[int, int], image_hw: tuple[int, int]) -> Rle:
    """Return the RLE of a boolean ``crop`` [h, w] that lies inside an image of ``image_hw``.

    corner_xy: position of the crop's upper left pixel in the image.

    An RLE lists pixels column by column, so the cost grows with the columns of the crop and not with the image.
    """
    height, width = image_hw
    x, y = corner_xy
    h, w = crop.shape
    strip = np.zeros((height, w), dtype=np.uint8, order="F")
    strip[y : y + h] = crop
    background = np.zeros(1, np.uint8)
    flat = np.concatenate([background, strip.ravel(order="F"), background])
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + x * height
    end = [height * width] if not len(edges) or edges[-1] < height * width else []
    runs = np.diff(np.concatenate([[0], edges, end]))  # the first run is one of zeros, as in every RLE
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)


def to_bitmap(rle: Rle) -> np.ndarray:
    """Return the mask as uint8 0/1 [H, W]."""
    return coco_mask.decode(rle)


def to_crop(rle: Rle) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the part of the mask in its bounding box, uint8 0/1 [h, w], and the (x, y) of its upper left pixel.

    An RLE lists pixels column by column, so the cost grows with the columns of the box and not with the image.
    """
    height = rle["size"][0]
    left, top, right, bottom = box(rle).astype(int).tolist()
    size = (right - left) * height
    edges = np.clip(np.cumsum(_runs(rle["counts"])) - left * height, 0, size)  # ends of the runs inside of the box
    values = np.arange(len(edges), dtype=np.uint8) & 1  # the first run is one of zeros
    columns = np.repeat(values, np.diff(edges, prepend=0)).reshape(right - left, height)
    return np.ascontiguousarray(columns[:, top:bottom].T), (left, top)


def to_json(mask: Polygons | Rle) -> Any:
    """Return a mask in a form that JSON can hold: polygons as lists of numbers, an RLE with its counts as text."""
    if not isinstance(mask, dict):
        return [np.asarray(polygon).tolist() for polygon in mask]
    size, counts = [int(n) for n in mask["size"]], mask["counts"]
    return {"size": size, "counts": counts.decode() if isinstance(counts, bytes) else counts}


def area(rle: Rle) -> int:
    """Return the number of pixels in the mask."""
    return int(coco_mask.area(rle))


def box(rle: Rle) -> np.ndarray:
    """Return the bounding box as float32 [4], xyxy in pixels, right and lower edge exclusive; zeros if it is empty."""
    x, y, w, h = coco_mask.toBbox(rle)
    return np.array([x, y, x + w, y + h], dtype=np.float32)


def iou(detected: Sequence[Rle], ground_truth: Sequence[Rle]) -> np.ndarray:
    """Return the intersection over union of every pair, float64 [len(detected), len(ground_truth)], 0..1."""
    if not detected or not ground_truth:
        return np.zeros((len(detected), len(ground_truth)))
    return np.asarray(coco_mask.iou(list(detected), list(ground_truth), [False] * len(ground_truth)))


def _check_polygons(polygons: Polygons, image_hw: tuple[int, int]) -> None:
    if not polygons:
        raise ValueError("a mask needs at least one polygon")
    for polygon in polygons:
        numbers = _numbers(polygon, "polygon")
        if len(numbers) < 6 or len(numbers) % 2:
            raise ValueError(f"a polygon needs at least 3 points (x, y pairs), this has {len(numbers)} numbers")
        # Written as "not at most" because every comparison with NaN is false.
        if not np.abs(numbers).max() <= MAX_POLYGON_REACH * max(image_hw):
            raise ValueError(
                f"a polygon reaches {np.abs(numbers).max():g} pixels, far outside an image of {image_hw} (h, w)"
            )


def _size_and_counts(segmentation: Any) -> tuple[Any, Any]:
    if not (isinstance(segmentation, dict) and "size" in segmentation and "counts" in segmentation):
        raise ValueError("a segmentation must be a list of polygons or a dict with 'size' and 'counts'")
    return segmentation["size"], segmentation["counts"]


def _compressed(size: list[int], counts: Any) -> Rle:
    if isinstance(counts, list):
        return coco_mask.frPyObjects({"size": size, "counts": counts}, *size)
    return {"size": size, "counts": counts.encode() if isinstance(counts, str) else counts}


def _numbers(values: Any, what: str) -> np.ndarray:
    """Return a flat list of numbers as an array. Raises ValueError for anything else."""
    with contextlib.suppress(ValueError):  # lists of different lengths
        numbers = np.array(values)
        if numbers.ndim == 1 and numbers.dtype.kind in "iuf":
            return numbers
    raise ValueError(f"a {what} must be a flat list of numbers, not {str(values)[:60]}")


def _runs(counts: Any) -> np.ndarray:
    """Return the run lengths of a compressed RLE, int64.

    Each character holds 5 bits of a number, low bits first, and a bit that says whether the number continues. From the
    fourth on, a number is the difference to the run two before (rleFrString in the file linked above).
    """
    text = counts.encode() if isinstance(counts, str) else counts
    bits = np.frombuffer(text if isinstance(text, bytes) else b"", np.uint8).astype(np.int64) - 48
    last = (bits & 32) == 0  # the last character of its number
    if not len(bits) or bits.min() < 0 or bits.max() > 63 or not last[-1]:
        raise ValueError("the counts of the RLE are neither a list nor COCO's compressed text")
    start = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    shift = 5 * (np.arange(len(bits)) - np.repeat(start, np.diff([*start, len(bits)])))
    negative = (bits[last] & 16) > 0
    runs = np.add.reduceat((bits & 31) << shift, start) - (negative << (shift[last] + 5))
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
