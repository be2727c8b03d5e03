"""Automatic mixed precision (AMP): convolutions and linear layers run in 16 bits, boxes and losses in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from detect.errors import UsageError
from detect.runtime import has_bfloat16

# Parts of a detector that run in 16 bits. Anchors, matching, RoIAlign and losses take little time, and 16 bits are not
# exact enough for them: bfloat16 coordinates near x = 1000 have steps of 4 pixels. On a CPU, rpn.head runs in 16 bits
# for its pass over all locations, but not for the pass over the sampled ones (detect/models/cpu/rpn.py).
_PARTS = (
    "backbone",
    "rpn.head",
    "head",
    "roi_heads.box_head",
    "roi_heads.box_predictor",
    "roi_heads.mask_head",
    "roi_heads.mask_predictor",
    "roi_heads.keypoint_head",
    "roi_heads.keypoint_predictor",
)


def half_dtype(device: torch.device) -> torch.dtype:
    """Return the 16-bit type that ``device`` computes natively: bfloat16, else float16 (which needs loss scaling).

    Raises UsageError if the device has neither: such a CPU emulates both and is tens of times slower than in float32.
    """
    if has_bfloat16(device):
        return torch.bfloat16
    if device.type == "cuda":
        return torch.float16
    raise UsageError(f"`amp=True`: this {device.type} has no native 16-bit arithmetic; use `amp=False` or a GPU")


@contextmanager
def autocast_layers(model: nn.Module, dtype: torch.dtype | None) -> Iterator[None]:
    """Run the layers of ``model`` in ``dtype`` inside the block; their outputs are float32. None changes nothing."""
    if dtype is None:
        yield
        return
    autocast = torch.autocast(next(model.parameters()).device.type, dtype)
    modules = dict(model.named_modules())
    with ExitStack() as stack:
        for part in filter(None, map(modules.get, _PARTS)):
            stack.callback(delattr, part, "forward")  # restores the method of the class
            part.forward = _float32_outputs(autocast(part.forward))
        yield


def _float32_outputs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` with its outputs converted to float32."""
    return lambda *arguments, **options: _to_float32(function(*arguments, **options))


def _to_float32(value: Any) -> Any:
    """Convert every floating-point tensor in nested lists, tuples and dicts to float32."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return type(value)((k, _to_float32(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(_to_float32(v) for v in value)
    return value
