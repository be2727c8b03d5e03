"""Time of each stage of a training step, measured with hooks of the modules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer

READING, BACKWARD, OPTIMIZER = "reading and augmenting", "backward, clipping", "optimizer, EMA"
# Modules of two-stage detectors by their names in torchvision. The time of inner modules is subtracted.
_STAGES = {
    "transform": "resizing, padding",
    "backbone.body": "backbone",
    "backbone.fpn": "FPN",
    "rpn.head": "RPN: convolutions",
    "rpn": "RPN: anchors, NMS, loss",
    "roi_heads.box_roi_pool": "RoIAlign for boxes",
    "roi_heads.box_head": "box head",
    "roi_heads.mask_roi_pool": "RoIAlign for masks",
    "roi_heads.mask_head": "mask head: convolutions",
    "roi_heads.mask_predictor": "mask head: upsampling, logits",
    "roi_heads": "matching, sampling, losses",
}
_INSIDE = {
    "rpn": ("rpn.head",),
    "roi_heads": tuple(name for name in _STAGES if name.startswith("roi_heads.")),
}


class Stages:
    """Sums the seconds of every stage over the steps in ``measuring`` blocks.

    For CPUs only: on other devices a module returns before it is computed.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._parts = {name: part for name, part in model.named_modules() if name in _STAGES}
        self._model, self._optimizer = model, optimizer
        self._seconds: dict[str, float] = dict.fromkeys([*self._parts, BACKWARD, OPTIMIZER], 0.0)
        self._begun: dict[str, float] = {}

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure one step, the block."""
        with ExitStack() as hooks:
            for name, part in self._parts.items():
                hooks.callback(part.register_forward_pre_hook(lambda *_, name=name: self._begin(name)).remove)
                hooks.callback(part.register_forward_hook(lambda *_, name=name: self._end(name)).remove)
            # The time from the losses to the optimizer is the backward pass, the rest of the block the optimizer.
            hooks.callback(self._model.register_forward_hook(lambda *_: self._begin(BACKWARD)).remove)
            hooks.callback(self._optimizer.register_step_pre_hook(self._turn).remove)
            yield
            self._end(OPTIMIZER)

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage in the order of a step."""
        own = dict(self._seconds)
        for outer, inner in _INSIDE.items():
            if outer in own:
                own[outer] -= sum(self._seconds.get(name, 0.0) for name in inner)
        order = [*(name for name in _STAGES if name in own), BACKWARD, OPTIMIZER]
        return {_STAGES.get(name, name): own[name] for name in order}

    def _begin(self, name: str) -> None:
        self._begun[name] = time.perf_counter()

    def _end(self, name: str) -> None:
        if name in self._begun:
            self._seconds[name] += time.perf_counter() - self._begun.pop(name)

    def _turn(self, *_: Any) -> None:
        self._end(BACKWARD)
        self._begin(OPTIMIZER)
