"""Choice among the faster settings that are stored in a checkpoint: number of proposals and number format."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from detect.errors import UsageError
from detect.inference.exported_model import is_exported
from detect.models.architecture import Architecture
from detect.models.builder import max_detections_of, max_proposals_of, outline
from detect.models.checkpoint import Checkpoint
from detect.models.fast_settings import FastSettings
from detect.runtime import has_bfloat16


def fast_settings(saved: Checkpoint, name: str) -> FastSettings:
    """Return the faster settings of a checkpoint. ``name``: name of the model, for messages.

    Raises UsageError if none were measured, and CheckpointError if they are damaged.
    """
    settings = FastSettings.of(saved)
    if settings == FastSettings():
        raise UsageError(
            f"`fast`: no faster settings were measured for {name}; `python evaluate.py --tune-speed`, or"
            " detect.tune_speed in Python, measures them on val and stores them in a checkpoint"
        )
    return settings


def fastest_precision(settings: FastSettings, device: torch.device, quantized: Path | None = None) -> str:
    """Return the number format that ``precision='auto'`` stands for.

    It is the one that was measured to be the fastest on this type of device among those that lose at most
    MAX_PRECISION_LOSS points of AP; "fp32" if there is none.

    quantized: folder of the quantized export; None if there is none, or if it cannot be used.
    """
    native = {"bf16": has_bfloat16(device), "fp16": device.type == "cuda"}
    native["int8"] = quantized is not None and device.type == "cpu" and find_spec("openvino") is not None
    return next((one for one in settings.allowed_precisions(device.type) if native.get(one)), "fp32")


def int8_model(settings: FastSettings, checkpoint: Path | None) -> Path | None:
    """Return the folder of the quantized export of a checkpoint; None if it has none or the folder is gone."""
    if settings.int8_model is None or checkpoint is None:
        return None
    path = checkpoint.parent / settings.int8_model
    return path if is_exported(path) else None


def changed_settings(saved: Checkpoint, exported: Checkpoint) -> str:
    """Return in which settings an export differs from its checkpoint, such as "imgsz=96 instead of 64"; "" for none.

    exported: metadata of the export, a checkpoint without tensors.
    """
    own = outline(Architecture.from_json(saved.architecture), saved.num_rows)
    size, other = own.transform.input_size, exported.architecture
    pairs = {
        "imgsz": (size.short, other["min_size"]),
        "longest side": (size.long, other["max_size"]),
        "max_detections": (max_detections_of(own), other["max_detections"]),
        "proposals": (max_proposals_of(own), other["max_proposals"]),
    }
    return ", ".join(f"{name}={new} instead of {old}" for name, (old, new) in pairs.items() if new != old)
