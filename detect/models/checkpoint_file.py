"""Changes to the metadata of a checkpoint file after the training."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detect.errors import DiskError, UsageError
from detect.io.files import write_bytes
from detect.io.links import is_link, publishable_link
from detect.models import checkpoint
from detect.models.checkpoint import Checkpoint
from detect.models.weight_files.file_kinds import starts_as_safetensors
from detect.models.zoo import BUNDLED, DETECTORS, check_model, is_openvino_folder

# Suffix of a file that can be a model elsewhere -> what it is.
_OTHER_FILES = {
    ".json": "a JSON file",
    ".onnx": "an ONNX model",
    ".pt": "a file of bare weights",
    ".pth": "a file of bare weights",
}


def write_thresholds(model: str | Path, thresholds: Mapping[str, float], choice: Mapping[str, Any]) -> None:
    """Store minimum scores of classes in a checkpoint file. Whoever loads it uses them by default from then on.

    model: path of the checkpoint.
    thresholds: class name -> minimum score, 0..1. They replace all former ones; a class without an entry has the
        ``threshold`` of the checkpoint.
    choice: how they were chosen, as plain values for JSON, such as ``{"dataset": "balloon", "split": "val"}``.

    Raises UsageError for an unknown class and a threshold outside 0..1, and what ``own_checkpoint`` and
    ``change_checkpoint`` raise.
    """
    path = own_checkpoint(model, "thresholds")
    numbers = {name: value.item() if isinstance(value, np.generic) else value for name, value in thresholds.items()}
    try:
        change_checkpoint(path, lambda saved: replace(saved, class_thresholds=numbers, threshold_choice=dict(choice)))
    except ValueError as error:
        raise UsageError(f"thresholds for {path}: {error}") from None


def change_checkpoint(path: Path, change: Callable[[Checkpoint], Checkpoint]) -> None:
    """Replace a checkpoint file by one with other metadata and the same tensors, bit by bit, in one step.

    change: returns the changed Checkpoint; its ``state`` is ignored.
    Raises CheckpointError for a damaged file, DiskError, and what ``change`` raises.
    """
    write_bytes(path, _changed(path, change))


def _changed(path: Path, change: Callable[[Checkpoint], Checkpoint]) -> bytes:
    """Return the new content of the file.

    The tensors are out of scope when it returns, since Windows cannot replace a file that is mapped into memory.
    """
    saved, state = checkpoint.load_with_stored_tensors(path)
    return checkpoint.to_bytes(replace(change(saved), state=state))


def own_checkpoint(model: str | Path, what: str) -> Path:
    """Return the path of a checkpoint file of the user, in which ``what`` can be stored. The file is not read.

    what: what is to be stored, for messages, such as "thresholds".
    Raises UsageError for any other model (a bundled or published one, a URL, a file of another format),
    CheckpointError for a missing file or a folder, and DiskError for a folder that is not writable.
    """
    name = str(model)
    if kind := _other_kind(name):
        raise UsageError(
            f"{what} are stored in a checkpoint (.safetensors); {publishable_link(name)} is {kind}; give"
            " the path of a checkpoint that you trained"
        )
    check_model(name)
    path = Path(name)
    if not os.access(path.parent, os.W_OK):
        raise DiskError(f"{what} cannot be stored in {path}: its folder is not writable")
    return path


def _other_kind(name: str) -> str | None:
    """Return what a model is in words, if it is not a checkpoint file of the user; None if it may be one."""
    if name in BUNDLED:
        return "a bundled model"
    if name in DETECTORS:
        return "a model of torchvision"
    if is_link(name):
        return "a URL; download the file and give its path"
    if is_openvino_folder(name):
        return "an exported model"
    # os.path, since Path raises for names that are too long.
    if not os.path.isfile(name) or Path(name).suffix == ".safetensors" or starts_as_safetensors(Path(name)):  # noqa: PTH113
        return None
    return _OTHER_FILES.get(Path(name).suffix.lower(), "a file of another format")
