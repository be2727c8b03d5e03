"""Where the time of a training step goes, told by the modules that it runs through."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer

READING, BACKWARD, OPTIMIZER = "reading and augmenting", "backward, clipping", "optimizer, average"
# Of detectors in two stages: what they run through, by the names that torchvision gives it. What lies in another one
# of them is taken off that.
_STAGES = {
    "transform": "resizing, padding",
    "backbone.body": "backbone",
    "backbone.fpn": "pyramid",
    "rpn.head": "region proposals: convolutions",
    "rpn": "region proposals: anchors, suppression, loss",
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
    """Adds up the seconds of every stage of the steps in ``watching`` blocks.

    For a CPU: elsewhere a module returns long before it is computed.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._parts = {name: part for name, part in model.named_modules() if name in _STAGES}
        self._model, self._optimizer = model, optimizer
        self._seconds: dict[str, float] = dict.fromkeys([*self._parts, BACKWARD, OPTIMIZER], 0.0)
        self._begun: dict[str, float] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A step is the block."""
        with ExitStack() as hooks:
            for name, part in self._parts.items():
                hooks.callback(part.register_forward_pre_hook(lambda *_, name=name: self._begin(name)).remove)
                hooks.callback(part.register_forward_hook(lambda *_, name=name: self._end(name)).remove)
            # From the losses to the optimizer all is backward, and from there to the block's end all is of its kind.
            hooks.callback(self._model.register_forward_hook(lambda *_: self._begin(BACKWARD)).remove)
            hooks.callback(self._optimizer.register_step_pre_hook(self._turn).remove)
            yield
            self._end(OPTIMIZER)

    def seconds(self) -> dict[str, float]:
        """By stage, in the order in which a step comes to them."""
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
