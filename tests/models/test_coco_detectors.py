"""Detectors with COCO weights give the detections of torchvision's own models, restricted to the 80 COCO classes.

Random weights take the place of the published ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torchvision
from helpers.tiny_models import make_image
from helpers.torchvision_files import old_names
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from detect.errors import UsageError
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.models import pretrained
from detect.models.architecture import detector_architecture
from detect.models.builder import Detector, build, score_owner
from detect.models.zoo import DETECTORS
from detect.structures import masks
from detect.structures.detections import Detections

FAST = ("v1", "ssdlite", "fcos")
OLD = (
    "v1",
    "maskrcnn",
    "retinanet",
    "keypointrcnn",
)  # their published files have the tensor names of torchvision before 0.13
IMAGES = make_image((90, 120), 1), make_image((50, 200), 2)


def slow_except(fast: tuple[str, ...], names=tuple(DETECTORS)) -> list:
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def builder(name: str):
    return getattr(torchvision.models.detection, DETECTORS[name].builder)


def sides(name: str) -> dict[str, int]:
    """Return smaller image sizes than the default, for models that accept them."""
    side = 160 if "mobilenet" in name else 64  # coarse maps need larger images
    return {} if DETECTORS[name].head == "ssd" else {"min_size": side, "max_size": side * 5 // 3}


def categories(name: str) -> list[str]:
    return torchvision.models.get_model_weights(DETECTORS[name].builder).COCO_V1.meta["categories"]


def score_layers(network: Detector, rows: int) -> list[nn.Module]:
    """Return the layers whose output channels are ``rows`` classes, once per anchor."""
    heads = getattr(network, "roi_heads", network)
    scorer = heads.box_predictor.cls_score if heads is not network else network.head.classification_head
    layers = [m for m in scorer.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return [m for m in layers if m.weight.shape[0] in [rows * anchors for anchors in (1, 4, 6, 9)]]


def published(name: str) -> dict[str, Tensor]:
    """Return a state dict as in torchvision's published file, with random weights that give many detections."""
    torch.manual_seed(0)
    network = builder(name)(weights=None, weights_backbone=None, **sides(name))
    rows = len(categories(name))
    owner = score_owner(network)
    owner.score_thresh = 0.0
    images = [torch.from_numpy(image).permute(2, 0, 1) / 255 for image in IMAGES]
    settle(network, images, rows)
    with torch.inference_mode():
        found, _ = network.eval()(images)
    likely = int(found["labels"][0])  # of the highest score
    if rows > 12:  # make a row without a class ("N/A") appear among the detections
        for layer in score_layers(network, rows):
            for tensor in layer.parameters():
                by_row = tensor.data.view(-1, rows, *tensor.shape[1:])
                by_row[:, 12] = by_row[:, likely] + (0.5 if tensor.ndim == 1 else 0)  # a higher bias
    state = network.state_dict()
    if DETECTORS[name].norm == "frozen":  # FrozenBatchNorm2d has no batch counter
        state = {k: t for k, t in state.items() if not k.endswith("num_batches_tracked")}
    return old_names(state) if name in OLD else state


@torch.no_grad()
def settle(network: Detector, images: list[Tensor], rows: int) -> None:
    """Set the batch norm statistics of ``images`` and spread the scores; otherwise random networks detect nothing."""

    unspread = set(score_layers(network, rows))  # layers shared by FPN levels run several times

    def spread(layer: nn.Module, _: object, out: Tensor) -> None:
        if layer in unspread:
            unspread.remove(layer)
            layer.weight /= out.std() / 3

    def norm(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        layer.running_mean.copy_(inputs[0].mean((0, 2, 3)))
        layer.running_var.copy_(inputs[0].var((0, 2, 3), correction=0))

    hooks = [m.register_forward_pre_hook(norm) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    hooks += [layer.register_forward_hook(spread) for layer in unspread]
    network.eval()(images)
    for hook in hooks:
        hook.remove()


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Create new tensors as ``dtype`` in the block."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(former)


def feed_both(ours: Detector, theirs: Detector) -> None:
    """Give both backbones the batch of ``ours``, in double precision, after checking that the batches agree.

    Random weights amplify rounding: float32 layers that round differently (memory layouts, fused norms, processors)
    would change detections visibly. ``ours`` has to run first.
    """
    batch: list[Tensor] = []

    def record(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        batch[:] = [inputs[0].double()]
        return (batch[0],)

    def replace(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        # 2e-5 of the range of colors, which SSD multiplies by 255
        torch.testing.assert_close(inputs[0].double(), batch[0], rtol=1e-5, atol=2e-5 / min(ours.transform.image_std))
        return (batch[0],)

    ours.backbone.register_forward_pre_hook(record)
    theirs.backbone.register_forward_pre_hook(replace)


@pytest.mark.slow
@pytest.mark.parametrize("name", slow_except(FAST))
def test_detections_equal_those_of_torchvisions_own_model(name, monkeypatch, tmp_path):
    state = published(name)
    torch.save(state, tmp_path / "coco.pth")
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *_, **__: dict(state))
    monkeypatch.setattr(pretrained, "fetch", lambda *_, **__: tmp_path / "coco.pth")
    with default_dtype(torch.float64):
        theirs = builder(name)(weights="COCO_V1", **sides(name)).eval()
        ours = load_model(name, device="cpu", imgsz=sides(name).get("min_size"), threshold=0.0)
    score_owner(theirs).score_thresh = 0.0
    for model in (theirs, ours.runtime.model):
        if hasattr(model, "roi_heads"):
            model.rpn._post_nms_top_n["testing"] = 200  # the heads are slow in double precision
            model.roi_heads.detections_per_img = 80
    feed_both(ours.runtime.model, theirs)

    names = categories(name)
    dropped = 0
    for image in IMAGES:
        (found,) = ours([image])
        with torch.inference_mode():
            (expected,) = theirs([torch.from_numpy(image).permute(2, 0, 1) / 255])
        rows = expected["labels"].tolist()
        keep = [i for i, row in enumerate(rows) if row > 0 and names[row] != "N/A"]
        dropped += len(rows) - len(keep)
        pairs = matches(found, {k: v[keep].numpy() for k, v in expected.items()}, [names[rows[i]] for i in keep], ours)
        # RoIAlign sums in float32, which can change the order of detections at the edge of a threshold.
        assert len(pairs) >= 15 and len(pairs) >= 0.95 * max(len(found), len(keep))
        assert all(
            found.labels[i] and ours.class_names.category_id(found.labels[i]) == rows[keep[j]] for i, j in pairs
        )
        assert (found.masks is None) == ("masks" not in expected)
        assert (found.keypoints is None) == ("keypoints" not in expected)
        for i, j in pairs:
            if found.masks is not None:
                bitmap = masks.to_bitmap(found.masks[i])
                assert (bitmap != (expected["masks"][keep[j], 0] > 0.5).numpy()).mean() < 1e-3
            if found.keypoints is not None:
                assert found.keypoints[i].shape == (17, 3)
                np.testing.assert_allclose(found.keypoints[i, :, :2], expected["keypoints"][keep[j]][:, :2], atol=1e-2)
                np.testing.assert_allclose(found.keypoints[i, :, 2], expected["keypoints_scores"][keep[j]], atol=1e-3)
    if name == "keypointrcnn":
        assert ours.class_names.names == ("person",)
    else:
        assert dropped  # otherwise these images do not show that rows without a class are dropped
        assert len(ours.class_names) == 80 and "N/A" not in ours.class_names.names


def matches(
    found: Detections, expected: dict[str, np.ndarray], names: list[str], ours: Predictor
) -> list[tuple[int, int]]:
    """Return the index pairs (found, expected) of detections that agree in box, score and class name."""
    distance = np.abs(found.boxes[:, None] - expected["boxes"]).max(axis=2) / 1e-2
    distance = np.maximum(distance, np.abs(found.scores[:, None] - expected["scores"]) / 1e-4)
    ours_names = np.array([ours.class_names.name(label) for label in found.labels])
    distance[ours_names[:, None] != np.array(names)] = 1e6
    pairs = zip(*linear_sum_assignment(np.minimum(distance, 1e6)), strict=True)
    return [(int(i), int(j)) for i, j in pairs if distance[i, j] <= 1]


@pytest.mark.parametrize("name", slow_except(FAST))
def test_input_size_and_normalization_equal_torchvisions(name):
    ours = build(detector_architecture(name), 3).transform
    theirs = builder(name)(weights=None, weights_backbone=None).transform
    assert (ours.min_size[-1], ours.max_size) == (theirs.min_size[-1], theirs.max_size)
    assert (ours.fixed_size, ours.size_divisible) == (theirs.fixed_size, theirs.size_divisible)
    assert list(ours.image_mean) == list(theirs.image_mean) and list(ours.image_std) == list(theirs.image_std)


@pytest.mark.parametrize("name", ["ssd300", "ssdlite"])
def test_fixed_input_size_rejects_another_size(name):
    side = DETECTORS[name].short
    assert detector_architecture(name, side) == detector_architecture(name)
    with pytest.raises(UsageError, match=rf"{name} has a fixed input of {side}x{side} pixels; omit `imgsz`"):
        detector_architecture(name, 640)
    with pytest.raises(UsageError, match="omit `imgsz`"):
        build(detector_architecture("ssdlite"), 3).transform.set_size(640)
