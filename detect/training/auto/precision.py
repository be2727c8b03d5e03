"""Default of ``amp``: mixed precision where the device supports it natively."""

from __future__ import annotations

import torch

from detect.runtime import has_bfloat16
from detect.training.auto.fitted_default import FittedDefault


def fit_mixed_precision(device: torch.device) -> FittedDefault[bool]:
    """Return True if ``device`` computes in bfloat16, which has the range of float32 and needs no loss scaling."""
    if has_bfloat16(device):
        return FittedDefault(True, f"this {device.type} computes in bfloat16")
    return FittedDefault(False, f"this {device.type} does not compute in bfloat16")
