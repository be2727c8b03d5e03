"""What of a trunk should stay as it came."""

from __future__ import annotations

from detect.training.auto.facts import Choice

_STATISTICS_FROM = 16  # pictures a step of one process, from which on their statistics are better than ImageNet's
_FEW_PICTURES = 1_000


def norms(batch_size: int, *, pretrained: bool) -> Choice[str]:
    """``frozen``: batch norms keep the statistics that came with the weights, or ``batch``: those of each step.

    batch_size: pictures a step of one process, since batch norms see no more. Small batches have poor statistics
    (Wu & He, arXiv 1803.08494, figure 1).
    """
    if not pretrained:
        return Choice("batch", "random weights come without statistics to keep")
    if batch_size < _STATISTICS_FROM:
        return Choice("frozen", f"{batch_size} pictures a step have poorer statistics than came with the weights")
    return Choice("batch", f"{batch_size} pictures a step have good statistics of their own")


def frozen_stages(pictures: int, *, pretrained: bool, freezable: bool = True) -> Choice[int]:
    """How many early stages of the trunk keep their weights; freezable: whether the trunk has such stages."""
    if not pretrained:
        return Choice(0, "random weights have all to learn")
    if not freezable:
        return Choice(0, "this trunk has no stages to freeze one by one")
    if pictures < _FEW_PICTURES:
        return Choice(1, f"{pictures} pictures teach edges and colours no better than came with the weights")
    return Choice(0, f"{pictures} pictures are enough to teach the whole trunk")
