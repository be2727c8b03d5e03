"""Reading a file of weights, whichever program wrote it, without running code of the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from detect.errors import CheckpointError
from detect.models.weight_files import architectures, file_kinds, state_dicts
from detect.models.weight_files.class_lists import ClassList, find_class_names
from detect.models.weight_files.pickle_values import as_dict
from detect.models.weight_files.state_dicts import StateDict, Tensors
from detect.models.weight_files.torch_files import TorchFileError, open_torch_file
from detect.structures.class_names import ClassNames
from detect.text import counted

_SAVE_STATE = 'torch.save(model.state_dict(), "weights.pth")'


@dataclass(frozen=True)
class FoundWeights:
    """Tensors of a file, and what the file says about them.

    Attributes:
        state: tensor name -> tensor, on the CPU.
        origin: for messages: where in the file they were found, and what was ignored; "" if there was nothing else.
        head: kind of detection head of torchvision, as in ``Architecture.head``; None without one.
        class_names, class_rows: as in ``detect.models.weights.Weights``.
    """

    state: dict[str, Tensor]
    origin: str = ""
    head: str | None = None
    class_names: ClassNames | None = None
    class_rows: tuple[int, ...] | None = None


def read_torch_file(
    path: Path, count_fitting: Callable[[Tensors], int] = state_dicts.count_plain_names
) -> FoundWeights:
    """Return the weights in a file of ``torch.save``: a state dict, or the training checkpoint of some program.

    count_fitting: returns how many tensors fit the model; it chooses among several dictionaries of tensors.

    Raises CheckpointError for every other file, saying what the file is.
    """
    if not file_kinds.starts_as_torch_file(path):
        raise CheckpointError(f"{path} is {file_kinds.describe(path)}")
    try:
        with open_torch_file(path) as file:
            if {"architecture", "optimizer", "schedule"} <= set(as_dict(file.content)):
                raise CheckpointError(
                    f"{path} is the resume state of a run, without class names; use last.safetensors beside it"
                )
            chosen = state_dicts.choose(file.content, count_fitting)
            if chosen is None:
                raise CheckpointError(f"{path} {_without_tensors(file.content)}")
            state = file.read(chosen.tensors)
            return found_weights(state, chosen, file.content)
    except TorchFileError as error:
        raise CheckpointError(f"{path} {error}") from None


def found_weights(state: dict[str, Tensor], chosen: StateDict, content: Any) -> FoundWeights:
    """Return the weights of a chosen dictionary of tensors.

    state: its tensors, read. content: value of the whole file.
    """
    head = architectures.recognize(state).head or None
    num_rows = count_class_rows(state)
    classes = find_class_names(content, num_rows) if num_rows else ClassList()
    origin = "; ".join(filter(None, (state_dicts.describe_origin(content, chosen, classes.key), classes.note)))
    return FoundWeights(state, origin, head, classes.names, classes.rows)


def count_class_rows(state: dict[str, Tensor]) -> int:
    """Return the number of rows of the classification layer, background included; 0 if there is no such layer."""
    scores = state.get("roi_heads.box_predictor.cls_score.weight")
    if scores is not None:
        return len(scores) if scores.ndim else 0
    scores = state.get("head.classification_head.cls_logits.weight")
    boxes = state.get("head.regression_head.bbox_reg.weight")
    if scores is None or boxes is None or not scores.ndim or not boxes.ndim:
        return 0
    anchors = len(boxes) // 4  # per location; each has its own rows
    return len(scores) // anchors if anchors and len(scores) % anchors == 0 else 0


def _without_tensors(content: Any) -> str:
    """Return the end of a message about a file that holds no dictionary of tensors."""
    module = state_dicts.has_module(content)
    if module.startswith(("ultralytics.", "models.yolo.")):
        return (
            f"holds a YOLO model of Ultralytics ({module}), another architecture, which cannot be used here; expected "
            "weights of torchvision or timm"
        )
    if module:
        return (
            f"holds a whole pickled module ({module}), which would run code of the file; save only its weights, in "
            f"the program that wrote it: {_SAVE_STATE}"
        )
    if any(map(state_dicts.is_unsupported_tensor, as_dict(content).values())):
        return "holds quantized or sparse tensors only; write the weights of the model before its quantization"
    arrays = state_dicts.array_names(content)
    if arrays:
        network = architectures.recognize(dict.fromkeys(arrays, _NoShape()))
        held = f"{counted(len(arrays), 'NumPy array')}, no tensors"
        if network.title:
            return f"holds {held}; it seems to be {network.title}; expected weights of torchvision or timm"
        return f"holds {held}; save them as tensors in the program that wrote it: {_SAVE_STATE}"
    return f"holds no dictionary of tensors; write the weights with {_SAVE_STATE}"


@dataclass(frozen=True)
class _NoShape:
    """Stands for an array of unknown shape."""

    shape: tuple[int, ...] = ()
