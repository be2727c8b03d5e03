"""Measurement of some training steps in a separate process: ``python -m benchmarks.training_run JOB``.

JOB is a Job as JSON; the last line of output is a Run as JSON. The process does nothing else, so that its memory is
that of the training.
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
_WARM_UP = 3  # steps that are not measured
_LR, _WEIGHT_DECAY, _CLIP = 0.001, 1e-4, 10.0


@dataclass(frozen=True)
class Job:
    """Description of one measurement.

    data, data_root, format: dataset, as for ``find_spec``.
    weights: weights to start from, as for ``pretrained.choose_weights``.
    workers, threads: number of loader processes, and of torch's threads.
    model: a backbone or a torchvision model.
    way: one of WAYS: REFERENCE (a loop like torchvision's references), SAME (this toolkit on the same images),
        USUAL (with the augmentation and frozen stages of train.py's defaults), MIXED (SAME in 16 bits).
    aug, ema: defaults of train.py: name of the preset, and decay of the EMA (0 for none).
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
    """Result of one measurement.

    images: number of images.  seconds: wall-clock time, reading included.
    peak_bytes: peak memory of the process, or of the tensors on a CUDA device; None when unknown.
    losses: total loss of each step.  stages: seconds of each stage, on a CPU.
    """

    images: int
    seconds: float
    peak_bytes: int | None
    losses: list[float]
    stages: dict[str, float]


def measure(job: Job) -> Run:
    """Run and measure the steps in this process, which should be a new one."""
    device = torch.device(job.device)
    if job.way == REFERENCE:
        torch.set_num_threads(job.threads)
    else:
        runtime.configure_process(job.workers)
    runtime.seed_all(job.seed)
    with redirect_stderr(io.StringIO()):  # the parent process has printed the warnings
        names, records = find_spec(job.data, job.data_root, job.format).read("train")
        model, architecture = start(job.model, job.weights, job.imgsz, names, has_masks=records.has_masks)
    if job.way == REFERENCE:
        model = reference.build(architecture, len(names) + 1, model.state_dict())
        loop = _reference(model, architecture, records, job, device)
    else:
        loop = _ours(model, architecture, records, job, device)
    return _timed(*loop, job, device)


def ways_on(device: torch.device) -> tuple[str, ...]:
    """Return the ways that the device supports."""
    try:
        amp.half_dtype(device)
    except UsageError:
        return tuple(way for way in WAYS if way != MIXED)
    return WAYS


def start(name: str, weights: str, imgsz: int, names: ClassNames, *, has_masks: bool) -> tuple[Detector, Architecture]:
    """Return the model from which every way starts, and its architecture."""
    if name in DETECTORS:
        asked = detector_architecture(name, imgsz)
    else:
        asked = backbone_architecture(name, "maskrcnn" if has_masks else "fasterrcnn", imgsz)
    model, architecture, _ = pretrained.build_from_weights(asked, names, pretrained.choose_weights(name, weights))
    return model, architecture


Loop = tuple[Iterator[Any], Callable[[Any], float], Stages]
"""Endless batches, a function that takes a step on a batch and returns its loss, and the stages of the steps."""


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
    """Return the 16-bit type of the layers, or None: of MIXED, and of USUAL where it is the default of train.py."""
    if way == USUAL:
        return amp.half_dtype(device) if fit_mixed_precision(device).value else None
    return amp.half_dtype(device) if way == MIXED else None


def _timed(
    batches: Iterator[Any], step: Callable[[Any], float], stages: Stages, job: Job, device: torch.device
) -> Run:
    for _ in range(_WARM_UP):
        step(next(batches))
    images, losses, reading = 0, [], 0.0
    start = time.perf_counter()
    for _ in range(job.steps):
        asked = time.perf_counter()
        batch = next(batches)
        reading += time.perf_counter() - asked
        with stages.measuring():
            losses.append(step(batch))  # waits for the device
        images += len(batch[0])
    seconds = time.perf_counter() - start
    spent = {READING: reading, **stages.seconds()} if device.type == "cpu" else {}
    return Run(images, seconds, peak_memory_bytes(job.device), losses, spent)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent process reports the stop
    progress.hide_bars(True)
    print(json.dumps(asdict(measure(Job(**json.loads(sys.argv[1]))))))


if __name__ == "__main__":
    main()
