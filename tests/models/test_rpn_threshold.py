"""The RPN of torchvision's MobileNetV3 detectors drops proposals below a score; so do all runtimes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.exports import BOXES, TARGETS
from helpers.tiny_models import as_checkpoint, make_image, random_model

import detect
from detect.inference.load import predictor_from_checkpoint
from detect.models import checkpoint
from detect.models.architecture import detector_architecture

IMAGE = make_image((64, 96), 0)


def test_proposals_with_low_scores_are_dropped_as_by_torchvision():
    predictor = predictor_from_checkpoint(as_checkpoint(random_model(BOXES), BOXES), threshold=0.0)
    model = predictor.runtime.model
    model.roi_heads.score_thresh, model.roi_heads.detections_per_img = -1.0, 10_000
    counts = []
    for model.rpn.score_thresh in (0.0, 0.6, 1.0):
        (found,) = predictor.predict_batch([IMAGE])
        with torch.inference_mode():
            (expected,) = model([torch.from_numpy(IMAGE).permute(2, 0, 1) / 255])
        assert len(found) == len(expected["scores"])
        np.testing.assert_allclose(found.scores, expected["scores"], atol=1e-4)
        counts.append(len(found))
    assert counts[0] > counts[1] > counts[2] == 0


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
def test_an_export_drops_them_too_even_all_of_them(tmp_path, to):
    architecture = replace(detector_architecture("mobilenet_320", 96), max_detections=30)
    model = random_model(architecture)
    for objectness in (0.5, 0.04):  # torchvision's threshold is 0.05
        torch.nn.init.zeros_(model.rpn.head.cls_logits.weight)
        torch.nn.init.constant_(model.rpn.head.cls_logits.bias, math.log(objectness / (1 - objectness)))
        path = tmp_path / f"{objectness}.safetensors"
        checkpoint.save(as_checkpoint(model, architecture), path)
        exported = detect.export(path, to, output_dir=tmp_path, name=str(objectness)).path
        for one in (detect.load_model(path, device="cpu"), detect.load_model(exported)):
            assert len(one(IMAGE, threshold=0.0)) == (30 if objectness > 0.05 else 0)
