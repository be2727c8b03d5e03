"""What the networks get: images that are normalized and padded to whole strides; and the anchors for their size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from detect.models.torchvision_internals import GeneralizedRCNNTransform, ImageList

_MAX_KEPT = 16  # sizes whose anchors are kept; images of a folder have few


def normalized(images: Tensor, transform: GeneralizedRCNNTransform) -> Tensor:
    """Return images as the networks expect them, float32 [N, 3, H, W], channels-last.

    images: float32 [N, 3, h, w], RGB in 0..1.  transform: the model's, which has mean, standard deviation and stride.
    H and W are h and w rounded up to whole strides; the added pixels are 0.
    """
    mean, std = (
        torch.tensor(v, device=images.device)[:, None, None] for v in (transform.image_mean, transform.image_std)
    )
    stride = transform.size_divisible
    height, width = images.shape[-2:]
    padded = F.pad((images - mean) / std, (0, -width % stride, 0, -height % stride))
    return padded.contiguous(memory_format=torch.channels_last)


class Anchors:
    """The anchors for images of a size. Those of the latest sizes are kept.

    generator: torchvision's AnchorGenerator or DefaultBoxGenerator.
    """

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        self._kept: dict[tuple[Any, ...], Tensor] = {}

    def __call__(self, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Return the anchors of one image, float32 [anchors, 4], xyxy pixels, by level, then row by row.

        images: [N, 3, H, W].  maps: the feature map of each level, [N, C, h, w].
        """
        if torch.jit.is_tracing():
            return self._generate(images, maps)
        key = (images.device, images.shape[-2:], *(one.shape[-2:] for one in maps))
        if (found := self._kept.get(key)) is None:
            while len(self._kept) >= _MAX_KEPT:
                self._kept.pop(next(iter(self._kept)), None)
            found = self._kept[key] = self._generate(images, maps)
        return found

    def _generate(self, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
        # The generator takes over the dtype of the maps, and bfloat16 would round the coordinates.
        first = ImageList(images[:1], [(images.shape[-2], images.shape[-1])])
        (anchors,) = self._generator(first, [one[:1, :1].float() for one in maps])
        return anchors
