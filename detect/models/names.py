"""What ``--model`` may be, checked without torch, so that a mistyped name is answered at once."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from detect.errors import CheckpointError, UsageError
from detect.io.links import is_link
from detect.models.zoo import BACKBONES, BUNDLED, DETECTORS, TIMM, TRAINED_DETECTORS
from detect.text import unknown


def check_model(model: str) -> None:
    """Whether ``model`` is one to detect with: a name, or a checkpoint's file or web address.

    Raises UsageError for a name that is unknown or a backbone's and for weights that no model can be told from,
    CheckpointError for a file that is not there or is none.
    """
    if model in BUNDLED or model in DETECTORS:
        return
    if _is_backbone(model):
        raise UsageError(
            f"{model} is a backbone, which finds nothing by itself: train.py --backbone {model} makes a checkpoint to "
            "give as --model"
        )
    path = Path(urlsplit(model).path if is_link(model) else model)
    if path.suffix in (".pth", ".pt"):
        raise UsageError(
            f"--model {path.name} holds weights alone, not which model and classes they are of: start from it with "
            "train.py --pretrained, and give as --model the .safetensors file of that run"
        )
    # os.path, since Path raises for names that are too long.
    if is_link(model) or os.path.isfile(path):  # noqa: PTH113
        return
    if not model:  # a variable that the shell does not know
        raise UsageError("--model is empty; give a model's name, or a checkpoint's file or web address")
    if os.path.isdir(path):  # noqa: PTH112
        raise CheckpointError(f"{path} is a folder; name a .safetensors file in it")
    if not path.suffix and path.parent == Path():
        raise UsageError(unknown("model", model, (*BUNDLED, *DETECTORS)) + ", or a checkpoint file")
    raise CheckpointError(f"no such checkpoint: {path}")


def check_trained(model: str) -> None:
    """UsageError for a name that is not one of a whole model which train.py can train."""
    if model in TRAINED_DETECTORS:
        return
    if model in DETECTORS:
        raise UsageError(
            f"--model {model} is for detecting alone; whole models to train are {', '.join(TRAINED_DETECTORS)}"
        )
    if _is_backbone(model):
        raise UsageError(f"{model} is a backbone: give --backbone {model} in place of --model")
    raise UsageError(unknown("model", model, TRAINED_DETECTORS))


def _is_backbone(name: str) -> bool:
    return name in BACKBONES or name.startswith(TIMM)
