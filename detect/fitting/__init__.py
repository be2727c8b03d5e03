"""Defaults that fit the data, each with its reason."""

from detect.fitting.anchors import fit_anchors
from detect.fitting.device import mixed_precision
from detect.fitting.facts import Choice, Facts
from detect.fitting.image_size import image_size, own_size
from detect.fitting.rare_classes import repeat_threshold
from detect.fitting.schedule import epochs, learning_rate, warmup_steps
from detect.fitting.trunk import frozen_stages, norms

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
