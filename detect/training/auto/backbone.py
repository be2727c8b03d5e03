"""What of a backbone should stay as it came."""

from __future__ import annotations

from detect.training.auto.facts import Choice

_STATISTICS_FROM = 16  # images a step of one process, from which on their statistics are better than ImageNet's
_FEW_IMAGES = 1_000


def norms(batch_size: int, *, pretrained: bool) -> Choice[str]:
    """``frozen``: batch norms keep the statistics that came with the weights, or ``batch``: those of each step.

    batch_size: images a step of one process, since batch norms see no more. Small batches have poor statistics
    (Wu & He, arXiv 1803.08494, figure 1).
    """
    if not pretrained:
        return Choice("batch", "random weights come without statistics to keep")
    if batch_size < _STATISTICS_FROM:
        return Choice("frozen", f"{batch_size} images a step have poorer statistics than came with the weights")
    return Choice("batch", f"{batch_size} images a step have good statistics of their own")


def frozen_stages(images: int, *, pretrained: bool, freezable: bool = True) -> Choice[int]:
    """How many early stages of the backbone keep their weights; freezable: whether the backbone has such stages."""
    if not pretrained:
        return Choice(0, "random weights have all to learn")
    if not freezable:
        return Choice(0, "this backbone has no stages to freeze one by one")
    if images < _FEW_IMAGES:
        return Choice(1, f"{images} images teach edges and colors no better than came with the weights")
    return Choice(0, f"{images} images are enough to teach the whole backbone")
