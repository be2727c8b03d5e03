"""Selection of boxes."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import batched_nms

from detect.models.prediction.selection import best_boxes


def boxes_around(centers: int, count: int) -> torch.Tensor:
    """Return ``count`` boxes, float32 [count, 4], around a number of centers."""
    places = 400 * torch.rand(centers, 2)[torch.arange(count) % centers] + 8 * torch.randn(count, 2)
    return torch.cat([places, places + 40 + 20 * torch.rand(count, 2)], dim=1)


@pytest.mark.parametrize("centers", [1, 20, 3000])
@pytest.mark.parametrize("limit", [1, 100, 1000, 9000])
def test_the_best_boxes_are_those_that_nms_of_all_boxes_keeps(centers, limit):
    torch.manual_seed(centers)
    boxes, scores, groups = boxes_around(centers, 3000), torch.rand(3000), torch.randint(4, (3000,))
    expected = batched_nms(boxes, scores, groups, 0.7)[:limit]
    found = best_boxes(boxes, scores, torch.zeros_like(groups), 1, groups, 4, 0.7, limit)
    assert torch.equal(found, expected)


def test_each_image_of_a_batch_has_a_limit_of_its_own():
    torch.manual_seed(0)
    boxes, scores = boxes_around(3000, 3000), torch.rand(3000)
    images, groups = (torch.arange(3000) >= 1500).long(), torch.zeros(3000, dtype=torch.int64)
    found = best_boxes(boxes, scores, images, 2, groups, 1, 0.7, 50)
    for image in (0, 1):
        own = (images == image).nonzero()[:, 0]
        assert torch.equal(
            found[50 * image : 50 * image + 50], own[batched_nms(boxes[own], scores[own], groups[own], 0.7)[:50]]
        )
