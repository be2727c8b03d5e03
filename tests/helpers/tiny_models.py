"""Small images, and small models with random weights that detect something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy.optimize import linear_sum_assignment
from torch import nn

from detect.data.synthetic.datasets import KINDS, render_split
from detect.models.architecture import Architecture, backbone_architecture
from detect.models.builder import Detector, build
from detect.models.checkpoint import Checkpoint
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

torch.set_num_threads(1)  # tensors this small gain nothing from more threads, and lose much on a busy machine

CLASSES = ClassNames(("kite", "balloon", "bird"), (90, 7, 3))
TINY_ARCHITECTURE = replace(backbone_architecture("mobilenet_v2", "maskrcnn", 64), max_proposals=60)


def make_image(hw: tuple[int, int], seed: int) -> np.ndarray:
    """Return a uint8 RGB image [H, W, 3] of bright rectangles on noise."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (*hw, 3), dtype=np.uint8)
    for _ in range(6):
        y, x = rng.integers(0, hw[0] - 8), rng.integers(0, hw[1] - 8)
        image[y : y + rng.integers(8, 40), x : x + rng.integers(8, 40)] = rng.integers(0, 256, 3)
    return image


def target(hw: tuple[int, int], boxes: Sequence[Sequence[float]]) -> dict[str, torch.Tensor]:
    """Return a torchvision target with labels 1, 2, ... and masks that fill ``boxes`` (xyxy pixels)."""
    masks = torch.zeros(len(boxes), *hw, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = 1
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.arange(1, len(boxes) + 1),
        "masks": masks,
        "image_id": torch.tensor(1),
    }


def training_batch() -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Return three images of different sizes with targets of class 1; the last has no objects."""
    sizes = ((96, 160), (128, 96), (96, 96))
    images = [torch.from_numpy(make_image(hw, seed)).permute(2, 0, 1) / 255 for seed, hw in enumerate(sizes)]
    boxes = ([[0, 0, 30, 40], [60, 20, 160, 96]], [[10, 8, 90, 120]], [])
    targets = [target(hw, some) for hw, some in zip(sizes, boxes, strict=True)]
    return images, [{**t, "labels": torch.ones_like(t["labels"])} for t in targets]


def train_one_step(model: Detector, hw: tuple[int, int] = (64, 96)) -> dict[str, torch.Tensor]:
    """Take one SGD step on two images and return its losses.

    Batch norms take over the statistics of this batch. With the statistics of a new model, the activations of a random
    network explode in evaluation mode.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    images = [torch.from_numpy(make_image(hw, seed)).permute(2, 0, 1) / 255 for seed in (1, 2)]
    targets = [target(hw, [[5, 5, 40, 45], [30, 20, 80, 60]]), target(hw, [[10, 8, 70, 50]])]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3)
    losses = model.train()(images, targets)
    torch.stack(list(losses.values())).sum().backward()
    nn.utils.clip_grad_norm_(trained, 10)  # as train.py does; without it deep networks diverge
    optimizer.step()
    return losses


def randomize_norms(module: nn.Module) -> None:
    """Randomize all BatchNorm2d, so that a missing norm or activation and a wrong eps change the output."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
            nn.init.normal_(norm.running_mean, std=0.2)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)


def random_model(
    architecture: Architecture = TINY_ARCHITECTURE, num_rows: int = 1 + len(CLASSES), seed: int = 0
) -> Detector:
    """Return a random model after one training step; with threshold 0 it detects dozens of objects in any image."""
    torch.manual_seed(seed)
    model = build(architecture, num_rows)
    side = architecture.min_size  # in smaller images, coarse maps have too few pixels for batch statistics
    train_one_step(model, (side, side * 3 // 2))
    return model


def as_checkpoint(
    model: nn.Module, architecture: Architecture = TINY_ARCHITECTURE, classes: ClassNames = CLASSES
) -> Checkpoint:
    """Return the checkpoint of a model."""
    return Checkpoint(model.state_dict(), architecture.to_json(), classes)


def assert_same_detections(
    actual: Detections, expected: Detections, *, px: float, score: float, min_count: int = 20
) -> None:
    """Assert that both have the same detections, at least ``min_count``, up to ``px`` pixels and ``score``.

    The order does not matter, since rounding swaps detections of equal score.
    """
    assert len(actual) == len(expected) >= min_count
    assert actual.image_hw == expected.image_hw
    assert (actual.masks is None) == (expected.masks is None)
    distance = np.abs(actual.boxes[:, None] - expected.boxes).max(axis=2) / px
    distance = np.maximum(distance, np.abs(actual.scores[:, None] - expected.scores) / score)
    distance[actual.labels[:, None] != expected.labels] = np.inf
    pairs = linear_sum_assignment(np.minimum(distance, 1e6))
    assert distance[pairs].max() <= 1


def render_shapes(folder: Path, counts: dict[str, int], classes: Sequence[str] = ()) -> Path:
    """Write a dataset of rendered shapes with category ids 90, 7 and 3; return the path of its description.

    counts: split -> number of images.
    """
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
