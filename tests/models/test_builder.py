"""Building detectors: image sizes, masks, norms, anchors, and loading every model in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.folders import ROOT
from helpers.tiny_models import CLASSES, TINY_ARCHITECTURE, as_checkpoint, make_image, random_model, target
from torch import nn
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from detect.errors import UsageError
from detect.inference.load import predictor_from_checkpoint
from detect.models import checkpoint
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.builder import build
from detect.models.norms import NORMS
from detect.models.zoo import BACKBONES, DETECTORS, HEADS, TRAINED_DETECTORS, TRAINED_HEADS
from detect.structures import masks

FAST = {"mobilenet_v2", "mobilenet_v3_large", "vovnet19", "vovnet19_dw", "v1", "ssdlite", "fcos"}
EVERY_MODEL = [(name, head) for name in BACKBONES for head in HEADS] + [(name, "") for name in DETECTORS]
# Slow backbones are tested with Mask R-CNN only, which is Faster R-CNN and a mask head.
SLOW_MODELS = [(name, head) for name, head in EVERY_MODEL if name not in FAST and head != "fasterrcnn"]
IMAGES = [make_image((70, 96), 3), make_image((120, 64), 4)]

# Loads the checkpoints and images named on its command line, and writes the detections.
IN_A_NEW_PROCESS = """
import json, sys
import numpy as np
from detect.structures.masks import to_json
from detect.inference.load import load_model
folder, images = sys.argv[1], [np.load(path) for path in sys.argv[2].split(",")]
for name in sys.argv[3:]:
    found = load_model(f"{folder}/{name}.safetensors", device="cpu", threshold=0)(images)
    rows = [
        dict(boxes=d.boxes.tolist(), scores=d.scores.tolist(), labels=d.labels.tolist(),
             masks=None if d.masks is None else [to_json(m) for m in d.masks],
             keypoints=None if d.keypoints is None else d.keypoints.tolist())
        for d in found
    ]
    open(f"{folder}/{name}.json", "w").write(json.dumps(rows))
"""


def architecture_of(name: str, head: str) -> Architecture:
    """Return the Architecture of training from scratch, or for untrainable detectors that of the published weights."""
    if name in TRAINED_DETECTORS:
        side = 160 if "mobilenet" in name else 64  # coarse maps need larger images
        return replace(detector_architecture(name, side), norm="batch", norm_eps=1e-5)
    if name in DETECTORS:
        return detector_architecture(name, None if DETECTORS[name].head == "ssd" else 64)
    return replace(backbone_architecture(name, head, 64), max_proposals=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    "models",
    [pytest.param([m for m in EVERY_MODEL if m[0] in FAST], id="small"), pytest.param(SLOW_MODELS, id="heavy")],
)
def test_every_model_detects_the_same_in_a_new_process_after_training_and_saving(models, tmp_path):
    expected = {}
    for name, head in models:
        architecture = architecture_of(name, head)
        trains = architecture.head in TRAINED_HEADS
        saved = as_checkpoint(random_model(architecture) if trains else build(architecture, 4), architecture)
        checkpoint.save(saved, tmp_path / f"{name}-{head}.safetensors")
        expected[f"{name}-{head}"] = predictor_from_checkpoint(saved, threshold=0)(IMAGES)
    for i, image in enumerate(IMAGES):
        np.save(tmp_path / f"{i}.npy", image)
    images = ",".join(str(tmp_path / f"{i}.npy") for i in range(len(IMAGES)))
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, tmp_path, images, *expected]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)

    for name, before in expected.items():
        after = json.loads((tmp_path / f"{name}.json").read_text())
        for one, row in zip(before, after, strict=True):
            assert len(one) >= 20, name
            assert (one.masks is not None) == ("maskrcnn" in name), name
            assert (one.keypoints is not None) == ("keypointrcnn" in name), name
            assert np.abs(one.boxes - np.array(row["boxes"])).max() <= 1e-3, name
            assert np.abs(one.scores - np.array(row["scores"])).max() <= 1e-5, name
            assert one.labels.tolist() == row["labels"], name
            assert (one.masks and [masks.to_json(m) for m in one.masks]) == row["masks"], name
            if one.keypoints is not None:
                assert np.abs(one.keypoints - np.array(row["keypoints"])).max() <= 1e-2, name


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.mark.parametrize("norm", NORMS)
def test_checkpoint_keeps_kind_and_eps_of_norms(norm, tmp_path):
    architecture = replace(TINY_ARCHITECTURE, norm=norm, norm_eps=3e-4)
    saved = as_checkpoint(build(architecture, 1 + len(CLASSES)), architecture)
    checkpoint.save(saved, tmp_path / "a.safetensors")
    loaded = checkpoint.load(tmp_path / "a.safetensors")
    model = build(Architecture.from_json(loaded.architecture), loaded.num_rows)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)]
    kind = nn.BatchNorm2d if norm == "batch" else FrozenBatchNorm2d
    assert {type(m) for m in norms} == {kind}
    assert {m.eps for m in norms} == {3e-4}


def test_frozen_backbone_norms_leave_fpn_and_head_norms_learned():
    architecture = replace(detector_architecture("v2", 64), norm="frozen_backbone")
    model = build(architecture, 3)
    parts = {"backbone": model.backbone.body, "fpn": model.backbone.fpn, "head": model.roi_heads}
    kinds = {
        part: {type(m) for m in module.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)}
        for part, module in parts.items()
    }
    assert kinds == {"backbone": {FrozenBatchNorm2d}, "fpn": {nn.BatchNorm2d}, "head": {nn.BatchNorm2d}}


@pytest.mark.parametrize(("name", "kind", "eps"), [("v1", FrozenBatchNorm2d, 0.0), ("v2", nn.BatchNorm2d, 1e-5)])
def test_detectors_have_the_norms_of_their_published_weights(name, kind, eps):
    norms = [m for m in build(detector_architecture(name, 64), 3).modules() if "BatchNorm" in type(m).__name__]
    assert {type(m) for m in norms} == {kind}
    assert {m.eps for m in norms} == {eps}


def test_architecture_is_unchanged_by_json():
    for name, head in EVERY_MODEL:
        architecture = architecture_of(name, head)
        assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture


def test_unknown_names_are_rejected_with_similar_names():
    with pytest.raises(UsageError, match="unknown backbone 'resnet5': did you mean resnet50"):
        backbone_architecture("resnet5", "maskrcnn", 64)
    with pytest.raises(UsageError, match="unknown head 'mask'"):
        backbone_architecture("resnet50", "mask", 64)
    with pytest.raises(UsageError, match="unknown model 'maskrcn': did you mean maskrcnn"):
        detector_architecture("maskrcn", 64)


def test_image_without_objects_gives_finite_losses(model):
    losses = model.train()([torch.rand(3, 64, 64)], [target((64, 64), [])])
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_roi_poolers_have_the_scales_of_their_maps():
    for architecture in (TINY_ARCHITECTURE, detector_architecture("mobilenet_320"), detector_architecture("v1")):
        poolers = [m for m in build(architecture, 3).modules() if isinstance(m, MultiScaleRoIAlign)]
        strides = [1 / 4, 1 / 8, 1 / 16, 1 / 32] if architecture.model != "mobilenet_320" else [1 / 32, 1 / 32, 1 / 64]
        assert poolers and all(pooler.scales == strides[: len(pooler.scales)] for pooler in poolers)
