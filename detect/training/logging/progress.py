"""How fast a run goes, how long it takes yet and how much memory it has had, in figures and in words."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_STEPS = 100  # the last ones, whose mean tells how long the next ones take


class Pace:
    """How long a run takes yet, from how long its last steps and its last validation took.

    epochs: of the whole run.  steps: of each epoch.  clock: seconds that only grow.
    """

    def __init__(self, epochs: int, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._epochs, self._steps, self._clock = epochs, steps, clock
        self._seconds: deque[float] = deque(maxlen=_STEPS)  # of each step
        self._validation: float | None = None
        self._steps_left, self._validations_left = epochs * steps, epochs
        self._last = clock()

    def begin_epoch(self, finished: int, steps: int = 0) -> None:
        """The next step of an epoch begins now; ``finished`` epochs and ``steps`` of its own are behind it."""
        self._validations_left = self._epochs - finished
        self._steps_left = self._validations_left * self._steps - steps
        self._last = self._clock()

    def step(self) -> None:
        """A step has ended, and the next one begins."""
        now = self._clock()
        self._seconds.append(now - self._last)
        self._last = now
        self._steps_left -= 1

    @contextmanager
    def validation(self) -> Iterator[None]:
        """The validation of an epoch is the block."""
        start = self._clock()
        yield
        self._validation = self._clock() - start
        self._validations_left -= 1

    @property
    def seconds_left(self) -> float | None:
        """None before the first step; without the validations before the first of them."""
        if not self._seconds:
            return None
        steps = self._steps_left * sum(self._seconds) / len(self._seconds)
        return steps + self._validations_left * (self._validation or 0.0)

    def left(self) -> str:
        """``57 min left``; ``over 57 min left`` before the first validation; nothing before the first step."""
        seconds = self.seconds_left
        if seconds is None:
            return ""
        return f"{'over ' if self._validation is None else ''}{in_words(seconds)} left"


def in_words(seconds: float) -> str:
    """A duration in its two largest units: ``42 s``, ``1 min 2 s``, ``3 h 5 min``, ``2 d 4 h``."""
    left = max(0, round(seconds))
    if left >= 3600:  # rounded first, so that 1 h 59 min 59 s are 2 h
        left = round(left / 60) * 60
    if left >= 86400:
        left = round(left / 3600) * 3600
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts) or "0 s"


def memory_bytes(device: str = "cpu") -> int | None:
    """The most memory in use at any moment so far, None where the system does not tell.

    Of a CUDA ``device`` what torch's tensors took there; else what this process took, without its loader processes.
    """
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:  # resource, below, gives a process that a larger one started the size of that
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        status = ""
    if found := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory_in_words(size: int | None) -> str:
    """``2.1 GB``; nothing where it is not known."""
    return "" if size is None else f"{size / 1e9:.1f} GB"


def step_line(losses: Mapping[str, float], rate: float, left: str, memory: int | None) -> str:
    """What stands behind the bar of an epoch: what matters most first, since a narrow terminal cuts the rest off.

    losses: by their names in metrics.jsonl, ``loss`` their sum.  rate: of learning.  left: see ``Pace.left``.
    """
    parts = [f"{name.removeprefix('loss_')} {value:.3f}" for name, value in losses.items() if name != "loss"]
    words = [f"loss {losses['loss']:.3f}", left, memory_in_words(memory), f"lr {rate:.1e}", *parts]
    return ", ".join(word for word in words if word)


def epoch_line(row: Mapping[str, Any], epochs: int, scores: str, left: str, *, is_best: bool) -> str:
    """What is printed of an epoch: ``epoch 3/60  loss 1.234  val loss 1.310  bbox AP ...  best  1 min an epoch, ...``.

    row: as in metrics.jsonl.  scores: ``coco.one_line``.  left: see ``Pace.left``; left out after the last epoch.
    """
    words = [f"epoch {row['epoch']}/{epochs}", f"loss {row['losses']['loss']:.3f}"]
    if val_losses := row.get("val_losses"):
        words.append(f"val loss {val_losses['loss']:.3f}")
    words += [scores, *(["best"] if is_best else [])]
    took = [f"{in_words(row['seconds'])} an epoch", left if row["epoch"] < epochs else ""]
    took.append(memory_in_words(row.get("memory")))
    return "  ".join([*words, ", ".join(word for word in took if word)])
