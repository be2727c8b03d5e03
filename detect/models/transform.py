"""Resizing, normalizing and batching of images inside the model, and mapping its outputs back to the originals."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from detect.errors import UsageError
from detect.models.architecture import Architecture
from detect.models.torchvision_internals import GeneralizedRCNNTransform, resize_boxes, resize_keypoints
from detect.structures.image_size import InputSize, max_long_side


class DetectorTransform(GeneralizedRCNNTransform):
    """torchvision's GeneralizedRCNNTransform with these differences:

    - In training it does not resize, because the data loader has done so.
    - A very narrow image keeps a side of at least one pixel, where torchvision fails.
    - At inference it also accepts uint8 images in 0..255, and resizes before it normalizes. The result is the same,
      but of several large images only one at a time exists in floating point.
    - Masks stay [N, 1, 28, 28]. torchvision pastes all of them as float at full image size, which takes over 1 GiB for
      100 masks on a 2048x1536 image.
    - The batch is channels-last, as the weights are (see ``detect.models.cpu.optimize``).
    """

    def __init__(self, architecture: Architecture) -> None:
        a = architecture
        fixed: dict[str, Any] = {}
        if a.has_fixed_size:
            fixed = {"fixed_size": (a.min_size, a.min_size), "size_divisible": 1}
        super().__init__(a.min_size, a.max_size, list(a.mean), list(a.std), **fixed)

    @property
    def input_size(self) -> InputSize:
        """The size to which inference resizes images, without padding."""
        return InputSize(self.min_size[-1], self.max_size, self.fixed_size is not None)

    def resized_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) to which inference resizes an image of ``image_hw``, without padding."""
        return self.input_size.resized_hw(image_hw)

    def set_size(self, short: int) -> None:
        """Set the short side in pixels to which inference resizes images.

        Raises UsageError for a model with a fixed input size.
        """
        if self.fixed_size not in (None, (short, short)):
            raise UsageError(
                f"`imgsz={short}`: this model has a fixed input of {self.fixed_size[0]}x{self.fixed_size[1]} pixels; "
                "omit `imgsz`"
            )
        self.min_size, self.max_size = (short,), max_long_side(short)

    def normalize(self, image: Tensor) -> Tensor:
        return super().normalize(image) if self.training else image  # at inference, ``resize`` normalizes

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        return (image if self.training else super().normalize(self.resized(image))), target

    def resized(self, image: Tensor) -> Tensor:
        """Return an image as float32 [3, h, w] in 0..1, resized for inference, not normalized.

        image: uint8 in 0..255 or float32 in 0..1, [3, H, W].
        """
        height, width = image.shape[-2:]
        size = self.resized_hw((height, width))
        if image.dtype == torch.uint8:
            image = image.float().div_(255)
        return interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]

    def batch_images(self, images: list[Tensor], size_divisible: int = 32) -> Tensor:
        return super().batch_images(images, size_divisible).contiguous(memory_format=torch.channels_last)

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        if not self.training:
            for detections, resized, original in zip(result, image_shapes, original_image_sizes, strict=True):
                detections["boxes"] = resize_boxes(detections["boxes"], list(resized), list(original))
                if "keypoints" in detections:
                    detections["keypoints"] = resize_keypoints(detections["keypoints"], list(resized), list(original))
        return result
