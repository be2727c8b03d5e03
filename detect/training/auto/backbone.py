"""Defaults of ``norm`` and ``freeze``: the parts of a pretrained backbone that training does not change."""

from __future__ import annotations

from detect.text import counted
from detect.training.auto.fitted_default import FittedDefault

_MIN_BATCH_FOR_STATISTICS = 16  # images per batch in each process from which batch statistics beat ImageNet's
_FEW_IMAGES = 1_000


def fit_norm(batch_size: int, *, pretrained: bool) -> FittedDefault[str]:
    """Return the kind of batch norm: ``frozen`` keeps the statistics of the pretrained weights, ``batch`` does not.

    batch_size: images per batch of one process, since batch norms do not see the other processes. Statistics of small
    batches are poor (Wu & He, https://arxiv.org/abs/1803.08494, figure 1).
    """
    if not pretrained:
        return FittedDefault("batch", "random weights have no statistics to keep")
    images = f"a batch of {counted(batch_size, 'image')}"
    if batch_size < _MIN_BATCH_FOR_STATISTICS:
        return FittedDefault("frozen", f"{images} has poorer statistics than the pretrained weights")
    return FittedDefault("batch", f"{images} has good statistics of its own")


def fit_frozen_stages(num_images: int, *, pretrained: bool, freezable: bool = True) -> FittedDefault[int]:
    """Return the number of early backbone stages whose weights stay fixed.

    freezable: whether the backbone is divided into stages that can be frozen.
    """
    if not pretrained:
        return FittedDefault(0, "random weights must all be trained")
    if not freezable:
        return FittedDefault(0, "this backbone has no stages that can be frozen separately")
    images = counted(num_images, "image")
    if num_images < _FEW_IMAGES:
        return FittedDefault(
            1, f"{images}: too few to improve the edge and color filters of the pretrained first stage"
        )
    return FittedDefault(0, f"{images}: enough to train the whole backbone")
