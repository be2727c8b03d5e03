"""Checkpoints to export, and images in which they detect objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from detect.models import checkpoint
from detect.models.architecture import Architecture, backbone_architecture
from detect.structures.class_names import ClassNames
from helpers.tiny_models import TINY_ARCHITECTURE, as_checkpoint, make_image, random_model

TARGETS = ("onnx", "openvino")
CLASSES = ClassNames(("circle", "square", "triangle"), (90, 7, 3))  # those of ``render_shapes``
IMAGES = [make_image(hw, seed) for seed, hw in enumerate([(90, 120), (120, 90), (90, 120), (64, 64), (40, 160)])]
MASKS = replace(TINY_ARCHITECTURE, max_detections=60)
BOXES = replace(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), max_proposals=60)


def save(architecture: Architecture, path: Path) -> Path:
    """Write the checkpoint of a random model that detects objects, and return its path."""
    saved = as_checkpoint(random_model(architecture), architecture, CLASSES)
    checkpoint.save(replace(saved, class_thresholds={"square": 0.3}, data={"train_shrink": 2.5}), path)
    return path
