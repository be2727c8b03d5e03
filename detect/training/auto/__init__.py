"""Defaults that fit the data, each with its reason."""

from detect.training.auto.anchors import fit_anchors
from detect.training.auto.backbone import frozen_stages, norms
from detect.training.auto.device import mixed_precision
from detect.training.auto.facts import Choice, Facts
from detect.training.auto.image_size import image_size, own_size
from detect.training.auto.rare_classes import repeat_threshold
from detect.training.auto.schedule import epochs, learning_rate, warmup_steps

__all__ = [
    "Choice",
    "Facts",
    "epochs",
    "fit_anchors",
    "frozen_stages",
    "image_size",
    "learning_rate",
    "mixed_precision",
    "norms",
    "own_size",
    "repeat_threshold",
    "warmup_steps",
]
