"""Masks are pasted onto their image as torchvision pastes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from detect.inference.mask_pasting import paste_mask
from detect.structures import masks


@pytest.mark.parametrize("seed", range(3))
def test_pasted_mask_equals_torchvisions_thresholded(seed):
    rng = np.random.default_rng(seed)
    height, width = 60, 83
    corners = rng.uniform((0, 0), (width, height), (30, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    boxes[:6] = [
        [0, 0, width, height], [0, 10, 20, height], [width - 9.5, 0, width, 8],
        [5.2, height - 3.1, 40, height], [0, 0, 0.4, 0.4], [width - 0.3, height - 0.3, width, height],
    ]  # fmt: skip
    boxes = torch.tensor(boxes, dtype=torch.float32)
    probabilities = torch.from_numpy(rng.random((len(boxes), 1, 28, 28), dtype=np.float32))
    expected = paste_masks_in_image(probabilities, boxes, (height, width)) > 0.5
    for one, box, bitmap in zip(probabilities, boxes, expected, strict=True):
        assert np.array_equal(masks.to_bitmap(paste_mask(one[0], box, (height, width))), bitmap[0].numpy())
