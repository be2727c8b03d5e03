"""Defaults of ``epochs``, ``lr`` and ``warmup_steps``."""

from __future__ import annotations

import math

from detect.text import counted
from detect.training.auto.fitted_default import FittedDefault

_EPOCHS, _MIN_EPOCHS, _MAX_EPOCHS = 20, 12, 200
# A new head needs 1500 steps however small the dataset is. 90000 steps and 12 epochs are Detectron's 1x schedule for
# COCO (https://github.com/facebookresearch/Detectron/blob/main/MODEL_ZOO.md).
_MIN_STEPS, _MAX_STEPS = 1_500, 90_000
# From random weights, a schedule 3 times as long reaches the same AP (He, Girshick & Dollar, arXiv 1811.08883: 6x
# instead of 2x).
_RANDOM_WEIGHTS_FACTOR = 3


def fit_epochs(num_images: int, images_per_step: int, *, pretrained: bool) -> FittedDefault[int]:
    """Return the number of epochs: 20, but at least 1500 steps and at most 90,000, within 12 to 200 epochs.

    With random initial weights, all of these numbers are three times as high.

    num_images: images per epoch, repeated images counted each time.  images_per_step: over all processes.
    pretrained: whether training starts from pretrained weights.
    """
    factor = 1 if pretrained else _RANDOM_WEIGHTS_FACTOR
    steps = max(1, math.ceil(num_images / images_per_step))
    usual, low, high = (factor * n for n in (_EPOCHS, _MIN_EPOCHS, _MAX_EPOCHS))
    enough = math.ceil(factor * _MIN_STEPS / steps)
    affordable = max(low, factor * _MAX_STEPS // steps)
    epochs = min(high, affordable, max(usual, enough))
    total = f"{counted(epochs * steps, 'step')}, {steps} per epoch"
    if epochs == usual:
        why = ""
    elif epochs == high:
        why = f"; more than {high} epochs do not help"
    elif epochs > usual:
        why = f"; even a small dataset needs {factor * _MIN_STEPS} steps"
    else:
        why = f"; {low} epochs or {factor * _MAX_STEPS} steps suffice for a large dataset"
    return FittedDefault(epochs, total + why + ("" if pretrained else "; 3 times as many as with pretrained weights"))


def fit_learning_rate(optimizer: str, images_per_step: int) -> FittedDefault[float]:
    """Return the peak learning rate of ``sgd`` or ``adamw``; images_per_step counts all processes."""
    images = counted(images_per_step, "image")
    if optimizer == "adamw":
        # Square-root scaling: Malladi et al., https://arxiv.org/abs/2205.10287.
        rate = round(0.0002 * math.sqrt(images_per_step / 2), 6)
        return FittedDefault(rate, f"0.0002 for 2 images per step, scaled by the square root to {images}")
    # Linear scaling: Goyal et al., https://arxiv.org/abs/1706.02677, with 0.02 for Mask R-CNN at 16 images per step. A
    # short fine-tuning with small steps tolerates, and needs, a rate per image that is four times as high.
    if images_per_step < 4:
        return FittedDefault(0.005 * images_per_step, f"0.005 per image, {images} per step")
    if images_per_step <= 16:
        return FittedDefault(0.02, f"0.005 per image, at most 0.02, the usual rate for 16; {images} per step")
    return FittedDefault(0.00125 * images_per_step, f"0.02 for 16 images per step, scaled linearly to {images}")


def fit_warmup_steps(num_steps: int, images_per_step: int) -> FittedDefault[int]:
    """Return the number of linear warm-up steps of a training with ``num_steps`` steps."""
    # Goyal et al., https://arxiv.org/abs/1706.02677, warm up over 500 steps with large batches.
    limit = 100 if images_per_step <= 16 else 500
    if num_steps < 10 * limit:
        return FittedDefault(num_steps // 10, f"a tenth of {counted(num_steps, 'step')}")
    return FittedDefault(
        limit, f"usual for {counted(images_per_step, 'image')} per step; {counted(num_steps, 'step')} in total"
    )
