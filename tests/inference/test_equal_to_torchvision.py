"""The bundled model detects in photographs what torchvision's own code detects with its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.folders import ROOT
from torchvision.models.detection.transform import GeneralizedRCNNTransform

import detect
from detect.media.images import read_image
from detect.models import checkpoint
from detect.models.architecture import Architecture
from detect.models.builder import assemble
from detect.structures import masks

IMAGES = ("balloons_1.jpg", "balloons_2.jpg", "image_3.jpg")
THRESHOLD = 0.05


@pytest.fixture(scope="module")
def torchvisions():
    saved = checkpoint.load(ROOT / "weights" / "balloon.safetensors")
    architecture = Architecture.from_json(saved.architecture)
    model = assemble(architecture, saved.num_rows)
    model.load_state_dict(saved.state)
    a = architecture
    model.transform = GeneralizedRCNNTransform(a.min_size, a.max_size, list(a.mean), list(a.std))
    model.roi_heads.score_thresh = THRESHOLD
    return model.eval()


@pytest.mark.parametrize("name", IMAGES)
def test_boxes_within_0_01_pixels_and_scores_within_0_0001(torchvisions, name):
    image = read_image(ROOT / "input" / name)
    found = detect.load_model("balloon", device="cpu")(image, threshold=THRESHOLD)
    with torch.inference_mode():
        (expected,) = torchvisions([torch.from_numpy(image).permute(2, 0, 1) / 255])
    assert len(found) == len(expected["scores"]) > 3
    np.testing.assert_allclose(found.scores, expected["scores"], atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected["boxes"], atol=0.01)
    for rle, probabilities in zip(found.masks, expected["masks"], strict=True):
        assert (masks.to_bitmap(rle) != (probabilities[0] > 0.5).numpy()).sum() <= 5
