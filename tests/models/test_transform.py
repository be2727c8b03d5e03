"""Resizing inside the model, and outputs in pixels of the original image."""

from __future__ import annotations

import pytest
import torch
from helpers.tiny_models import CLASSES, TINY_ARCHITECTURE, make_image, random_model, target

from detect.models.builder import build
from detect.structures.image_size import resized_hw


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture
def backbone_sizes(model):
    """Record the (height, width) of all inputs of the backbone."""
    seen: list[tuple[int, ...]] = []
    hook = model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    yield seen
    hook.remove()


def test_training_does_not_resize_images(model, backbone_sizes):
    jittered = [(64, 96), (128, 64), (96, 160)]
    for hw in jittered:
        model.train()([torch.rand(3, *hw)], [target(hw, [[5, 5, 40, 45]])])
    assert backbone_sizes == jittered


def test_inference_resizes_and_returns_pixels_of_the_original_image(model, backbone_sizes):
    original = (200, 300)
    with torch.inference_mode():
        (found,) = model.eval()([torch.from_numpy(make_image(original, 1)).permute(2, 0, 1) / 255])
    resized = resized_hw(original, TINY_ARCHITECTURE.min_size, TINY_ARCHITECTURE.max_size)
    assert resized == (64, 96)
    assert backbone_sizes == [tuple(-(-side // 32) * 32 for side in resized)]
    assert 150 < found["boxes"][:, 0::2].max() <= 300 and 100 < found["boxes"][:, 1::2].max() <= 200


def test_model_returns_masks_of_28_pixels(model):
    with torch.inference_mode():
        (found,) = model.eval()([torch.rand(3, 640, 480)])
    assert found["masks"].shape == (len(found["boxes"]), 1, 28, 28)


def test_very_narrow_image_does_not_change_later_detections():
    model = random_model()
    fresh = build(TINY_ARCHITECTURE, 1 + len(CLASSES))
    fresh.load_state_dict(model.state_dict())
    image = torch.from_numpy(make_image((64, 96), 1)).permute(2, 0, 1) / 255
    with torch.inference_mode():
        fresh.eval()([torch.rand(3, 6, 200)])  # resized to 4 pixels, padded to 32
        expected, found = model.eval()([image])[0], fresh([image])[0]
    assert len(expected["boxes"]) and torch.equal(expected["boxes"], found["boxes"])
