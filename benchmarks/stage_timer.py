"""Time of each stage of a training step on a CPU.

Other devices cannot be measured this way: a module returns there before its computation has finished.
"""

from __future__ import annotations

import time

from torch import nn
from torch.optim import Optimizer

READING, BACKWARD, OPTIMIZER = "reading and augmenting", "backward, clipping", "optimizer, EMA"
# Modules of two-stage detectors by their names in torchvision. Time in an inner module is not part of the outer one.
_MODULES = {
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


class StageTimer:
    """Measures the seconds of each stage and adds them up in ``seconds``, in the order of a step.

    One stage is measured at a time. The caller starts the stage ``READING``, and the stage None before it calls the
    model; time in None does not count. Hooks start the other stages. The backward pass is the time from the losses
    to the optimizer step.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        modules = dict(model.named_modules())
        parts = {modules[name]: stage for name, stage in _MODULES.items() if name in modules}
        self.seconds = dict.fromkeys([READING, *parts.values(), BACKWARD, OPTIMIZER], 0.0)
        self._stage: str | None = None
        self._outer: list[str | None] = []
        self._start = 0.0
        for part, stage in parts.items():
            part.register_forward_pre_hook(lambda *_, stage=stage: self._enter(stage))
            part.register_forward_hook(lambda *_: self.start(self._outer.pop()))
        model.register_forward_hook(lambda *_: self.start(BACKWARD))
        optimizer.register_step_pre_hook(lambda *_: self.start(OPTIMIZER))

    def start(self, stage: str | None) -> None:
        """End the current stage and start another one; None for time that does not count."""
        now = time.perf_counter()
        if self._stage is not None:
            self.seconds[self._stage] += now - self._start
        self._stage, self._start = stage, now

    def _enter(self, stage: str) -> None:
        self._outer.append(self._stage)
        self.start(stage)
