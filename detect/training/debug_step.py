"""A step whose loss or gradient was not finite: kept in a file with all it depends on, and looked at again."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detect.errors import CheckpointError
from detect.models import checkpoint
from detect.models.architecture import Architecture
from detect.models.builder import build
from detect.models.cpu.fuse_bn import fold_norms
from detect.runtime import seed_all
from detect.text import counted
from detect.training.amp import mixed
from detect.training.step import Batch, Learner

_KEYS = {"architecture", "num_rows", "model", "trained", "batches", "seeds", "seed", "dtype", "files"}
_WIDTH = 12


def keep(
    path: Path,
    learner: Learner,
    batches: Sequence[Batch],
    seeds: Sequence[Sequence[int]],
    *,
    architecture: Architecture,
    num_rows: int,
    files: Mapping[int, str],
) -> None:
    """Write all that a step that was not taken had to start from: weights, ``batches``, ``seeds``. Raises DiskError.

    num_rows: classes and background.  files: image id -> name.
    """
    values = {
        "architecture": architecture.to_json(),
        "num_rows": num_rows,
        "model": learner.model.state_dict(),
        "trained": [name for name, p in learner.model.named_parameters() if p.requires_grad],
        "batches": [(list(images), list(targets)) for images, targets in batches],
        "seeds": [list(numbers) for numbers in seeds],
        "seed": learner.seed,
        "dtype": learner.dtype,
        "files": [[files[int(target["image_id"])] for target in targets] for _, targets in batches],
    }
    checkpoint.save_training_state(values, path)


def replay(path: Path, device: torch.device) -> str:
    """Take the step in ``path`` once more; what there is to say of it, in lines.

    For each batch its images, boxes and losses, the first layer whose output is not finite, and the norm of the
    gradient of each part of the model. Raises CheckpointError for another file.
    """
    kept = checkpoint.load_training_state(path)
    if missing := _KEYS - set(kept):
        raise CheckpointError(
            f"{path} is not of a step to replay, as replay_*.pt of a run are: it lacks {', '.join(sorted(missing))}"
        )
    model = build(Architecture.from_json(kept["architecture"]), kept["num_rows"])
    model.load_state_dict(kept["model"])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in kept["trained"])
    fold_norms(model)  # as in training, for the same digits
    model.to(device).train()
    lines = [f"weights: {_state_of(model.state_dict())}"]
    for batch, seed, files in zip(kept["batches"], kept["seeds"], kept["files"], strict=True):
        lines += ["", f"batch of {', '.join(files)}", *_images(batch, files)]
        lines += _again(model, batch, (kept["seed"], *seed), kept["dtype"])
    return "\n".join(lines)


def _state_of(state: Mapping[str, Tensor]) -> str:
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if bad:
        return f"not finite in {', '.join(bad[:3])}, so an earlier step has spoiled them"
    peaks = {name: float(tensor.abs().max()) for name, tensor in state.items() if tensor.is_floating_point()}
    name = max(peaks, key=lambda name: peaks[name])
    return f"all finite, the largest is {peaks[name]:.3g} in {name}"


def _images(batch: Batch, files: Sequence[str]) -> Iterator[str]:
    for image, target, name in zip(*batch, files, strict=True):
        boxes = target["boxes"]
        sides = boxes[:, 2:] - boxes[:, :2]
        height, width = image.shape[-2:]
        values = f"{float(image.min()):.2f} to {float(image.max()):.2f}"
        smallest = f", the smallest side {float(sides.min()):.2f} px" if len(boxes) else ""
        yield f"  {name}: {width}x{height}, values {values}, {counted(len(boxes), 'box', 'boxes')}{smallest}"


def _again(model: nn.Module, batch: Batch, seed: Sequence[int], dtype: torch.dtype | None) -> Iterator[str]:
    """One batch forward and backward, as ``Learner`` takes it."""
    device = next(model.parameters()).device
    model.zero_grad(set_to_none=True)
    seed_all(*seed)
    with mixed(model, dtype), _watched(model) as seen:
        images, targets = batch
        losses = model([i.to(device) for i in images], [{k: v.to(device) for k, v in t.items()} for t in targets])
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    for name, value in {**losses, "loss": total}.items():
        yield f"  {float(value.detach()):{_WIDTH}.4g}  {name}"
    if seen:
        yield f"  the first output that is not finite is that of {seen[0]}"
    squares: dict[str, float] = defaultdict(float)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            squares[".".join(name.split(".")[:2])] += float(parameter.grad.double().square().sum())
    yield "  norms of the gradient"
    for name, square in {**squares, "all": sum(squares.values())}.items():
        yield f"  {math.sqrt(square):{_WIDTH}.4g}  {name}"


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """The names of the layers whose output is not finite in the block, in the order in which they ran."""
    seen: list[str] = []

    def look(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and not torch.isfinite(output).all():
            seen.append(name)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not list(module.children()):
                hook = module.register_forward_hook(lambda _, __, output, name=name: look(name, output))
                stack.callback(hook.remove)
        yield seen
