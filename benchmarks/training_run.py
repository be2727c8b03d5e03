"""One way of training takes some steps, measured in a process of its own: ``python -m benchmarks.training_run
JOB``, which is a Job as JSON.

Prints a Run as JSON in its last line. The process does nothing else, so that its memory is the training's.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks import reference
from benchmarks.stages import READING, Stages
from detect import progress, runtime
from detect.data.augmentation import PRESETS, Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset
from detect.data.description import find_spec
from detect.data.loader import TrainLoader
from detect.data.table import Table
from detect.errors import UsageError
from detect.models import pretrained
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.builder import Detector
from detect.models.cpu.fuse_bn import fuse_frozen_batch_norms
from detect.models.freeze import can_freeze_stages, freeze_stages
from detect.models.zoo import DETECTORS
from detect.structures.class_names import ClassNames
from detect.training import amp
from detect.training.auto import fit_frozen_stages, fit_mixed_precision
from detect.training.logging.progress import peak_memory_bytes
from detect.training.optimizer import build_ema, build_optimizer, build_schedule
from detect.training.step import TrainStep

REFERENCE, SAME, USUAL, MIXED = "reference", "same", "usual", "mixed"
WAYS = (REFERENCE, SAME, USUAL, MIXED)
_WARM = 3  # steps that are not measured
_LR, _WEIGHT_DECAY, _CLIP = 0.001, 1e-4, 10.0


@dataclass(frozen=True)
class Job:
    """What to measure.

    data, data_root, format: as ``find_spec`` takes them.  weights: what it starts from, as ``pretrained.choose_weights`` takes
        it.  workers, threads: processes that load images, and threads that torch computes with.
    model: a backbone, or a whole model.  way: one of WAYS: as torchvision's references; this toolkit on the same
        images; that with what train.py does to images and weights by default; the second in mixed precision.
    aug, ema: what train.py does by default: a name in PRESETS, and the decay of the average, 0 for none.
    seed: of everything random.
    """

    data: str
    data_root: str | None
    format: str
    weights: str
    aug: str
    ema: float
    imgsz: int
    batch_size: int
    steps: int
    workers: int
    threads: int
    device: str
    model: str = ""
    way: str = ""
    seed: int = 0


@dataclass
class Run:
    """What it came to.

    images: trained on, and seconds: of the clock that they took, reading included.
    peak_bytes: the most memory ever in use, of a CUDA device that of its tensors; None where it cannot be known.
    losses: sums of every step.  stages: seconds of each stage, on a CPU.
    """

    images: int
    seconds: float
    peak_bytes: int | None
    losses: list[float]
    stages: dict[str, float]


def measure(job: Job) -> Run:
    """Train as ``job`` says, here and now: worth something in a fresh process alone."""
    device = torch.device(job.device)
    if job.way == REFERENCE:
        torch.set_num_threads(job.threads)
    else:
        runtime.configure_process(job.workers)
    runtime.seed_all(job.seed)
    with redirect_stderr(io.StringIO()):  # the program that started this one has given the warnings
        names, records = find_spec(job.data, job.data_root, job.format).read("train")
        model, architecture = start(job.model, job.weights, job.imgsz, names, has_masks=records.has_masks)
    if job.way == REFERENCE:
        model = reference.build(architecture, len(names) + 1, model.state_dict())
        loop = _reference(model, architecture, records, job, device)
    else:
        loop = _ours(model, architecture, records, job, device)
    return _timed(*loop, job, device)


def ways_on(device: torch.device) -> tuple[str, ...]:
    """Those of WAYS that can be had there."""
    try:
        amp.half_dtype(device)
    except UsageError:
        return tuple(way for way in WAYS if way != MIXED)
    return WAYS


def start(name: str, weights: str, imgsz: int, names: ClassNames, *, has_masks: bool) -> tuple[Detector, Architecture]:
    """The model that every way starts from."""
    if name in DETECTORS:
        asked = detector_architecture(name, imgsz)
    else:
        asked = backbone_architecture(name, "maskrcnn" if has_masks else "fasterrcnn", imgsz)
    model, architecture, _ = pretrained.build_from_weights(asked, names, pretrained.choose_weights(name, weights))
    return model, architecture


Loop = tuple[Iterator[Any], Callable[[Any], float], Stages]
"""Batches without end, what takes a step on one of them and gives its loss, and what watches that."""


def _reference(model: Detector, architecture: Architecture, records: Table, job: Job, device: torch.device) -> Loop:
    dataset = reference.FullSizeImages(records, with_masks=architecture.has_masks)
    steps = reference.Steps(model, _LR, _WEIGHT_DECAY, job.steps, device)
    batches = reference.batches(dataset, job.batch_size, job.workers, job.seed)
    return batches, lambda batch: steps.step(batch)["loss"], Stages(model, steps.optimizer)


def _ours(model: Detector, architecture: Architecture, records: Table, job: Job, device: torch.device) -> Loop:
    usual = job.way == USUAL
    transform = TrainTransform(job.imgsz, PRESETS[job.aug] if usual else Augmentation(flip=0.5))
    dataset = DetectionDataset(records, transform, with_masks=architecture.has_masks, seed=job.seed)
    loader = TrainLoader(dataset, job.batch_size, job.workers)
    model.to(device)
    if usual:
        started = {"pretrained": job.weights != "none", "freezable": can_freeze_stages(model)}
        freeze_stages(model, fit_frozen_stages(len(records), **started).value)
    fuse_frozen_batch_norms(model)
    optimizer = build_optimizer(model, "sgd", _LR, _WEIGHT_DECAY)
    train_step = TrainStep(
        model,
        optimizer,
        build_schedule(optimizer, "cosine", 1000, job.steps),
        build_ema(model, job.ema) if usual and job.ema else None,
        clip=_CLIP,
        seed=job.seed,
        dtype=_dtype(job.way, device),
    )
    count = iter(range(sys.maxsize))
    batches = (batch for epoch in range(sys.maxsize) for batch in loader.epoch(epoch))
    return batches, lambda batch: train_step([batch], [(next(count),)]).losses["loss"], Stages(model, optimizer)


def _dtype(way: str, device: torch.device) -> torch.dtype | None:
    """Of the layers: 16 bits where the way has them, or where train.py takes them by default."""
    if way == USUAL:
        return amp.half_dtype(device) if fit_mixed_precision(device).value else None
    return amp.half_dtype(device) if way == MIXED else None


def _timed(
    batches: Iterator[Any], step: Callable[[Any], float], stages: Stages, job: Job, device: torch.device
) -> Run:
    for _ in range(_WARM):
        step(next(batches))
    images, losses, reading = 0, [], 0.0
    start = time.perf_counter()
    for _ in range(job.steps):
        asked = time.perf_counter()
        batch = next(batches)
        reading += time.perf_counter() - asked
        with stages.watching():
            losses.append(step(batch))  # which waits for the device
        images += len(batch[0])
    seconds = time.perf_counter() - start
    spent = {READING: reading, **stages.seconds()} if device.type == "cpu" else {}
    return Run(images, seconds, peak_memory_bytes(job.device), losses, spent)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the program that started this one says that it was stopped
    progress.hide_bars(True)
    print(json.dumps(asdict(measure(Job(**json.loads(sys.argv[1]))))))


if __name__ == "__main__":
    main()
