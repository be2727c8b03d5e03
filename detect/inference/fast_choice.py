"""Choice among the faster settings that are stored in a checkpoint: number of proposals and number format."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from detect.errors import UsageError
from detect.inference.exported_model import is_exported
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
            f"`fast`: no faster settings were measured for {name}; evaluate.py with the setting tune_speed, or"
            " detect.tune_speed in Python, measures them on val and stores them in a checkpoint"
        )
    return settings


def fastest_precision(settings: FastSettings, checkpoint: Path | None, device: torch.device, exported: bool) -> str:
    """Return the number format that ``precision='auto'`` stands for.

    It is the one that was measured to be the fastest on this type of device among those that lose at most
    MAX_PRECISION_LOSS points of AP; "fp32" if there is none.

    checkpoint: file of the checkpoint.
    exported: whether an exported model can be used; its image size, limits and NMS cannot be changed.
    """
    native = {"bf16": has_bfloat16(device), "fp16": device.type == "cuda", "int8": False}
    if exported and device.type == "cpu" and find_spec("openvino") is not None:
        native["int8"] = int8_model(settings, checkpoint) is not None
    return next((one for one in settings.allowed_precisions(device.type) if native.get(one)), "fp32")


def int8_model(settings: FastSettings, checkpoint: Path | None) -> Path | None:
    """Return the folder of the quantized export of a checkpoint; None if it has none or the folder is gone."""
    if settings.int8_model is None or checkpoint is None:
        return None
    path = checkpoint.parent / settings.int8_model
    return path if is_exported(path) else None
