"""What a model costs: parameters, multiply-adds, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detect import progress

Key = TypeVar("Key", bound=Hashable)


def parameters(model: nn.Module) -> int:
    """How many numbers training may change. As in torchvision's ``num_params``, frozen norms have none."""
    return sum(p.numel() for p in model.parameters())


def multiply_adds(call: Callable[[], object]) -> int:
    """The multiply-adds of what ``call`` runs: convolutions and matrix products, each pair of one multiplication and
    one addition counted once, as torchvision counts its published GFLOPS. (torch's counter counts both.)

    Not counted, as there: biases, norms, activations, resizing, RoIAlign, non-maximum suppression.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


def interleaved(calls: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, list[float]]:
    """Seconds that each of ``calls`` took in each of ``rounds``. They take turns, so that what else the machine does
    falls on all alike. Warm them up before."""
    seconds: dict[Key, list[float]] = {name: [] for name in calls}
    for _ in progress.bar(range(rounds), desc="rounds"):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds
