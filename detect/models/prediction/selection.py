"""Selection of boxes: clipping, NMS per group, and the best of each image."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

_FEW_BOXES = (
    1000  # up to which torchvision's batched_nms shifts the boxes of each group apart and takes one NMS of all
)


def clipped(boxes: Tensor, images: Tensor) -> Tensor:
    """Return boxes, float32 [..., 4] xyxy, without the parts outside of the images, [N, 3, H, W].

    Unlike torchvision's ``clip_boxes_to_image`` it follows the size of the images in a traced graph.
    """
    if torch.jit.is_tracing():
        sides = torch._shape_as_tensor(images)[[3, 2, 3, 2]].to(boxes)
    else:
        sides = torch.tensor([images.shape[3], images.shape[2]] * 2, dtype=boxes.dtype, device=boxes.device)
    return torch.minimum(boxes.clamp(min=0), sides)


def best_boxes(
    boxes: Tensor,
    scores: Tensor,
    images: Tensor,
    num_images: int,
    groups: Tensor,
    num_groups: int,
    iou: float,
    limit: int,
) -> Tensor:
    """Apply NMS and return the indices of the kept boxes, by image and then by descending score, int64.

    boxes: float32 [N, 4], xyxy.  scores: float32 [N], 0..1.
    images: image of each box, int64 [N], 0..num_images - 1.
    groups: int64 [N], 0..num_groups - 1. Only boxes of the same image and group suppress each other.
    iou: IoU above which the box with the lower score is dropped.
    limit: number of boxes that are kept of each image at most.
    """
    if torch.jit.is_tracing():  # a graph has no loop over images
        kept = batched_nms(boxes, scores, images * num_groups + groups, iou)
        return kept[best_of_each(scores[kept], images[kept], num_images, limit)]
    if num_images == 1:
        return _first_of_nms(boxes, scores, groups, iou, limit)
    each = [(images == image).nonzero()[:, 0] for image in range(num_images)]
    return torch.cat([own[_first_of_nms(boxes[own], scores[own], groups[own], iou, limit)] for own in each])


def _first_of_nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float, limit: int) -> Tensor:
    """Return the ``limit`` best boxes that NMS per group keeps, by descending score.

    The time of NMS grows with the square of the number of boxes. Which boxes it keeps of those with the highest scores
    does not depend on the others, so on a CPU it is applied to twice as many as wanted, and to more if too few remain.
    """
    if boxes.device.type != "cpu" or len(boxes) <= _FEW_BOXES:
        return batched_nms(boxes, scores, groups, iou)[:limit]
    order, size = scores.argsort(descending=True, stable=True), 2 * limit
    while True:
        first = order[:size]
        own = [first[groups[first] == group] for group in groups[first].unique()]
        kept = torch.cat([some[nms(boxes[some], scores[some], iou)] for some in own])
        if len(kept) >= limit or size >= len(order):
            return kept[scores[kept].argsort(descending=True, stable=True)][:limit]
        size *= 2


def best_of_each(scores: Tensor, groups: Tensor, num_groups: int, limit: int) -> Tensor:
    """Return the indices of the ``limit`` highest scores of each group, by group and then by descending score, int64.

    scores: float32 [N], 0..1.  groups: int64 [N], 0..num_groups - 1.
    """
    order = torch.argsort(2 * groups.double() - scores.double())
    if torch.jit.is_tracing():  # ONNX has no bincount
        counts = (groups[:, None] == torch.arange(num_groups, device=groups.device)).sum(dim=0)
    else:
        counts = torch.bincount(groups, minlength=num_groups)
    starts = counts.cumsum(dim=0) - counts
    ordered = groups[order]
    # Not len(order), which would be a constant of a traced graph.
    rank = torch.arange(order.shape[0], device=order.device) - starts[ordered]
    return order[rank < limit]
