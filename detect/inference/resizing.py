"""Resizing of images to the input of a model."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from detect.media.resizing import resize_bilinear


def resized(image: np.ndarray, hw: tuple[int, int], device: torch.device) -> Tensor:
    """Return an image as float32 [3, h, w] in 0..1 on ``device``, resized bilinearly as torchvision's detectors do.

    image: uint8 RGB [H, W, 3].  hw: (h, w).
    """
    if device.type == "cpu":
        return torch.from_numpy(resize_bilinear(image, hw)).permute(2, 0, 1).div_(255)
    pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float().div_(255)
    return F.interpolate(pixels, size=hw, mode="bilinear", align_corners=False)[0]
