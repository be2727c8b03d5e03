"""Random weights under the load of trained ones.

Random deep networks alone would make the load a matter of chance: activations explode or vanish, and then no proposal
and no object, or hundreds, reach the heads. So batch norms get the statistics of an image, and the model the score
threshold at which it detects OBJECTS objects per image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torchvision.ops import FrozenBatchNorm2d

from detect.inference.predictor import Predictor

OBJECTS = 10  # per image


def settle(predictor: Predictor, images: Sequence[np.ndarray]) -> None:
    """Set the batch norms and the threshold of a predictor with random weights, in place.

    images: uint8 RGB [H, W, 3]. The statistics are those of the first one. The threshold is that at which OBJECTS
    objects per image are detected, or all if there are fewer.
    """
    predictor.threshold = 1.0
    with register_module_forward_pre_hook(_settle_norm):
        predictor.predict_batch(images[:1])
    found = [predictor.predict_batch([image], threshold=0.0)[0].scores for image in images]
    scores, count = np.sort(np.concatenate(found))[::-1], OBJECTS * len(images)
    # Between two scores, since their last digits differ from run to run.
    predictor.threshold = float(scores[count - 1 : count + 1].mean()) if len(scores) > count else 0.0


def _settle_norm(module: Any, inputs: tuple[Tensor, ...]) -> None:
    """Set the running statistics of a batch norm, frozen or not, to those of its input."""
    is_norm: bool = isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d)
    if is_norm and inputs[0].numel():
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        module.running_mean.copy_(mean)
        module.running_var.copy_(variance.clamp(min=1e-5))  # some eps are 0
