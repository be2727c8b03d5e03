"""Steps that failed: saved to a file with everything they depend on, and repeated to find where they went wrong."""

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
from detect.models.cpu.fuse_bn import fuse_frozen_batch_norms
from detect.runtime import seed_all
from detect.text import counted
from detect.training.run import TrainingRun
from detect.training.step import Batch, compute_losses

_KEYS = {"architecture", "num_rows", "model", "trained", "batches", "seeds", "seed", "dtype", "files"}
_NUMBER_WIDTH = 12


def failed_step_path(folder: Path, epoch: int, batches: int, rank: int) -> Path:
    """Return the file of a failed step: its epoch (from 1), the batches finished in it, and the process' rank."""
    return folder / f"failed_step_{epoch}_{batches}_{rank}.pt"


def save_failed_step(
    path: Path,
    run: TrainingRun,
    batches: Sequence[Batch],
    seeds: Sequence[Sequence[int]],
    image_names: Mapping[int, str],
) -> None:
    """Write the weights, ``batches`` and ``seeds`` of a step that was skipped. Raises DiskError.

    image_names: image id -> file name.
    """
    train_step = run.train_step
    values = {
        "architecture": run.architecture.to_json(),
        "num_rows": len(run.class_names) + 1,  # with the background
        "model": train_step.model.state_dict(),
        "trained": [name for name, p in train_step.model.named_parameters() if p.requires_grad],
        "batches": [(list(images), list(targets)) for images, targets in batches],
        "seeds": [list(numbers) for numbers in seeds],
        "seed": train_step.seed,
        "dtype": train_step.dtype,
        "files": [[image_names[int(target["image_id"])] for target in targets] for _, targets in batches],
    }
    checkpoint.save_training_state(values, path)


def analyze_failed_step(path: Path, device: torch.device) -> str:
    """Repeat the step in ``path`` and return a report of several lines.

    For each batch it lists the images with their boxes, the losses, the first layer whose output is not finite, and
    the gradient norm of each part of the model. Raises CheckpointError for a file that does not hold a failed step.
    """
    saved = checkpoint.load_training_state(path)
    if missing := _KEYS - set(saved):
        raise CheckpointError(
            f"{path} does not hold a failed step, as failed_step_*.pt in the folder of a run does: it lacks "
            f"{', '.join(sorted(missing))}"
        )
    model = build(Architecture.from_json(saved["architecture"]), saved["num_rows"])
    model.load_state_dict(saved["model"])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in saved["trained"])
    fuse_frozen_batch_norms(model)  # as in training, for the same rounding
    model.to(device).train()
    lines = [f"weights: {_describe_weights(model.state_dict())}"]
    for batch, seeds, files in zip(saved["batches"], saved["seeds"], saved["files"], strict=True):
        lines += ["", f"batch of {', '.join(files)}", *_describe_images(batch, files)]
        lines += _repeat(model, batch, (saved["seed"], *seeds), saved["dtype"])
    return "\n".join(lines)


def _describe_weights(state: Mapping[str, Tensor]) -> str:
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if bad:
        return f"not finite in {', '.join(bad[:3])}; an earlier step caused this"
    peaks = {name: float(tensor.abs().max()) for name, tensor in state.items() if tensor.is_floating_point()}
    name = max(peaks, key=lambda name: peaks[name])
    return f"all finite; the largest absolute value is {peaks[name]:.3g} in {name}"


def _describe_images(batch: Batch, files: Sequence[str]) -> Iterator[str]:
    for image, target, name in zip(*batch, files, strict=True):
        boxes = target["boxes"]
        sides = boxes[:, 2:] - boxes[:, :2]
        height, width = image.shape[-2:]
        values = f"{float(image.min()):.2f} to {float(image.max()):.2f}"
        smallest = f", smallest side {float(sides.min()):.2f} px" if len(boxes) else ""
        yield f"  {name}: {width}x{height}, values {values}, {counted(len(boxes), 'box', 'boxes')}{smallest}"


def _repeat(model: nn.Module, batch: Batch, seeds: Sequence[int], dtype: torch.dtype | None) -> Iterator[str]:
    """Run one batch forward and backward as ``TrainStep`` does, and report losses and gradient norms."""
    model.zero_grad(set_to_none=True)
    seed_all(*seeds)
    with _record_non_finite(model) as layers:
        losses = compute_losses(model, batch, dtype)
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    for name, value in {**losses, "loss": total}.items():
        yield f"  {float(value.detach()):{_NUMBER_WIDTH}.4g}  {name}"
    if layers:
        yield f"  first layer whose output is not finite: {layers[0]}"
    squares: dict[str, float] = defaultdict(float)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            squares[".".join(name.split(".")[:2])] += float(parameter.grad.double().square().sum())
    yield "  gradient norms"
    for name, square in {**squares, "all": sum(squares.values())}.items():
        yield f"  {math.sqrt(square):{_NUMBER_WIDTH}.4g}  {name}"


@contextmanager
def _record_non_finite(model: nn.Module) -> Iterator[list[str]]:
    """Yield a list that collects the names of the layers whose output is not finite, in the order of execution."""
    layers: list[str] = []

    def check(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and not torch.isfinite(output).all():
            layers.append(name)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not list(module.children()):
                hook = module.register_forward_hook(lambda _, __, output, name=name: check(name, output))
                stack.callback(hook.remove)
        yield layers
