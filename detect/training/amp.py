"""Mixed precision: the convolutions and linear layers in 16 bits, losses and boxes in 32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from detect.errors import UsageError

# What is run in 16 bits where a detector has it; the rest (anchors, matching, RoIAlign, losses) is neither much nor
# safe: a box at x = 1000 has steps of 4 pixels in bfloat16. Of rpn.head, on a CPU, it is the look at all places, not
# the second one at those that the loss samples (detect/models/cpu/rpn.py).
_PARTS = ("backbone", "rpn.head", "head", "roi_heads.box_head", "roi_heads.box_predictor")
_MASK_PARTS = (
    "roi_heads.mask_head",
    "roi_heads.mask_predictor",
    "roi_heads.keypoint_head",
    "roi_heads.keypoint_predictor",
)


def half_type(device: torch.device) -> torch.dtype:
    """The 16-bit numbers that ``device`` is quick with: bfloat16 where it has it, else float16, whose gradients need a
    scaler. UsageError for a device that has neither: on such a CPU both are tens of times slower than float32."""
    if has_bfloat16(device):
        return torch.bfloat16
    if device.type == "cuda":
        return torch.float16
    raise UsageError(f"--amp: {device.type} has no quick 16-bit arithmetic here; leave it out, or use a GPU")


def has_bfloat16(device: torch.device) -> bool:
    """Whether it computes in them; of CPUs those of x86 with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _cpu_has_bfloat16()


def _cpu_has_bfloat16() -> bool:
    tests = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(test() for test in tests if test)


@contextmanager
def mixed(model: nn.Module, dtype: torch.dtype | None) -> Iterator[None]:
    """In the block the layers of ``model`` run in ``dtype``, and hand on float32; with None nothing changes."""
    if dtype is None:
        yield
        return
    kind = next(model.parameters()).device.type
    parts = dict(model.named_modules())
    with ExitStack() as stack:
        for name in (*_PARTS, *_MASK_PARTS):
            if part := parts.get(name):
                cast = _Cast(kind, dtype)
                stack.callback(part.register_forward_pre_hook(cast.enter).remove)
                stack.callback(part.register_forward_hook(cast.leave, always_call=True).remove)
        yield


class _Cast:
    """Autocast around one module's forward."""

    def __init__(self, kind: str, dtype: torch.dtype) -> None:
        self.arguments: dict[str, Any] = {"device_type": kind, "dtype": dtype}
        self.open: list[torch.autocast] = []

    def enter(self, module: nn.Module, inputs: Any) -> None:
        context = torch.autocast(**self.arguments)
        context.__enter__()
        self.open.append(context)

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        self.open.pop().__exit__(None, None, None)
        return _float(output)


def _float(value: Any) -> Any:
    """Every tensor in a nest of lists, tuples and dicts as float32."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return type(value)((k, _float(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(_float(v) for v in value)
    return value
