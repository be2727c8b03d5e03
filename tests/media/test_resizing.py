"""Resizing equals torch's bilinear interpolation without smoothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from detect.media.resizing import resize_bilinear


@pytest.mark.parametrize("image_hw", [(480, 640), (37, 211), (1300, 900), (1, 9), (5, 1)])
@pytest.mark.parametrize("hw", [(480, 640), (100, 77), (1, 300), (999, 3), (64, 64)])
def test_resized_image_equals_torchs(image_hw, hw):
    image = np.random.default_rng(0).integers(0, 256, (*image_hw, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = F.interpolate(pixels, size=hw, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    found = resize_bilinear(image, hw)
    assert found.dtype == np.float32 and found.shape == (*hw, 3)
    np.testing.assert_allclose(found, expected, atol=0.03)
