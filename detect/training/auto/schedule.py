"""How long to train, and with which steps."""

from __future__ import annotations

import math

from detect.training.auto.facts import Choice

_EPOCHS, _LEAST_EPOCHS, _MOST_EPOCHS = 20, 12, 200
# What a new head needs however small the data are, and what Detectron takes for all of COCO (its 1x schedule, of 12
# epochs, https://github.com/facebookresearch/Detectron/blob/main/MODEL_ZOO.md).
_LEAST_STEPS, _MOST_STEPS = 1_500, 90_000
# From random weights three times the schedule comes as far (He, Girshick & Dollár, arXiv 1811.08883: 6x for 2x).
_FROM_RANDOM = 3


def epochs(images: int, batch_size: int, *, pretrained: bool) -> Choice[int]:
    """How often to see every image: 20 times, more for a set that makes few steps, fewer for one that makes many.

    images: in an epoch, with those that come again.  batch_size: images a step, of all processes together.
    """
    times = 1 if pretrained else _FROM_RANDOM
    a_pass = max(1, math.ceil(images / batch_size))
    usual, least, most = (times * n for n in (_EPOCHS, _LEAST_EPOCHS, _MOST_EPOCHS))
    enough = math.ceil(times * _LEAST_STEPS / a_pass)
    affordable = max(least, times * _MOST_STEPS // a_pass)
    chosen = min(most, affordable, max(usual, enough))
    steps = f"{chosen * a_pass} steps, {a_pass} an epoch"
    if chosen == usual:
        why = ""
    elif chosen == most:
        why = "; no image need be seen more often"
    elif chosen > usual:
        why = f"; a small set takes {times * _LEAST_STEPS} too"
    else:
        why = f"; {least} epochs or {times * _MOST_STEPS} steps do for a large set"
    return Choice(chosen, steps + why + ("" if pretrained else ", three times as many from random weights"))


def learning_rate(optimizer: str, batch_size: int) -> Choice[float]:
    """The highest learning rate of ``sgd`` or ``adamw``; batch_size: images a step, of all processes together."""
    images = "1 image" if batch_size == 1 else f"{batch_size} images"
    if optimizer == "adamw":
        # Square root: Malladi et al., arXiv 2205.10287.
        rate = round(0.0002 * math.sqrt(batch_size / 2), 6)
        return Choice(rate, f"0.0002 for 2 images a step, with the square root of their number, here {images}")
    # Linear: Goyal et al., arXiv 1706.02677, who have 0.02 for Mask R-CNN at 16 images. A short fine-tuning of few
    # images a step bears, and needs, four times as much an image.
    if batch_size < 4:
        return Choice(0.005 * batch_size, f"0.005 an image, {images} a step")
    if batch_size <= 16:
        return Choice(0.02, f"0.005 an image up to 0.02, the usual rate for 16; {images} a step")
    return Choice(0.00125 * batch_size, f"0.02 for 16 images a step, in proportion for {batch_size}")


def warmup_steps(steps: int, batch_size: int) -> Choice[int]:
    """Steps of linear warm-up in a training of ``steps``."""
    # Goyal et al., arXiv 1706.02677, warm a large batch up over 500 steps.
    most = 100 if batch_size <= 16 else 500
    if steps < 10 * most:
        return Choice(steps // 10, f"a tenth of the {steps} steps")
    return Choice(most, f"what a step of {batch_size} images takes, of {steps} steps")
