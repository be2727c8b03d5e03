"""Records the inputs of the networks of a model, to calibrate their quantization."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from detect.deployment.float_layers import float_layers
from detect.inference.predictor import Predictor
from detect.models.builder import Detector

_MAX_ROIS = 32  # of each image


def record_inputs(predictor: Predictor, model: Detector, images: Iterable[np.ndarray]) -> dict[str, list[Tensor]]:
    """Detect objects in ``images``, uint8 RGB [H, W, 3], and return the inputs of each network to quantize, by name.

    predictor: runs ``model``.
    Returns one tensor per image: float32 [1, 3, h, w] for "dense" (backbone, FPN and RPN), and for a head the features
    of up to 32 RoIs, float32 [R, C, S, S].
    """
    recorded: dict[str, list[Tensor]] = {name: [] for name in float_layers(model)}
    parts = {name: model.backbone if name == "dense" else getattr(model.roi_heads, name) for name in recorded}
    hooks = [
        part.register_forward_pre_hook(lambda _, inputs, name=name: _keep(recorded[name], inputs[0]))
        for name, part in parts.items()
    ]
    try:
        for image in images:
            predictor.predict_batch([image])
    finally:
        for hook in hooks:
            hook.remove()
    return recorded


def _keep(recorded: list[Tensor], inputs: Tensor) -> None:
    """Keep the input of a network: the whole image, or up to _MAX_ROIS RoIs, evenly spaced by score."""
    if not len(inputs):
        return
    chosen = torch.linspace(0, len(inputs) - 1, min(len(inputs), _MAX_ROIS)).long()
    recorded.append(inputs[chosen].clone())
