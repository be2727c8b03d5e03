"""torchvision's detectors with published COCO weights: what they find is what torchvision's own find, the 80 classes
of COCO alone. Random numbers stand in the place of the published."""

from __future__ import annotations

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

LIGHT = ("v1", "ssdlite", "fcos")
OLD = ("v1", "maskrcnn", "retinanet", "keypointrcnn")  # published before torchvision 0.13 renamed their parts
IMAGES = make_image((90, 120), 1), make_image((50, 200), 2)


def slow_but_for(light: tuple[str, ...], names=tuple(DETECTORS)) -> list:
    return [name if name in light else pytest.param(name, marks=pytest.mark.slow) for name in names]


def builder(name: str):
    return getattr(torchvision.models.detection, DETECTORS[name].builder)


def sides(name: str) -> dict[str, int]:
    """Smaller images than usual, where the model can be told so."""
    side = 160 if "mobilenet" in name else 64  # whose coarse maps see little in less
    return {} if DETECTORS[name].head == "ssd" else {"min_size": side, "max_size": side * 5 // 3}


def categories(name: str) -> list[str]:
    return torchvision.models.get_weight(DETECTORS[name].weights).meta["categories"]


def score_layers(network: Detector, rows: int) -> list[nn.Module]:
    """The layers that score ``rows`` classes, whose rows are the classes, once for each anchor."""
    heads = getattr(network, "roi_heads", network)
    scorer = heads.box_predictor.cls_score if heads is not network else network.head.classification_head
    layers = [m for m in scorer.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return [m for m in layers if m.weight.shape[0] in [rows * anchors for anchors in (1, 4, 6, 9)]]


def published(name: str) -> dict[str, Tensor]:
    """The state of a file as torchvision publishes it for ``name``, with random numbers that find many things."""
    torch.manual_seed(0)
    network = builder(name)(weights=None, weights_backbone=None, **sides(name))
    rows = len(categories(name))
    owner = score_owner(network)
    owner.score_thresh = 0.0
    images = [torch.from_numpy(image).permute(2, 0, 1) / 255 for image in IMAGES]
    settle(network, images, rows)
    with torch.inference_mode():
        found, _ = network.eval()(images)
    likely = int(found["labels"][0])  # the surest
    if rows > 12:  # so that a row of no class ("N/A") is found too
        for layer in score_layers(network, rows):
            for tensor in layer.parameters():
                by_row = tensor.data.view(-1, rows, *tensor.shape[1:])
                by_row[:, 12] = by_row[:, likely] + (
                    0.5 if tensor.ndim == 1 else 0
                )  # the bias: it scores a little more
    state = network.state_dict()
    if DETECTORS[name].norm == "frozen":  # which counts no batches
        state = {k: t for k, t in state.items() if not k.endswith("num_batches_tracked")}
    return old_names(state) if name in OLD else state


@torch.no_grad()
def settle(network: Detector, images: list[Tensor], rows: int) -> None:
    """Give batch norms the statistics of ``images`` and spread the scores: random networks see nothing otherwise."""

    unspread = set(score_layers(network, rows))  # those of a pyramid are run once a level

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


@pytest.mark.parametrize("name", slow_but_for(LIGHT))
def test_a_coco_model_finds_what_torchvisions_own_finds(name, monkeypatch, tmp_path):
    state = published(name)
    torch.save(state, tmp_path / "coco.pth")
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *_, **__: dict(state))
    theirs = builder(name)(weights="COCO_V1", **sides(name)).eval()
    monkeypatch.setattr(pretrained, "fetch", lambda *_, **__: tmp_path / "coco.pth")
    # It rounds otherwise, which these weights make much of; that it changes nothing else is test_quick's to tell.
    monkeypatch.setattr("detect.inference.load.fuse_frozen_batch_norms", lambda _: 0)
    ours = load_model(name, device="cpu", imgsz=sides(name).get("min_size"), threshold=0.0)
    for model in (theirs, ours.model):
        score_owner(model).score_thresh = 0.0
        if hasattr(model, "roi_heads"):
            model.rpn.score_thresh = 0.0
            model.roi_heads.detections_per_img = 80  # masks and keypoints take their time

    names = categories(name)
    dropped = 0
    for image in IMAGES:
        with torch.inference_mode():
            (expected,) = theirs([torch.from_numpy(image).permute(2, 0, 1) / 255])
        rows = expected["labels"].tolist()
        keep = [i for i, row in enumerate(rows) if row > 0 and names[row] != "N/A"]
        dropped += len(rows) - len(keep)
        (found,) = ours([image])
        pairs = same(found, {k: v[keep].numpy() for k, v in expected.items()}, [names[rows[i]] for i in keep], ours)
        # Noise in the last digit swaps a few of hundreds at the edge of a threshold.
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
        assert dropped  # else the images do not show that rows of no class are left out
        assert len(ours.class_names) == 80 and "N/A" not in ours.class_names.names


def same(
    found: Detections, expected: dict[str, np.ndarray], names: list[str], ours: Predictor
) -> list[tuple[int, int]]:
    """The pairs (of found, of expected) that agree in box, score and class name."""
    apart = np.abs(found.boxes[:, None] - expected["boxes"]).max(axis=2) / 1e-2
    apart = np.maximum(apart, np.abs(found.scores[:, None] - expected["scores"]) / 1e-4)
    ours_names = np.array([ours.class_names.name(label) for label in found.labels])
    apart[ours_names[:, None] != np.array(names)] = 1e6
    pairs = zip(*linear_sum_assignment(np.minimum(apart, 1e6)), strict=True)
    return [(int(i), int(j)) for i, j in pairs if apart[i, j] <= 1]


@pytest.mark.parametrize("name", slow_but_for(LIGHT))
def test_a_coco_model_looks_at_images_as_torchvisions_own_does(name):
    ours = build(detector_architecture(name), 3).transform
    theirs = builder(name)(weights=None, weights_backbone=None).transform
    assert (ours.min_size[-1], ours.max_size) == (theirs.min_size[-1], theirs.max_size)
    assert (ours.fixed_size, ours.size_divisible) == (theirs.fixed_size, theirs.size_divisible)
    assert list(ours.image_mean) == list(theirs.image_mean) and list(ours.image_std) == list(theirs.image_std)


@pytest.mark.parametrize("name", ["ssd300", "ssdlite"])
def test_a_model_of_one_size_refuses_another(name):
    side = DETECTORS[name].short
    assert detector_architecture(name, side) == detector_architecture(name)
    with pytest.raises(UsageError, match=f"{name} looks at {side}x{side} pixels and nothing else; leave out --imgsz"):
        detector_architecture(name, 640)
    with pytest.raises(UsageError, match="leave out --imgsz"):
        build(detector_architecture("ssdlite"), 3).transform.set_size(640)
