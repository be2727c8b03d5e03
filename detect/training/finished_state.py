"""The resume state of a finished run: the position and the settings of the run, without tensors.

While a run is trained, its state holds the weights, the momentum of the optimizer and the EMA, two to four times the
size of a checkpoint. Once the run has finished, they are only needed if somebody adds epochs. So the state is reduced
to some kB then. More epochs start from the weights in last.safetensors, and the momentum builds up anew in the first
steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from detect.errors import CheckpointError
from detect.models import checkpoint

WEIGHTS = ("model", "ema")  # entries of a full state whose tensors a checkpoint replaces
NUM_AVERAGED = "num_averaged"  # steps in the EMA of a reduced state


def reduced(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state without its tensors. ``completed`` reverses this, but for the momentum."""
    small = {key: value for key, value in state.items() if key not in WEIGHTS}
    small["optimizer"] = state["optimizer"] | {"state": {}}
    if "ema" in state:
        small[NUM_AVERAGED] = int(state["ema"]["n_averaged"])
    return small


def is_reduced(state: dict[str, Any]) -> bool:
    """Return whether a state is that of a finished run."""
    return "model" not in state


def completed(state: dict[str, Any], last: Path) -> dict[str, Any]:
    """Return a reduced state with the weights of ``last``, the checkpoint of its epoch.

    Model and EMA both get the weights of the checkpoint. Raises CheckpointError for a missing or damaged checkpoint,
    and for one of another epoch.
    """
    try:
        saved = checkpoint.load(last)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; a finished run keeps its weights there alone") from None
    if (epoch := saved.training.get("epoch")) != state["epoch"]:
        raise CheckpointError(
            f"{last} is of epoch {epoch}, but the run has finished {state['epoch']}; its state holds no weights, so it"
            " cannot be continued"
        )
    full = state | {"model": saved.state}
    if (count := full.pop(NUM_AVERAGED, None)) is not None:
        averaged = {f"module.{name}": tensor for name, tensor in saved.state.items()}
        full["ema"] = averaged | {"n_averaged": torch.tensor(count)}
    return full
