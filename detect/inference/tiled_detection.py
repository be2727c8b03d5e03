"""Runs a model on images and their tiles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from detect.inference.resizing import resized
from detect.inference.runtimes.base import Runtime
from detect.inference.tile_merging import merge
from detect.inference.tiling import Tile
from detect.models.prediction.raw_detections import Limits, RawDetections

_BATCH_SIZE, _GPU_BATCH_SIZE = 4, 16  # tiles in a forward pass


@dataclass(frozen=True)
class ImageDetections:
    """Detections in an image of ``image_hw`` (height, width), in its pixels.

    limit_reached: whether the model stopped at its maximum number of detections, in the image or in one of its tiles.
    """

    found: RawDetections
    image_hw: tuple[int, int]
    limit_reached: bool


def detect_in_tiles(
    runtime: Runtime, images: Sequence[np.ndarray], tiles: Sequence[Sequence[Tile]], limits: Limits
) -> list[ImageDetections]:
    """Detect objects in the given tiles of each image, and return one result per image.

    images: uint8 RGB arrays [H, W, 3].
    tiles: the parts of each image to process, one of which may be the whole image.
    limits: apply to each part; NMS also to all parts of an image together.

    Only tiles of equal resized size share a forward pass, because padding would change their features.
    """
    parts = [(image, tile) for image, own in zip(images, tiles, strict=True) for tile in own]
    batch_size = max(len(images), _BATCH_SIZE if runtime.device.type == "cpu" else _GPU_BATCH_SIZE)
    each = iter(_detect_in_parts(runtime, parts, batch_size, limits))
    iou = runtime.nms_iou if limits.nms_iou is None else limits.nms_iou
    results = []
    for image, own in zip(images, tiles, strict=True):
        found = list(islice(each, len(own)))
        limit_reached = any(len(one.scores) >= limits.max_detections for one in found)
        hw = image.shape[:2]
        merged = found[0] if len(own) == 1 else merge(found, own, hw, iou, limits.class_agnostic)
        results.append(ImageDetections(merged, hw, limit_reached))
    return results


def _detect_in_parts(
    runtime: Runtime, parts: Sequence[tuple[np.ndarray, Tile]], batch_size: int, limits: Limits
) -> list[RawDetections]:
    """Return the detections in each tile of an image, in pixels of the image."""
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, (_, tile) in enumerate(parts):
        by_size[runtime.input_size.resized_hw(tile.hw)].append(number)
    found: dict[int, RawDetections] = {}
    for size, members in by_size.items():
        for first in range(0, len(members), batch_size):
            batch = members[first : first + batch_size]
            crops = [tile.crop(image) for image, tile in (parts[number] for number in batch)]
            raw = runtime.detect(torch.stack([resized(crop, size, runtime.device) for crop in crops]), limits)
            for position, number in enumerate(batch):
                found[number] = _in_image_pixels(raw.of_image(position), size, parts[number][1])
    return [found[number] for number in range(len(parts))]


def _in_image_pixels(found: RawDetections, size: tuple[int, int], tile: Tile) -> RawDetections:
    """Return the detections in a tile, which was resized to ``size`` (height, width), in pixels of the image."""
    (height, width), origin = tile.hw, torch.tensor([tile.left, tile.top])
    scale = torch.tensor([width, height]) / torch.tensor([size[1], size[0]])  # of x and y
    keypoints = None
    if found.keypoints is not None:
        keypoints = found.keypoints * torch.tensor([*scale, 1.0]) + torch.tensor([*origin, 0])
    return replace(found, boxes=found.boxes * scale.repeat(2) + origin.repeat(2), keypoints=keypoints)
