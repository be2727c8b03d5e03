"""Cost of a model: parameters, multiply-adds, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detect import progress

Key = TypeVar("Key", bound=Hashable)


def parameters(model: nn.Module) -> int:
    """Return the number of parameters. As in torchvision's ``num_params``, frozen batch norms have none."""
    return sum(p.numel() for p in model.parameters())


def multiply_adds(call: Callable[[], object]) -> int:
    """Return the multiply-adds of what ``call`` runs: convolutions and matrix products.

    A multiplication with its addition counts once, as in the GFLOPS that torchvision publishes (torch's counter counts
    both). Biases, norms, activations, resizing, RoIAlign and non-maximum suppression do not count, as there.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


def interleaved(calls: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, list[float]]:
    """Return the seconds of each call in each round. The calls take turns, so that other load affects all equally."""
    seconds: dict[Key, list[float]] = {name: [] for name in calls}
    for _ in progress.bar(range(rounds), desc="rounds"):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds
