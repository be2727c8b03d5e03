"""The dictionary of tensors among the values of a training checkpoint, and what else the checkpoint tells about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from detect.models.weight_files.pickle_values import Opaque, as_dict, attributes
from detect.models.weight_files.stored_tensors import StoredTensor
from detect.text import counted, first_few, one_line

# Tensor name -> tensor, either read or still in the file; only ``shape`` is used here.
Tensors = Mapping[str, Tensor | StoredTensor]

# Keys under which programs store the weights, the usual ones first; other keys are tried after them.
_KEYS = ("model", "state_dict", "model_state_dict", "model_state", "weights", "net", "network", "params", "module")
_AVERAGED = re.compile(r"ema|averaged|swa", re.IGNORECASE)
_NOT_WEIGHTS = re.compile(r"optim|sched|scaler|callbacks|loops|rng|momentum", re.IGNORECASE)
# What wrappers put before all names, and inside of them.
_PREFIXES = ("module.", "model.", "net.", "network.", "detector.", "ema_model.")
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_CONTAINERS = (dict, list, tuple, Opaque)
_MAX_DEPTH = 4
_MAX_DICTS = 1000
_MAX_TENSORS = 100_000  # in all dictionaries together; a file may refer to one dictionary over and over
# Keys of a checkpoint -> the program that writes it; the first line whose keys all occur counts.
_PROGRAMS = (
    ({"pytorch-lightning_version"}, "a Lightning checkpoint"),
    (
        {"model_state_dict", "optimizer_state_dict", "config", "train_loss_list"},
        "a checkpoint of sovit-123's pipeline",
    ),
    ({"model", "lr_scheduler", "args"}, "a torchvision training checkpoint"),
    ({"arch", "state_dict", "args"}, "a timm training checkpoint"),
    ({"model", "__author__"}, "a Detectron2 model"),
    ({"model", "iteration"}, "a Detectron2 checkpoint"),
    ({"meta", "state_dict"}, "an MMDetection checkpoint"),
    ({"model", "train_args", "version"}, "an Ultralytics checkpoint"),
)


@dataclass(frozen=True)
class StateDict:
    """A dictionary of tensors inside of a file.

    Attributes:
        path: keys that lead to it.
        tensors: its tensors, without the prefix of their names.
        prefix: what preceded all of their names.
        num_others: number of tensors beside them, whose names have another prefix.
        num_unsupported: number of tensors beside them that are quantized, sparse, or of another unsupported kind.
    """

    path: tuple[str, ...]
    tensors: dict[str, Any]
    prefix: str = ""
    num_others: int = 0
    num_unsupported: int = 0

    @property
    def is_averaged(self) -> bool:
        """Whether it holds averaged (EMA) weights beside the weights of the model."""
        return any(_AVERAGED.search(key) for key in (*self.path, self.prefix))


def count_plain_names(tensors: Tensors) -> int:
    """Return the number of tensors whose names have no prefix of a wrapper."""
    return sum(not name.startswith(_PREFIXES) for name in tensors)


def choose(content: Any, count_fitting: Callable[[Tensors], int] = count_plain_names) -> StateDict | None:
    """Return the dictionary of tensors with the most fitting ones; None if ``content`` has none.

    Averaged weights are returned only if the others fit less than half as well.

    content: value of a file.
    count_fitting: returns how many of the tensors fit the model.
    """
    found = [one for state in _all_dicts(content) for one in _without_prefixes(state)]
    if not found:
        return None
    counts = [count_fitting(one.tensors) if len(found) > 1 else 0 for one in found]
    best = max(counts)
    usual = [n for n, one in zip(counts, found, strict=True) if not one.is_averaged]
    if usual and 2 * max(usual) >= best:
        best = max(usual)
        found = [one for one, n in zip(found, counts, strict=True) if n == best and not one.is_averaged]
    else:
        found = [one for one, n in zip(found, counts, strict=True) if n == best]
    return min(found, key=lambda one: (*_rank(one.path), -len(one.tensors), len(one.prefix)))


def _rank(path: tuple[str, ...]) -> tuple[int, int]:
    """Return a number that is small for the usual keys, and the depth."""
    return max((_KEYS.index(key) if key in _KEYS else len(_KEYS) for key in path), default=0), len(path)


def _all_dicts(content: Any) -> Iterator[StateDict]:
    """Yield the dictionaries that hold tensors, down to _MAX_DEPTH, until they hold _MAX_TENSORS."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    total = 0
    for path, value in waiting:  # grows meanwhile
        children = (
            {f"item {i}": v for i, v in enumerate(value[:10])} if isinstance(value, list | tuple) else as_dict(value)
        )
        tensors = {k: t for k, t in children.items() if isinstance(k, str) and isinstance(t, Tensor | StoredTensor)}
        if tensors and total < _MAX_TENSORS:
            total += len(tensors)
            unsupported = sum(is_unsupported_tensor(child) for child in children.values())
            yield StateDict(path, {_WRAPPERS.sub("", k): t for k, t in tensors.items()}, num_unsupported=unsupported)
        if len(path) < _MAX_DEPTH and len(waiting) < _MAX_DICTS:
            waiting += [
                ((*path, one_line(key)), child)
                for key, child in list(children.items())[:_MAX_DICTS]
                if isinstance(key, str) and isinstance(child, _CONTAINERS) and not _NOT_WEIGHTS.search(key)
            ]


def _without_prefixes(state: StateDict, depth: int = 0) -> Iterator[StateDict]:
    """Yield a state dict, and what is in it under each prefix."""
    yield state
    for prefix in _PREFIXES if depth < _MAX_DEPTH else ():
        inside = {k.removeprefix(prefix): t for k, t in state.tensors.items() if k.startswith(prefix)}
        if inside:
            others = state.num_others + len(state.tensors) - len(inside)
            inner = StateDict(state.path, inside, state.prefix + prefix, others, state.num_unsupported)
            yield from _without_prefixes(inner, depth + 1)


def describe_origin(content: Any, chosen: StateDict, used_key: str = "") -> str:
    """Return where in its file a state dict was found, and what was ignored; "" if the file holds nothing else.

    used_key: a further key of the file whose value is used.
    """
    texts = []
    keys = as_dict(content)
    if chosen.path:
        program = next((name for needed, name in _PROGRAMS if needed <= set(keys)), "a training checkpoint")
        epoch = keys.get("epoch")
        is_number = isinstance(epoch, int) and not isinstance(epoch, bool) and 0 <= epoch < 10**9
        texts.append(f"from '{'.'.join(chosen.path)}' of {program}" + (f", epoch {epoch}" if is_number else ""))
    if chosen.prefix:
        beside = f" ({chosen.num_others} without it ignored)" if chosen.num_others else ""
        texts.append(f"with '{chosen.prefix}' removed from their names{beside}")
    if chosen.num_unsupported:
        texts.append(f"{counted(chosen.num_unsupported, 'quantized or sparse tensor')} ignored")
    ignored = [one_line(k) for k, v in keys.items() if isinstance(k, str) and isinstance(v, _CONTAINERS) and v]
    ignored = [k for k in ignored if k not in (*chosen.path[:1], used_key)]
    if chosen.path and ignored:
        texts.append(f"ignored: {first_few(ignored, 6)}")
    return "; ".join(texts)


def is_unsupported_tensor(value: Any) -> bool:
    """Return whether a value is a tensor that is quantized, sparse, or of another kind that is not read."""
    return isinstance(value, Opaque) and value.name.startswith("torch._utils._rebuild_")


def has_module(content: Any) -> str:
    """Return the class of a pickled ``nn.Module`` in ``content`` or directly below it; "" if it holds none."""
    values = [content, *as_dict(content).values()]
    names = [v.name for v in values if isinstance(v, Opaque) and {"_modules", "_parameters"} & set(attributes(v))]
    return one_line(names[0]) if names else ""


def array_names(content: Any) -> list[str]:
    """Return the names of the NumPy arrays in the largest dictionary of ``content`` that holds some."""
    dicts = [as_dict(content), *(as_dict(value) for value in as_dict(content).values())]
    found = [[k for k, v in one.items() if isinstance(k, str) and _is_array(v)] for one in dicts]
    return max(found, key=len)


def _is_array(value: Any) -> bool:
    return isinstance(value, Opaque) and value.name.endswith("multiarray._reconstruct")
