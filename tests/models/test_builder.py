"""Building detectors: sizes, masks, norms, anchors; and every model comes back from its file in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

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
from detect.models.anchors import anchor_recall, anchor_sizes
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.builder import build
from detect.models.norms import NORMS
from detect.models.zoo import BACKBONES, DETECTORS, HEADS, TRAINED_DETECTORS, TRAINED_HEADS
from detect.structures import masks
from detect.structures.image_record import ImageRecord
from detect.structures.image_size import resized_hw

LIGHT_ONES = {"mobilenet_v2", "mobilenet_v3_large", "vovnet19", "vovnet19_dw", "v1", "ssdlite", "fcos"}
EVERY_MODEL = [(name, head) for name in BACKBONES for head in HEADS] + [(name, "") for name in DETECTORS]
IMAGES = [make_image((70, 96), 3), make_image((120, 64), 4)]

# Reads checkpoints and images named on its command line, and writes what it finds.
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
    """As training from scratch builds it; those that are not trained as they are published."""
    if name in TRAINED_DETECTORS:
        side = 160 if "mobilenet" in name else 64  # whose coarse maps see little in less
        return replace(detector_architecture(name, side), norm="batch", norm_eps=1e-5)
    if name in DETECTORS:
        return detector_architecture(name, None if DETECTORS[name].head == "ssd" else 64)
    return replace(backbone_architecture(name, head, 64), proposals=60)


@pytest.mark.parametrize(
    "models",
    [
        pytest.param([m for m in EVERY_MODEL if m[0] in LIGHT_ONES], id="light"),
        pytest.param([m for m in EVERY_MODEL if m[0] not in LIGHT_ONES], id="heavy", marks=pytest.mark.slow),
    ],
)
def test_every_model_is_the_same_in_a_new_process_after_a_step_and_a_save(models, tmp_path):
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
def test_kind_and_eps_of_norms_survive_the_file(norm, tmp_path):
    architecture = replace(TINY_ARCHITECTURE, norm=norm, norm_eps=3e-4)
    saved = as_checkpoint(build(architecture, 1 + len(CLASSES)), architecture)
    checkpoint.save(saved, tmp_path / "a.safetensors")
    back = predictor_from_checkpoint(checkpoint.load(tmp_path / "a.safetensors")).model
    norms = [m for m in back.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)]
    kind = nn.BatchNorm2d if norm == "batch" else FrozenBatchNorm2d
    assert norms and all(isinstance(m, kind) for m in norms)  # frozen ones may be folded into convolutions
    assert {m.eps for m in norms} == {3e-4}


def test_freezing_the_backbone_leaves_the_norms_above_it():
    architecture = replace(detector_architecture("v2", 64), norm="frozen_backbone")
    model = build(architecture, 3)
    parts = {"backbone": model.backbone.body, "pyramid": model.backbone.fpn, "head": model.roi_heads}
    kinds = {
        part: {type(m) for m in module.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)}
        for part, module in parts.items()
    }
    assert kinds == {"backbone": {FrozenBatchNorm2d}, "pyramid": {nn.BatchNorm2d}, "head": {nn.BatchNorm2d}}


@pytest.mark.parametrize(("name", "kind", "eps"), [("v1", FrozenBatchNorm2d, 0.0), ("v2", nn.BatchNorm2d, 1e-5)])
def test_detectors_have_the_norms_of_their_published_weights(name, kind, eps):
    norms = [m for m in build(detector_architecture(name, 64), 3).modules() if "BatchNorm" in type(m).__name__]
    assert {type(m) for m in norms} == {kind}
    assert {m.eps for m in norms} == {eps}


def test_an_architecture_survives_json():
    for name, head in EVERY_MODEL:
        architecture = architecture_of(name, head)
        assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture


def test_unknown_names_are_told_with_their_neighbours():
    with pytest.raises(UsageError, match="unknown backbone 'resnet5': did you mean resnet50"):
        backbone_architecture("resnet5", "maskrcnn", 64)
    with pytest.raises(UsageError, match="unknown head 'mask'"):
        backbone_architecture("resnet50", "mask", 64)
    with pytest.raises(UsageError, match="unknown model 'maskrcn': did you mean maskrcnn"):
        detector_architecture("maskrcn", 64)


@pytest.fixture
def backbone_sizes(model):
    """The sizes [H, W] that reach the backbone while the test runs."""
    seen: list[tuple[int, ...]] = []
    hook = model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    yield seen
    hook.remove()


def test_in_training_the_sizes_of_the_loader_reach_the_backbone(model, backbone_sizes):
    jittered = [(64, 96), (128, 64), (96, 160)]
    for hw in jittered:
        model.train()([torch.rand(3, *hw)], [target(hw, [[5, 5, 40, 45]])])
    assert backbone_sizes == jittered


def test_in_evaluation_the_model_resizes_and_returns_original_pixels(model, backbone_sizes):
    original = (200, 300)
    with torch.inference_mode():
        (found,) = model.eval()([torch.from_numpy(make_image(original, 1)).permute(2, 0, 1) / 255])
    resized = resized_hw(original, TINY_ARCHITECTURE.min_size, TINY_ARCHITECTURE.max_size)
    assert resized == (64, 96)
    assert backbone_sizes == [tuple(-(-side // 32) * 32 for side in resized)]
    assert 150 < found["boxes"][:, 0::2].max() <= 300 and 100 < found["boxes"][:, 1::2].max() <= 200


def test_the_model_does_not_paste_masks(model):
    with torch.inference_mode():
        (found,) = model.eval()([torch.rand(3, 640, 480)])
    assert found["masks"].shape == (len(found["boxes"]), 1, 28, 28)


def test_an_image_without_objects_trains(model):
    losses = model.train()([torch.rand(3, 64, 64)], [target((64, 64), [])])
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_anchor_sizes_grow_with_the_image_by_half_octaves():
    assert anchor_sizes(800) == ((32, 45), (64, 91), (128, 181), (256, 362), (512, 724))
    assert anchor_sizes(400)[0] == (16, 23)


def test_anchor_recall_counts_what_some_anchor_overlaps(model):
    def recall(boxes: np.ndarray, **options) -> float:
        return anchor_recall(model, [record_of(boxes.astype(np.float32), (64, 96))], imgsz=64, **options)

    generator = model.rpn.anchor_generator
    inside = np.array([anchor + np.array([32, 32] * 2) for anchor in generator.cell_anchors[2].numpy()])
    far_too_large = np.array([[0, 0, 64 * 40, 64 * 40]])
    assert recall(inside, iou=0.999) == 1.0
    assert recall(far_too_large) == 0.0
    assert recall(np.concatenate([inside, far_too_large])) == len(inside) / (len(inside) + 1)
    assert recall(np.zeros((0, 4))) == 1.0


def test_anchor_recall_follows_the_fpn_of_the_model():
    """mobilenet's has anchors of every size on each map, two of stride 32; RetinaNet's begins at stride 8."""
    for name in ("mobilenet", "retinanet"):
        model = build(detector_architecture(name, 320), 2)
        generator = model.rpn.anchor_generator if name == "mobilenet" else model.anchor_generator
        stride, level = (32, 0) if name == "mobilenet" else (16, 1)
        boxes = generator.cell_anchors[level] + torch.tensor([5 * stride, 4 * stride] * 2)
        inside = boxes[(boxes >= 0).all(dim=1) & (boxes[:, 2] < 480) & (boxes[:, 3] < 320)].numpy()
        assert len(inside) >= 3
        assert anchor_recall(model, [record_of(inside, (320, 480))], imgsz=320, iou=0.99) == 1.0, name
        assert anchor_recall(model, [record_of(inside + stride / 2, (320, 480))], imgsz=320, iou=0.99) == 0.0, name
        assert model.training


def record_of(boxes: np.ndarray, image_hw: tuple[int, int]) -> ImageRecord:
    n = len(boxes)
    return ImageRecord(
        path=Path("x.jpg"),
        image_hw=image_hw,
        image_id=1,
        boxes=boxes,
        labels=np.ones(n, np.int64),
        areas=np.ones(n),
        iscrowd=np.zeros(n, bool),
        annotation_ids=np.arange(n),
    )


def test_a_strip_of_few_pixels_does_not_change_how_the_next_image_is_seen():
    model = random_model()
    fresh = build(TINY_ARCHITECTURE, 1 + len(CLASSES))
    fresh.load_state_dict(model.state_dict())
    image = torch.from_numpy(make_image((64, 96), 1)).permute(2, 0, 1) / 255
    with torch.inference_mode():
        fresh.eval()([torch.rand(3, 6, 200)])  # 4 pixels high when it is resized, on maps of 32
        expected, found = model.eval()([image])[0], fresh([image])[0]
    assert len(expected["boxes"]) and torch.equal(expected["boxes"], found["boxes"])


def test_regions_are_pooled_at_the_strides_of_the_maps():
    for architecture in (TINY_ARCHITECTURE, detector_architecture("mobilenet_320"), detector_architecture("v1")):
        poolers = [m for m in build(architecture, 3).modules() if isinstance(m, MultiScaleRoIAlign)]
        strides = [1 / 4, 1 / 8, 1 / 16, 1 / 32] if architecture.model != "mobilenet_320" else [1 / 32, 1 / 32, 1 / 64]
        assert poolers and all(pooler.scales == strides[: len(pooler.scales)] for pooler in poolers)
