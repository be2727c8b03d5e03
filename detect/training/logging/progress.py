"""Progress of a run in words: estimated time remaining, memory use, the line of a step and of an epoch."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_WINDOW = 100  # number of last steps whose mean duration predicts the remaining ones


class EtaEstimator:
    """Estimates the remaining time of a run from the duration of its last steps and of its last validation.

    epochs: number of epochs of the whole run.  steps: number of steps per epoch.
    clock: monotonic clock in seconds.
    """

    def __init__(self, epochs: int, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._epochs, self._steps, self._clock = epochs, steps, clock
        self._step_seconds: deque[float] = deque(maxlen=_WINDOW)
        self._validation_seconds: float | None = None
        self._steps_left, self._validations_left = epochs * steps, epochs
        self._last = clock()

    def start_epoch(self, finished_epochs: int, finished_steps: int = 0) -> None:
        """Start timing the next step of an epoch, of which ``finished_steps`` are done already."""
        self._validations_left = self._epochs - finished_epochs
        self._steps_left = self._validations_left * self._steps - finished_steps
        self._last = self._clock()

    def step_done(self) -> None:
        """Record the end of a step and start timing the next one."""
        now = self._clock()
        self._step_seconds.append(now - self._last)
        self._last = now
        self._steps_left -= 1

    @contextmanager
    def validation(self) -> Iterator[None]:
        """Measure the duration of the validation of an epoch, which runs inside the ``with`` block."""
        start = self._clock()
        yield
        self._validation_seconds = self._clock() - start
        self._validations_left -= 1

    @property
    def seconds_left(self) -> float | None:
        """Remaining seconds; None before the first step. Validations count only after the first one."""
        if not self._step_seconds:
            return None
        steps = self._steps_left * sum(self._step_seconds) / len(self._step_seconds)
        return steps + self._validations_left * (self._validation_seconds or 0.0)

    def left(self) -> str:
        """Return ``57 min left``; before the first validation ``at least 57 min left``, before the first step ""."""
        seconds = self.seconds_left
        if seconds is None:
            return ""
        return f"{'at least ' if self._validation_seconds is None else ''}{duration_in_words(seconds)} left"


def duration_in_words(seconds: float) -> str:
    """Return a duration in its two largest units: ``42 s``, ``1 min 2 s``, ``3 h 5 min``, ``2 d 4 h``."""
    left = max(0, round(seconds))
    if left >= 3600:  # rounded first, so that 1 h 59 min 59 s is 2 h
        left = round(left / 60) * 60
    if left >= 86400:
        left = round(left / 3600) * 3600
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts) or "0 s"


def peak_memory_bytes(device: str = "cpu") -> int | None:
    """Return the peak memory use so far in bytes, or None where the system does not report it.

    For a CUDA ``device`` this is the memory of torch's tensors on it; otherwise the resident memory of this process,
    without its loader processes.
    """
    if device.startswith("cuda"):
        import torch  # here, so that the memory of a process without torch can be measured

        return torch.cuda.max_memory_allocated(device)
    try:  # resource.getrusage, below, reports at least the size of the parent process at the fork
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        status = ""
    if match := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
        return int(match[1]) * 1024
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory_in_words(size: int | None) -> str:
    """Return a number of bytes as ``2.1 GB``, or "" for None."""
    return "" if size is None else f"{size / 1e9:.1f} GB"


def step_line(losses: Mapping[str, float], lr: float, left: str, memory: int | None) -> str:
    """Return the text after the progress bar of an epoch. The most important values come first: terminals cut the end.

    losses: by their names in metrics.jsonl; ``loss`` is their sum.  left: see ``EtaEstimator.left``.
    memory: in bytes.
    """
    parts = [f"{name.removeprefix('loss_')} {value:.3f}" for name, value in losses.items() if name != "loss"]
    words = [f"loss {losses['loss']:.3f}", left, memory_in_words(memory), f"lr {lr:.1e}", *parts]
    return ", ".join(word for word in words if word)


def epoch_line(row: Mapping[str, Any], epochs: int, scores: str, left: str, *, is_best: bool) -> str:
    """Return the line of an epoch: ``epoch 3/60  loss 1.234  val loss 1.310  bbox AP ...  best  1 min per epoch``.

    row: of metrics.jsonl.  scores: of ``coco_metrics.one_line``, "" without validation.
    left: see ``EtaEstimator.left``; omitted after the last epoch.
    """
    words = [f"epoch {row['epoch']}/{epochs}", f"loss {row['losses']['loss']:.3f}"]
    if val_losses := row.get("val_losses"):
        words.append(f"val loss {val_losses['loss']:.3f}")
    words += [scores] * bool(scores) + ["best"] * is_best
    took = [f"{duration_in_words(row['seconds'])} per epoch", left if row["epoch"] < epochs else ""]
    took.append(memory_in_words(row.get("memory_bytes")))
    return "  ".join([*words, ", ".join(word for word in took if word)])
