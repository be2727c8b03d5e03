"""Merges the detections in the tiles of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from detect.inference.tiling import Tile
from detect.models.prediction.raw_detections import RawDetections

_BORDER = 0.01  # of the side of a tile: a box that ends so close to the border of its tile may be cut off there
_SPANNING = 0.04  # the same for a box that spans the tile
_COVERED = 0.7  # fraction of a cut-off box that a larger box must cover
_MIN_SCORE = 0.5  # of the score of a cut-off box, for a box that covers it: a box with a low score is often wrong


def merge(
    found: Sequence[RawDetections], tiles: Sequence[Tile], image_hw: tuple[int, int], iou: float, class_agnostic: bool
) -> RawDetections:
    """Return the detections in an image from those in its tiles, each object once, by descending score.

    found: detections in each tile, in pixels of the image.
    tiles: the parts of the image, of which one may be the whole image.
    iou, class_agnostic: of the NMS; see ``Limits``.

    First, two kinds of boxes that end at a border of their tile inside the image are dropped as parts of objects: a
    box that spans its tile from border to border, since only the whole image shows such an object; and a box of which
    a larger one of the same class and another tile, with at least half the score, covers at least 70 %. NMS alone
    would keep them: the IoU of a part and the whole object is small, and the score of a part can be higher. The larger
    box gets the higher score of both, so that no threshold drops the whole object after its part. Then NMS is applied
    to all boxes.
    """
    every = _concatenated(found)
    origins = torch.repeat_interleave(torch.arange(len(found)), torch.tensor([len(one.scores) for one in found]))
    cuts = [_cuts(one.boxes, tile, image_hw) for one, tile in zip(found, tiles, strict=True)]
    is_cut, is_spanning = (torch.cat(column) for column in zip(*cuts, strict=True))
    every, origins, is_cut = every.select(~is_spanning), origins[~is_spanning], is_cut[~is_spanning]
    groups = torch.zeros_like(every.rows) if class_agnostic else every.rows
    is_part, scores = _find_parts(every.boxes, every.scores, is_cut, origins, groups)
    every, groups = replace(every, scores=scores).select(~is_part), groups[~is_part]
    return every.select(batched_nms(every.boxes, every.scores, groups, iou))


def _cuts(boxes: Tensor, tile: Tile, image_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return which boxes end at a border of their tile inside the image, and which of these also end at the
    opposite border; both bool [D]."""
    borders = torch.tensor(tile)
    distances = (boxes - borders).abs() / max(tile.hw)
    is_inside = borders != torch.tensor(Tile.whole(image_hw))
    is_cut = (distances <= _BORDER) & is_inside  # [D, 4]: left, top, right, bottom
    is_near = distances <= _SPANNING
    is_spanning = (is_near[:, :2] & is_near[:, 2:]) & (is_cut[:, :2] | is_cut[:, 2:])
    return is_cut.any(dim=1), is_spanning.any(dim=1)


def _find_parts(
    boxes: Tensor, scores: Tensor, is_cut: Tensor, origins: Tensor, groups: Tensor
) -> tuple[Tensor, Tensor]:
    """Return which cut-off boxes a larger box of another tile and of the same group covers, bool [D], and the scores
    of all boxes, where each of these larger boxes has at least the score of its parts, float32 [D]."""
    scores, is_part = scores.clone(), torch.zeros_like(is_cut)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    parts = is_cut.nonzero()[:, 0]
    # One at a time, since a matrix of all pairs can have gigabytes; small ones first, since a part may have parts.
    for part in parts[areas[parts].argsort()].tolist():
        low = torch.maximum(boxes[part, :2], boxes[:, :2])
        high = torch.minimum(boxes[part, 2:], boxes[:, 2:])
        common = (high - low).clamp(min=0).prod(dim=1)  # area of the part inside of each box, [D]
        covers = (common >= _COVERED * areas[part]) & (areas > areas[part]) & (scores >= _MIN_SCORE * scores[part])
        covers &= (origins != origins[part]) & (groups == groups[part])
        if covers.any():
            is_part[part] = True
            whole = torch.where(covers, scores, -1).argmax()
            scores[whole] = torch.maximum(scores[whole], scores[part])
    return is_part, scores


def _concatenated(found: Sequence[RawDetections]) -> RawDetections:
    columns = {field.name: [getattr(one, field.name) for one in found] for field in fields(RawDetections)}
    joined = {name: None if column[0] is None else torch.cat(column) for name, column in columns.items()}
    return RawDetections(**joined)  # type: ignore[arg-type]
