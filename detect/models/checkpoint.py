"""Checkpoints: one .safetensors file that rebuilds its model without further settings and loads without pickle.

The tensors are the weights. Everything else is one metadata key, ``detect``, with sorted JSON, so that equal models
give equal bytes. The state that only resuming a training needs is a second file, read with ``weights_only=True``.
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

from detect import options
from detect.errors import CheckpointError
from detect.io.files import atomic_replacement, disk_errors_naming, write_bytes
from detect.models import architecture
from detect.models.weight_files.file_kinds import describe, starts_as_safetensors, starts_as_torch_file
from detect.structures.class_names import ClassNames
from detect.text import unknown

# 2 added models with a fixed input size, 3 renamed keys (RENAMED_KEYS), 4 added max_detections, 5 class_thresholds,
# 6 fast
FORMAT = 6
DEFAULT_THRESHOLD = 0.5  # minimum score of a detection, if neither the user nor the checkpoint states one
METADATA_KEY = "detect"
# Section of the header ("" for its top level) -> key in files of earlier versions -> key today.
RENAMED_KEYS: dict[str, dict[str, str]] = {
    "": {"colour_order": "channel_order"},  # vocabulary: old name
    "architecture": architecture.RENAMED_KEYS,
    "data": {"train_pictures": "train_images", "train_sha256": "train_fingerprint"},  # vocabulary: old name
    "training": options.RENAMED,
}


@dataclass(frozen=True)
class Checkpoint:
    """A trained model, as stored in a file.

    Attributes:
        state: parameter name -> tensor.
        architecture: arguments of ``detect.models.architecture.Architecture``.
        class_names: the classes that the model detects.
        class_rows: row of the classification layer for each label 1..K; None if row = label. torchvision's published
            COCO heads have 91 rows for 80 classes.
        threshold: minimum score, 0..1, of the detections that are shown by default.
        class_thresholds: class name -> minimum score, 0..1, which replaces ``threshold`` for that class.
        threshold_choice: how ``class_thresholds`` were chosen: dataset, split, rule and the like.
        fast: faster settings and what they cost, see ``detect.models.fast_settings``; empty if not measured.
        training: settings of the training run.
        data: name, number and digests of the training images, the median factor by which they were shrunk, and
            the median size of their objects.
        metrics: split -> COCO metric -> value in 0..1.
        versions: versions of torch and torchvision in training.

    Raises ValueError for a threshold outside 0..1 and for one of an unknown class.
    """

    state: dict[str, Tensor]
    architecture: dict[str, Any]
    class_names: ClassNames
    class_rows: tuple[int, ...] | None = None
    threshold: float = DEFAULT_THRESHOLD
    class_thresholds: dict[str, float] = field(default_factory=dict)
    threshold_choice: dict[str, Any] = field(default_factory=dict)
    fast: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, threshold in self.class_thresholds.items():
            if name not in self.class_names.names:
                raise ValueError(unknown("class", name, self.class_names.names))
            # Written as "not inside the range" because every comparison with NaN is false.
            if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 <= threshold <= 1:
                raise ValueError(f"the threshold of '{name}' must be a number in 0..1, not {threshold!r}")

    @property
    def num_rows(self) -> int:
        """Number of rows of the classification layer, including background."""
        return 1 + max(self.class_rows or (len(self.class_names),))


def versions() -> dict[str, str]:
    """Return the installed versions of the libraries that compute the weights."""
    return {name: version(name) for name in ("torch", "torchvision")}


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically: after a crash the file is the complete old or the complete new one.

    Raises DiskError.
    """
    write_bytes(path, to_bytes(checkpoint))


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """Return the content of a checkpoint's file.

    The bytes are written by ``save``. ``safetensors.torch.save_file`` is not used, because after a crash it leaves a
    temporary file that cannot be attributed to this program.
    """
    metadata = {METADATA_KEY: description_of(checkpoint)}
    # safetensors refuses channels-last and shared tensors; contiguous() copies where needed.
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.state.items()}
    return safetensors.torch.save(state, metadata)


def description_of(checkpoint: Checkpoint) -> str:
    """Return everything but the tensors as JSON, for ``parse``."""
    header = {k: v for k, v in checkpoint.__dict__.items() if k != "state"}
    header |= {"class_names": asdict(checkpoint.class_names), "format": FORMAT, "channel_order": "RGB"}
    return json.dumps(header, sort_keys=True)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint. Half-precision weights are converted to float32, keys of earlier versions to today's.

    Raises CheckpointError for a missing or damaged file, one without a model description, and one of a newer version.
    """
    return load_with_stored_tensors(path)[0]


def load_with_stored_tensors(path: Path) -> tuple[Checkpoint, dict[str, Tensor]]:
    """Return what ``load`` returns, and the tensors as they are stored, half precision included."""
    if not path.is_file():
        raise CheckpointError(f"no such checkpoint: {path}")
    state, description = read_safetensors(path)
    if description is None:
        raise CheckpointError(
            f"{path} holds weights but no model description; such a file can only start a training, as `pretrained`"
        )
    return parse(path, state, description), state


def parse(path: Path, state: dict[str, Tensor], description: str) -> Checkpoint:
    """Return the checkpoint with the given tensors and model description (JSON), as ``read_safetensors`` returns them.

    path: the file, for messages. Raises CheckpointError for an invalid description.
    """
    state = {name: t.float() if t.is_floating_point() else t for name, t in state.items()}
    try:
        header = _with_current_keys(json.loads(description))
        if header.pop("format") > FORMAT:
            raise CheckpointError(f"{path} was written by a newer version of this program; update it to read the file")
        header.pop("channel_order")
        header["class_names"] = ClassNames(**header["class_names"])
        header["class_rows"] = tuple(header["class_rows"]) if header["class_rows"] else None
        return Checkpoint(state=state, **header)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} has a damaged model description ({type(error).__name__}: {error}); copy or download it again"
        ) from None


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """Return the tensors of a .safetensors file, and the JSON with the model description if it is a checkpoint.

    Raises CheckpointError for a file of another format and for a damaged file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return state, (file.metadata() or {}).get(METADATA_KEY)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} {_not_safetensors(path, error)}") from None


def _not_safetensors(path: Path, error: Exception) -> str:
    """Return what a file is that safetensors cannot read: the end of a message that starts with its name."""
    try:
        if starts_as_safetensors(path):
            return f"is a damaged or incomplete .safetensors file ({error}); copy or download it again"
        if starts_as_torch_file(path):
            return "is a file of torch.save, not a checkpoint (.safetensors); it can start a training, as `pretrained`"
        return f"is not a checkpoint (.safetensors): it is {describe(path)}"
    except OSError as unreadable:
        return f"cannot be read: {unreadable.strerror}"


def _with_current_keys(header: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's header with the keys of RENAMED_KEYS replaced."""
    header = {RENAMED_KEYS[""].get(key, key): value for key, value in header.items()}
    for section, renamed in RENAMED_KEYS.items():
        if section in header:
            header[section] = {renamed.get(key, key): value for key, value in header[section].items()}
    return header


def to_half(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with float16 weights, half the size on disk.

    Batch norms stay float32, since a running variance can exceed the range of float16.
    """
    norms = {name.rpartition(".")[0] for name in checkpoint.state if name.endswith(".running_var")}
    state = {
        name: t.half() if t.is_floating_point() and name.rpartition(".")[0] not in norms else t
        for name, t in checkpoint.state.items()
    }
    return replace(checkpoint, state=state)


def save_training_state(values: dict[str, Any], path: Path) -> None:
    """Write plain values and tensors (no numpy arrays) atomically, for ``load_training_state``. Raises DiskError."""
    with disk_errors_naming(path), atomic_replacement(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(values, file)
        except RuntimeError as error:
            # torch hides the cause of a failed write, such as a full disk, behind "unexpected pos".
            if isinstance(error.__context__, OSError | KeyboardInterrupt):
                raise error.__context__ from None
            raise


def load_training_state(path: Path) -> dict[str, Any]:
    """Read a file of ``save_training_state``, without executing code of the file.

    Raises CheckpointError for a missing or unreadable file.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; expected a file with the state of a training run")
    if not path.exists():
        raise CheckpointError(f"no such file: {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises a dozen kinds, and its messages recommend weights_only=False, which runs code
        raise CheckpointError(f"{path} cannot be read: it is damaged, or not the state of a training run") from None
