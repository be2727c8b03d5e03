"""A region proposal network that learns from the anchors it samples, and from nothing else."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers

from detect.models.cpu.roi_align import as_rows, row_starts


class SampledRPN(RegionProposalNetwork):
    """torchvision's, whose losses and gradients it gives up to rounding.

    The loss looks at 256 anchors of an image's hundred thousand, so nearly all of the gradient that runs back
    through the head over every level is zero. Here the head looks everywhere without recording a gradient, which is
    enough for proposals, and once more with one at the 3x3 pixels around each sampled anchor.
    """

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        maps = list(features.values())
        if not self.training or not _looks_at_3x3(self.head) or maps[0].device.type != "cpu":
            return super().forward(images, features, targets)
        if targets is None:
            raise ValueError("training needs targets")
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
            wanted = self.box_coder.encode_single(torch.cat(matched)[positive], torch.cat(anchors)[positive])
            ground_truth = torch.cat(labels)[sampled]

        scores, offsets = self._look_at(maps, sampled, per_location)
        box_loss = F.smooth_l1_loss(offsets[: len(positive)], wanted, beta=1 / 9, reduction="sum") / len(sampled)
        score_loss = F.binary_cross_entropy_with_logits(scores, ground_truth)
        return proposals, {"loss_objectness": score_loss, "loss_rpn_box_reg": box_loss}

    def _look_at(self, maps: list[Tensor], anchors: Tensor, per_location: int) -> tuple[Tensor, Tensor]:
        """What the head says of some anchors: scores [n] and box deltas [n, 4].

        anchors: int64 [n], numbered as torchvision does: image by image, in it map by map, in that row by row.
        per_location: anchors at one place of a map.
        """
        places, which = anchors // per_location, anchors % per_location
        around, inside = _around(maps, places)
        (conv, *_), *_ = self.head.conv
        rows = F.embedding(around, as_rows(maps)) * inside[..., None]  # [n, 9, C]
        weight = conv.weight.flatten(2).transpose(1, 2).flatten(1)  # [C out, 9 * C in]
        hidden = F.relu(F.linear(rows.flatten(1), weight, conv.bias))
        scorer, mover = self.head.cls_logits, self.head.bbox_pred
        scores = F.linear(hidden, scorer.weight.flatten(1), scorer.bias).float()
        deltas = F.linear(hidden, mover.weight.flatten(1), mover.bias).float().view(-1, per_location, 4)
        each = torch.arange(len(anchors))
        return scores[each, which], deltas[each, which]


def _around(maps: list[Tensor], places: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of ``as_rows(maps)`` at the 3x3 pixels around ``places`` (int64 [n], image by image), [n, 9], and
    which of these lie in their maps; the others are zeros to a convolution."""
    sizes = torch.tensor([one.shape[-2:] for one in maps])
    areas = sizes.prod(dim=1)
    ends = areas.cumsum(0)
    image, place = places // ends[-1], places % ends[-1]
    level = torch.searchsorted(ends, place, right=True)
    height, width = (side[:, None] for side in sizes[level].unbind(1))
    place = place - (ends - areas)[level]
    step = torch.arange(-1, 2)
    y = place[:, None] // width + step.repeat_interleave(3)
    x = place[:, None] % width + step.repeat(3)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    first = (row_starts(maps)[level] + image * areas[level])[:, None]
    return torch.where(inside, first + y * width + x, 0), inside


def _looks_at_3x3(head: nn.Module) -> bool:
    """Whether it is torchvision's with one convolution; those of its V2 models have two."""
    return isinstance(head, RPNHead) and len(head.conv) == 1
