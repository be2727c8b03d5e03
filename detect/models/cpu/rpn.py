"""A region proposal network (RPN) that computes gradients only for the anchors that its loss samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detect.models.cpu.roi_align import as_rows, row_starts
from detect.models.torchvision_internals import ImageList, RegionProposalNetwork, RPNHead, concat_box_prediction_layers


class SampledRPN(RegionProposalNetwork):
    """torchvision's RegionProposalNetwork with equal losses and gradients up to rounding.

    The loss samples 256 of about a hundred thousand anchors per image, so nearly all of the gradient that torchvision
    propagates through the head is zero. Here the head runs on whole maps without recording gradients, which is enough
    for proposals, and once more, with gradients, on the 3x3 pixels around each sampled anchor. On other devices, at
    inference and for RPN heads with two convolutions (V2 models) torchvision's code runs.
    """

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        maps = list(features.values())
        if not self.training or not _has_one_conv(self.head) or maps[0].device.type != "cpu":
            return super().forward(images, features, targets)
        if targets is None:
            raise ValueError("targets are required in training mode")
        with torch.no_grad():
            objectness, deltas = self.head(maps)
            anchors = self.anchor_generator(images, maps)
            per_level = [one[0].numel() for one in objectness]
            per_location = objectness[0].shape[1]
            objectness, deltas = concat_box_prediction_layers(objectness, deltas)
            boxes = self.box_coder.decode(deltas, anchors).view(len(anchors), -1, 4)
            proposals, _ = self.filter_proposals(boxes, objectness, images.image_sizes, per_level)
            labels, matched = self.assign_targets_to_anchors(anchors, targets)
            positive, negative = (torch.cat(chosen).nonzero()[:, 0] for chosen in self.fg_bg_sampler(labels))
            sampled = torch.cat([positive, negative])
            box_targets = self.box_coder.encode_single(torch.cat(matched)[positive], torch.cat(anchors)[positive])
            score_targets = torch.cat(labels)[sampled]

        scores, offsets = self._predict(maps, sampled, per_location)
        box_loss = F.smooth_l1_loss(offsets[: len(positive)], box_targets, beta=1 / 9, reduction="sum") / len(sampled)
        score_loss = F.binary_cross_entropy_with_logits(scores, score_targets)
        return proposals, {"loss_objectness": score_loss, "loss_rpn_box_reg": box_loss}

    def _predict(self, maps: list[Tensor], anchors: Tensor, per_location: int) -> tuple[Tensor, Tensor]:
        """Return the head's scores float32 [n] and box deltas float32 [n, 4] of some anchors.

        anchors: int64 [n], indices in torchvision's order: by image, then by map, then row by row.
        per_location: number of anchors at each location of a map.
        """
        locations, kinds = anchors // per_location, anchors % per_location
        neighbors, inside = _neighbors(maps, locations)
        (conv, *_), *_ = self.head.conv
        rows = F.embedding(neighbors, as_rows(maps)) * inside[..., None]  # [n, 9, C]
        weight = conv.weight.flatten(2).transpose(1, 2).flatten(1)  # [C out, 9 * C in]
        hidden = F.relu(F.linear(rows.flatten(1), weight, conv.bias))
        score_layer, box_layer = self.head.cls_logits, self.head.bbox_pred
        scores = F.linear(hidden, score_layer.weight.flatten(1), score_layer.bias).float()
        deltas = F.linear(hidden, box_layer.weight.flatten(1), box_layer.bias).float().view(-1, per_location, 4)
        each = torch.arange(len(anchors))
        return scores[each, kinds], deltas[each, kinds]


def _neighbors(maps: list[Tensor], locations: Tensor) -> tuple[Tensor, Tensor]:
    """Return the 3x3 neighborhoods of ``locations`` as rows of ``as_rows(maps)``.

    locations: int64 [n], indices by image, then by map, then row by row.
    Returns row indices int64 [n, 9], and bool [n, 9] that is False outside the map, where a convolution sees zeros.
    """
    sizes = torch.tensor([one.shape[-2:] for one in maps])
    areas = sizes.prod(dim=1)
    ends = areas.cumsum(0)
    image, location = locations // ends[-1], locations % ends[-1]
    level = torch.searchsorted(ends, location, right=True)
    height, width = (side[:, None] for side in sizes[level].unbind(1))
    location = location - (ends - areas)[level]
    offset = torch.arange(-1, 2)
    y = location[:, None] // width + offset.repeat_interleave(3)
    x = location[:, None] % width + offset.repeat(3)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    first = (row_starts(maps)[level] + image * areas[level])[:, None]
    return torch.where(inside, first + y * width + x, 0), inside


def _has_one_conv(head: nn.Module) -> bool:
    return isinstance(head, RPNHead) and len(head.conv) == 1
