"""What the device is good at."""

from __future__ import annotations

import torch

from detect.training import amp
from detect.training.auto.facts import Choice


def mixed_precision(device: torch.device) -> Choice[bool]:
    """Whether layers run in 16 bits: where ``device`` computes in bfloat16, which has float32's range and needs no
    scaler."""
    if amp.has_bfloat16(device):
        return Choice(True, f"this {device.type} computes in bfloat16; losses and boxes stay in float32")
    return Choice(False, f"this {device.type} does not compute in bfloat16")
