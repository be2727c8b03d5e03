"""Prediction with RetinaNet, FCOS and SSD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from detect.models.builder import Detector
from detect.models.prediction.input_images import Anchors, normalized
from detect.models.prediction.networks import Network, precise
from detect.models.prediction.raw_detections import Limits, RawDetections
from detect.models.prediction.selection import best_boxes, best_of_each, clipped
from detect.models.torchvision_internals import SSD, BoxLinearCoder


class OneStagePrediction:
    """The prediction of a one-stage detector: its network, and the selection of its boxes.

    The results are those of torchvision's RetinaNet, FCOS and SSD up to rounding.

    model: settings of all steps; its weights are not used.
    networks: ``{"dense": function}``, see ``detect.models.prediction.networks.OneStageNetwork``.
    """

    def __init__(self, model: Detector, networks: Mapping[str, Network]) -> None:
        self.model, self.networks = model, networks
        self._anchors = Anchors(model.anchor_generator)

    def __call__(self, images: Tensor, limits: Limits) -> RawDetections:
        """Detect objects in a batch of resized images, float32 [N, 3, h, w], RGB in 0..1."""
        model: Any = self.model
        num_images = images.shape[0]
        inputs = normalized(images, model.transform)
        logits, codes, *rest = self.networks["dense"](inputs)
        centerness = rest.pop(0) if rest[0].dim() == 3 else None
        anchors = self._anchors(inputs, rest)
        scores = _scores(model, precise(logits), centerness)
        first_row = 1 if isinstance(model, SSD) else 0  # torchvision's SSD alone drops the background
        chosen = (scores[..., first_row:] >= limits.threshold).nonzero()
        owners, places, rows = chosen[:, 0], chosen[:, 1], chosen[:, 2] + first_row
        best = scores[owners, places, rows]
        candidates = self._candidates(rest, owners, places, rows, best, scores.shape[-1], num_images)
        owners, places, rows, best = owners[candidates], places[candidates], rows[candidates], best[candidates]
        boxes = clipped(_decode(model.box_coder, precise(codes[owners, places]), anchors[places]), images)
        groups = torch.zeros_like(rows) if limits.class_agnostic else rows
        iou = model.nms_thresh if limits.nms_iou is None else limits.nms_iou
        order = best_boxes(boxes, best, owners, num_images, groups, scores.shape[-1], iou, limits.max_detections)
        return RawDetections(owners[order], boxes[order], best[order], rows[order])

    def _candidates(
        self,
        maps: Sequence[Tensor],
        owners: Tensor,
        places: Tensor,
        rows: Tensor,
        scores: Tensor,
        num_rows: int,
        num_images: int,
    ) -> Tensor:
        """Return the indices of the best scores of each image and level, or of each image and class for SSD."""
        model: Any = self.model
        if isinstance(model, SSD):
            groups, count = rows, num_rows
        else:
            per_location = model.anchor_generator.num_anchors_per_location()
            # As tensors, since numbers would be constants of a traced graph.
            shapes = [torch._shape_as_tensor(one).to(places.device) for one in maps]
            sizes = [shape[2] * shape[3] * n for shape, n in zip(shapes, per_location, strict=True)]
            groups, count = (places[:, None] >= torch.stack(sizes).cumsum(dim=0)).sum(dim=1), len(sizes)
        return best_of_each(scores, owners * count + groups, num_images * count, model.topk_candidates)


def _scores(model: Detector, logits: Tensor, centerness: Tensor | None) -> Tensor:
    """Return the scores of all anchors, float32 [N, anchors, classes], 0..1."""
    if isinstance(model, SSD):
        return logits.softmax(dim=-1)
    if centerness is None:
        return logits.sigmoid()
    return (logits.sigmoid() * precise(centerness).sigmoid()).sqrt()


def _decode(coder: Any, codes: Tensor, anchors: Tensor) -> Tensor:
    """Return the boxes of FCOS, or of coders of shifts and scales, float32 [n, 4]."""
    if isinstance(coder, BoxLinearCoder):
        return coder.decode(codes, anchors)
    return coder.decode_single(codes, anchors).view(-1, 4)
