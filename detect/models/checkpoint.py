"""A checkpoint: one .safetensors file that rebuilds its model with no other flag and loads without pickle.

The weights are the tensors; everything else is one metadata key, ``detect``, holding sorted JSON (several keys
would make the bytes of equal files differ). What only ``--resume`` needs stands in a second file, read with
``weights_only=True``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from detect.errors import CheckpointError
from detect.io.files import atomic_replacement, disk_errors_naming, write_bytes
from detect.structures.class_names import ClassNames

FORMAT = 2  # 1 knew no models of one size
DEFAULT_THRESHOLD = 0.5  # of the score, where neither flag nor checkpoint names one
_KEY = "detect"
# Names in checkpoints of earlier versions, and the names that replaced them.
RENAMED_KEYS = {"colour_order": "channel_order", "train_pictures": "train_images", "colours": "color"}


@dataclass(frozen=True)
class Checkpoint:
    """A model at rest.

    state: parameter name -> tensor.  architecture: the arguments of detect.models.architecture.Architecture.
    class_rows: for each label 1..K the row of the box head that scores it; None when row = label. The published
        COCO heads have 91 rows for 80 classes.
    threshold: the score from which on a detection is shown by default, 0..1.
    training: settings of the run.  data: what it was trained on.  metrics: COCO's names -> 0..1, a split each.
    """

    state: dict[str, Tensor]
    architecture: dict[str, Any]
    class_names: ClassNames
    class_rows: tuple[int, ...] | None = None
    threshold: float = DEFAULT_THRESHOLD
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """Rows of the box head: background and classes."""
        return 1 + max(self.class_rows or (len(self.class_names),))


def versions() -> dict[str, str]:
    """The versions of what computed the weights."""
    return {name: version(name) for name in ("torch", "torchvision")}


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write atomically: a killed process, a full disk and a power cut leave the old file or the new one, whole.

    Raises DiskError.
    """
    write_bytes(path, to_bytes(checkpoint))


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The content of its file. safetensors could write one too, but beside it a temporary file of its own, which
    nobody could tell from another's where the process is killed."""
    header = {k: v for k, v in checkpoint.__dict__.items() if k != "state"}
    header |= {"class_names": asdict(checkpoint.class_names), "format": FORMAT, "channel_order": "RGB"}
    metadata = {_KEY: json.dumps(header, sort_keys=True)}
    # safetensors refuses channels-last and shared tensors; contiguous() copies where needed.
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.state.items()}
    return safetensors.torch.save(state, metadata)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; half-precision weights become float32. CheckpointError where it is not one of ours."""
    if not path.is_file():
        raise CheckpointError(f"no such checkpoint: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a checkpoint (a .safetensors file), or it is damaged: {error}") from None
    if _KEY not in metadata:
        raise CheckpointError(f"{path} holds weights but no model description; give it to train.py as --pretrained")
    state = {name: t.float() if t.is_floating_point() else t for name, t in state.items()}
    try:
        header = _with_new_names(json.loads(metadata[_KEY]))
        if header.pop("format") > FORMAT:
            raise CheckpointError(f"{path} was written by a newer version of this program; update it to read the file")
        header.pop("channel_order")
        header["class_names"] = ClassNames(**header["class_names"])
        header["class_rows"] = tuple(header["class_rows"]) if header["class_rows"] else None
        return Checkpoint(state=state, **header)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has a damaged model description: {error!r}") from None


def _with_new_names(header: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's header in which the keys of RENAMED_KEYS have their new names, at every level."""
    return {
        RENAMED_KEYS.get(key, key): _with_new_names(value) if isinstance(value, dict) else value
        for key, value in header.items()
    }


def to_half(checkpoint: Checkpoint) -> Checkpoint:
    """The same with float16 weights, half the size on disk. The statistics and scales of batch norms stay float32,
    since a running variance can lie outside the range of float16."""
    norms = {name.rpartition(".")[0] for name in checkpoint.state if name.endswith(".running_var")}
    state = {
        name: t.half() if t.is_floating_point() and name.rpartition(".")[0] not in norms else t
        for name, t in checkpoint.state.items()
    }
    return replace(checkpoint, state=state)


def save_training_state(values: dict[str, Any], path: Path) -> None:
    """Write plain values and tensors (no numpy) atomically; see ``load_training_state``. Raises DiskError."""
    with disk_errors_naming(path), atomic_replacement(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(values, file)
        except RuntimeError as error:  # which says "unexpected pos", and why only in what came before it
            if isinstance(error.__context__, OSError | KeyboardInterrupt):
                raise error.__context__ from None
            raise


def load_training_state(path: Path) -> dict[str, Any]:
    """What ``--resume`` or ``--replay`` needs; CheckpointError where the file is missing or broken."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, and no file that a training kept")
    if not path.exists():
        raise CheckpointError(f"no such file: {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises a dozen kinds, in words that advise against what keeps files from running code
        raise CheckpointError(f"{path} cannot be read: it is broken, or no file that a training kept") from None
