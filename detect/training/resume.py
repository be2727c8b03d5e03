"""Resuming a run: names in files of earlier versions, and the checks that a run can continue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detect.errors import UsageError
from detect.options import RENAMED as RENAMED_SETTINGS
from detect.text import counted, first_few

SETTINGS_FILE = "settings.yaml"
AUGMENTATION = "augmentation."  # prefix of the strengths of augmentations in the settings of a state
_FORMER_AUGMENTATION = "--aug's "
# Keys of the state in last_state.pt of earlier versions, and the keys that replaced them.
RENAMED_STATE_KEYS = {
    "average": "ema",
    "best": "best_score",
    "processes": "num_processes",
    "seconds": "epoch_seconds",
    "within": "epoch_progress",
}
_RENAMED_AUGMENTATION = RENAMED_SETTINGS | {"light": "brightness_contrast", "wear": "noise_jpeg"}
# Settings of train.py that select another program than training; files of earlier versions list them with null.
_NOT_IN_CONFIG = {"overfit", "debug_step"}


def translate_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a run of any version with the current names, as in its settings.yaml and its state."""
    translated = {}
    for key, value in settings.items():
        if key.startswith(_FORMER_AUGMENTATION):
            name = key.removeprefix(_FORMER_AUGMENTATION)
            translated[AUGMENTATION + _RENAMED_AUGMENTATION.get(name, name)] = value
        elif (name := RENAMED_SETTINGS.get(key, key)) not in _NOT_IN_CONFIG:
            translated[name] = value
    return translated


def translate_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resume state of any version with the current names."""
    translated = {RENAMED_STATE_KEYS.get(key, key): value for key, value in state.items()}
    for key in ("settings", "reasons"):
        if key in translated:
            translated[key] = translate_settings(translated[key])
    return translated


def check_resumable(
    folder: Path,
    saved: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    class_names: Sequence[str],
    num_processes: int,
) -> None:
    """Raise UsageError if a run cannot continue with these settings, classes and number of processes.

    saved: metadata in the state of the run.  settings: see ``TrainConfig.settings_to_compare``.
    """
    if (processes := saved.get("num_processes", 1)) != num_processes:
        start = "without torchrun" if processes == 1 else f"with torchrun --nproc_per_node={processes}"
        raise UsageError(
            f"{folder} was trained by {counted(processes, 'process', 'processes')}, not {num_processes}, and its "
            f"batches depend on this number; resume it {start}"
        )
    former = saved.get("settings", {})
    changed = sorted(k for k in former.keys() & settings.keys() - {"epochs"} if former[k] != settings[k])
    if changed:
        changes = first_few(f"{name} is {settings[name]}, and was {former[name]}" for name in changed)
        raise UsageError(
            f"{folder / SETTINGS_FILE} was changed after training started: {changes}; restore the former values, "
            "or start a new run with these settings"
        )
    if saved["class_names"] != list(class_names):
        raise UsageError(
            f"{folder} was trained on the classes {saved['class_names']}, but the dataset has {list(class_names)}"
        )
