"""Small images and random models that behave: what several tests of the models start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy.optimize import linear_sum_assignment
from torch import nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from detect.data.synthetic.datasets import KINDS, render_split
from detect.models.architecture import Architecture, backbone_architecture
from detect.models.builder import build
from detect.models.checkpoint import Checkpoint
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

torch.set_num_threads(1)  # such small tensors gain nothing from more, and lose much on a busy machine

CLASSES = ClassNames(("kite", "balloon", "bird"), (90, 7, 3))
LIGHT = replace(backbone_architecture("mobilenet_v2", "maskrcnn", 64), proposals=60)


def make_image(hw: tuple[int, int], seed: int) -> np.ndarray:
    """uint8 RGB [H, W, 3]: bright rectangles on noise."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (*hw, 3), dtype=np.uint8)
    for _ in range(6):
        y, x = rng.integers(0, hw[0] - 8), rng.integers(0, hw[1] - 8)
        image[y : y + rng.integers(8, 40), x : x + rng.integers(8, 40)] = rng.integers(0, 256, 3)
    return image


def target(hw: tuple[int, int], boxes: Sequence[Sequence[float]]) -> dict[str, torch.Tensor]:
    """torchvision's target: ``boxes`` xyxy pixels of labels 1, 2, ... that their masks fill."""
    masks = torch.zeros(len(boxes), *hw, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = 1
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.arange(1, len(boxes) + 1),
        "masks": masks,
        "image_id": torch.tensor(1),
    }


def train_a_step(model: GeneralizedRCNN, hw: tuple[int, int] = (64, 96)) -> dict[str, torch.Tensor]:
    """One step of SGD on two images; returns its losses. Batch norms take the statistics of this batch as they
    are, since in evaluation a random network with those of a fresh one sees its activations explode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    images = [torch.from_numpy(make_image(hw, seed)).permute(2, 0, 1) / 255 for seed in (1, 2)]
    targets = [target(hw, [[5, 5, 40, 45], [30, 20, 80, 60]]), target(hw, [[10, 8, 70, 50]])]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3)
    losses = model.train()(images, targets)
    torch.stack(list(losses.values())).sum().backward()
    nn.utils.clip_grad_norm_(trained, 10)  # as train.py does, or the deep ones are thrown far off
    optimizer.step()
    return losses


def randomize_norms(module: nn.Module) -> None:
    """Weights and statistics that show if a norm or the activation after it is swapped, missing or has another eps."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
            nn.init.normal_(norm.running_mean, std=0.2)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)


def random_model(architecture: Architecture = LIGHT, num_rows: int = 1 + len(CLASSES), seed: int = 0):
    """A model after one step from random weights, that finds dozens of things in any image at threshold 0."""
    torch.manual_seed(seed)
    model = build(architecture, num_rows)
    side = architecture.min_size  # in less, a coarse map has too few places for statistics
    train_a_step(model, (side, side * 3 // 2))
    return model


def as_checkpoint(model: nn.Module, architecture: Architecture = LIGHT, classes: ClassNames = CLASSES) -> Checkpoint:
    """The model at rest."""
    return Checkpoint(model.state_dict(), architecture.to_json(), classes)


def assert_same(found: Detections, expected: Detections, *, px: float, score: float, least: int = 20) -> None:
    """Equal detections but for ``px`` pixels and ``score``, at least ``least`` of them. In any order, since noise
    in the last digit swaps those that score the same."""
    assert len(found) == len(expected) >= least
    assert found.image_hw == expected.image_hw
    assert (found.masks is None) == (expected.masks is None)
    apart = np.abs(found.boxes[:, None] - expected.boxes).max(axis=2) / px
    apart = np.maximum(apart, np.abs(found.scores[:, None] - expected.scores) / score)
    apart[found.labels[:, None] != expected.labels] = np.inf
    pairs = linear_sum_assignment(np.minimum(apart, 1e6))
    assert apart[pairs].max() <= 1


def render_shapes(folder: Path, counts: dict[str, int], classes: Sequence[str] = ()) -> Path:
    """A dataset of a few images of shapes with the category ids 90, 7 and 3; returns its description."""
    for split, count in counts.items():
        render_split(KINDS["shapes"], folder / "files", split, 3, count)
    content = {
        "name": "few",
        "format": "coco",
        "root": "files",
        "splits": {split: {"images": split, "annotations": f"{split}.json"} for split in counts},
    } | ({"classes": list(classes)} if classes else {})
    path = folder / "few.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
