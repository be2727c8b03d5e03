"""Speed and memory of training, beside a loop like torchvision's references."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from benchmarks import reference, report, torchvision_references
from benchmarks.processes import in_new_process
from benchmarks.report import Result
from benchmarks.settings import TrainSettings
from benchmarks.stage_timer import READING, StageTimer
from detect import progress, runtime
from detect.errors import UsageError
from detect.models.architecture import Architecture
from detect.models.builder import Detector
from detect.models.zoo import DETECTORS
from detect.text import counted
from detect.training import amp, setup
from detect.training.config import TrainConfig
from detect.training.data import read_training_data
from detect.training.fitting import FittedConfig
from detect.training.initial_model import build_initial_model
from detect.training.logging.progress import peak_memory_bytes

UNMODIFIED, REFERENCE, SAME, DEFAULT, AMP = "unmodified", "reference", "same", "default", "amp"
_SAME = {"aug": "none", "flip": 0.5, "freeze": 0, "repeat_threshold": 0.0, "amp": False}
# Variant of the training -> settings that differ from train.py's defaults.
VARIANTS: dict[str, dict[str, Any]] = {
    UNMODIFIED: _SAME,  # torchvision's references, where a copy is given
    REFERENCE: _SAME,  # a loop like torchvision's references
    SAME: _SAME,  # this toolkit on the same images
    DEFAULT: {},
    AMP: {**_SAME, "amp": True},
}
TITLES = {
    UNMODIFIED: "torchvision's references, unmodified",
    REFERENCE: "torchvision's references",
    SAME: "this toolkit, the same",
    DEFAULT: "this toolkit, as train.py does by default",
    AMP: "this toolkit, the same in 16 bits (`--amp`)",
}
_WARM_UP = 3  # steps that are not measured
_LR = 0.001


@dataclass
class Run:
    """Result of one measurement.

    images: number of images.  seconds: wall-clock time, reading included.
    peak_bytes: peak memory of the process, or of the tensors on a CUDA device; None when unknown.
    losses: total loss of each step; of the last 20 steps of UNMODIFIED.
    stages: seconds of each stage, on a CPU; empty where they are not measured.
    """

    images: int
    seconds: float
    peak_bytes: int | None
    losses: list[float]
    stages: dict[str, float]


Runs = Mapping[str, Sequence[Run]]
"""Variant -> one run per round."""


def run(settings: TrainSettings) -> Result:
    """Measure every model in every variant, in turns."""
    workers, variants = runtime.default_workers(), variants_of(settings)
    runtime.configure_process(workers)
    if settings.references:
        torchvision_references.load(settings.references)
    for model in settings.models:  # in this process first, so that errors come before any measurement
        fitted, *_ = start(config_of(settings, model, SAME, seed=0))
    measured = {model: measure(settings, model, variants) for model in settings.models}
    rounds = f"{counted(settings.rounds, 'round')} of {counted(settings.steps, 'step')}"
    images = f"{fitted.data.name} ({counted(len(fitted.data.train), 'image')})"
    loaders = counted(workers, "loader process", "loader processes")
    text = (
        f"{images}, `--imgsz {settings.imgsz}`, batches of {TrainConfig().batch_size}, {loaders}. Medians of {rounds},"
        " in turns, each in a new process."
    )
    facts = {
        "description": text,
        "runs": {m: {v: [asdict(one) for one in some] for v, some in runs.items()} for m, runs in measured.items()},
    }
    tables = [tables_of(model, runs) for model, runs in measured.items()]
    return "\n\n".join([text, *tables]), facts


def measure(settings: TrainSettings, model: str, variants: Sequence[str]) -> dict[str, list[Run]]:
    """Train the model in each variant once per round, each in a new process. The number of the round is the seed.

    The variants take turns, so that other load on the machine affects all equally. Raises UsageError when there is
    not enough memory.
    """
    runs: dict[str, list[Run]] = {variant: [] for variant in variants}
    turns = [(variant, seed) for seed in range(settings.rounds) for variant in variants[:: -1 if seed % 2 else 1]]
    for variant, seed in progress.bar(turns, desc=model):
        config, task = config_of(settings, model, variant, seed), f"training {model} ({TITLES[variant]})"
        function: Callable[..., Run] = measure_references if variant == UNMODIFIED else measure_steps
        loop = settings.references if variant == UNMODIFIED else variant == REFERENCE
        arguments = (config, loop, settings.steps, torch.get_num_threads())
        runs[variant].append(in_new_process(function, *arguments, task=task, lower="imgsz"))
    return runs


def speedups(runs: Sequence[Run], references: Sequence[Run]) -> list[float]:
    """Return the images per second relative to the references, for each round."""
    return [_speed(ours) / _speed(theirs) for ours, theirs in zip(runs, references, strict=True)]


def tables_of(model: str, runs: Runs) -> str:
    """Return the tables of a model as Markdown: speed and memory, and the stages of a step where measured."""
    references = runs.get(UNMODIFIED, runs[REFERENCE])
    header = (f"`{model}`", "images/s", "times the references", "lowest to highest", "peak MB", "of the references'")
    rows = []
    for variant, some in runs.items():
        times = speedups(some, references)
        peak, reference_peak = (report.median(one.peak_bytes for one in these) for these in (some, references))
        rows.append(
            [
                TITLES[variant],
                f"{statistics.median(map(_speed, some)):.2f}",
                f"{statistics.median(times):.2f}",
                f"{min(times):.2f} to {max(times):.2f}",
                report.megabytes(peak),
                report.ratio(peak, reference_peak),
            ]
        )
    tables = [report.table(header, rows)]
    if stages := runs[REFERENCE][0].stages:
        staged = {variant: some for variant, some in runs.items() if some[0].stages}
        rows = [[stage, *(_milliseconds(some, stage) for some in staged.values())] for stage in (*stages, "all")]
        tables.append(report.table(("ms per step", *(TITLES[variant] for variant in staged)), rows))
    return "\n\n".join(tables)


def _milliseconds(runs: Sequence[Run], stage: str) -> str:
    """Return the median time of a stage, or of ``all`` stages, in milliseconds per step."""
    seconds = [{**one.stages, "all": sum(one.stages.values())}[stage] / len(one.losses) for one in runs]
    return f"{1000 * statistics.median(seconds):.0f}"


def _speed(one: Run) -> float:
    return one.images / one.seconds


def variants_of(settings: TrainSettings) -> list[str]:
    """Return the variants that the device supports; UNMODIFIED only if ``settings`` name a copy of the references."""
    left_out = set() if settings.references else {UNMODIFIED}
    try:
        amp.half_dtype(runtime.pick_device(settings.device))
    except UsageError:
        left_out.add(AMP)
    return [variant for variant in VARIANTS if variant not in left_out]


def config_of(settings: TrainSettings, model: str, variant: str, seed: int) -> TrainConfig:
    """Return the settings of a training of a backbone or torchvision model in one of VARIANTS."""
    return TrainConfig(
        **{"model" if model in DETECTORS else "backbone": model},  # type: ignore[arg-type]
        **{name: getattr(settings, name) for name in ("data", "data_root", "format", "pretrained", "imgsz", "device")},
        **VARIANTS[variant],
        lr=_LR,
        warmup_steps=settings.steps,
        seed=seed,
    )


def start(config: TrainConfig) -> tuple[FittedConfig, Detector, Architecture]:
    """Return the fitted config, the initial model and its architecture. Only warnings are printed."""
    with redirect_stdout(io.StringIO()):
        fitted = FittedConfig(config, read_training_data(config.data, config.data_root, config.format))
        return fitted, *build_initial_model(fitted)


def measure_steps(config: TrainConfig, is_reference: bool, steps: int, threads: int) -> Run:
    """Run and measure the steps in this process, which should be a new one.

    threads: number of threads of torch for the reference loop.
    """
    device, workers = runtime.pick_device(config.device), runtime.default_workers()
    if is_reference:
        torch.set_num_threads(threads)
    else:
        runtime.configure_process(workers)
    runtime.seed_all(config.seed)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # the parent process has printed the warnings
        model, optimizer, batches, step = (_reference if is_reference else _ours)(config, device, workers)
    for _ in range(_WARM_UP):
        step(next(batches))
    timer = StageTimer(model, optimizer)
    images, losses = 0, []
    begin = time.perf_counter()
    for _ in range(steps):
        timer.start(READING)
        batch = next(batches)
        timer.start(None)
        losses.append(step(batch))  # waits for the device
        images += len(batch[0])
    timer.start(None)
    seconds = time.perf_counter() - begin
    stages = timer.seconds if device.type == "cpu" else {}
    return Run(images, seconds, peak_memory_bytes(str(device)), losses, stages)


def measure_references(config: TrainConfig, folder: Path, steps: int, threads: int) -> Run:
    """Run and measure the steps with torchvision's own functions in this process, which should be a new one."""
    device = runtime.pick_device(config.device)
    torch.set_num_threads(threads)
    runtime.seed_all(config.seed)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # the parent process has printed the warnings
        model, dataset = _reference_model(config, device)
    workers, batches = runtime.default_workers(), _WARM_UP + steps
    train = torchvision_references.Epochs(folder, model, dataset, config, workers, batches)
    train(_WARM_UP)
    begin = time.perf_counter()
    losses = train(steps)  # waits for the device
    seconds = time.perf_counter() - begin
    return Run(steps * config.batch_size, seconds, peak_memory_bytes(str(device)), losses, {})


Loop = tuple[Detector, Optimizer, Iterator[Any], Callable[[Any], float]]
"""Model, optimizer, endless batches, and a function that takes a step on a batch and returns its loss."""


def _reference_model(config: TrainConfig, device: torch.device) -> tuple[Detector, reference.FullSizeImages]:
    fitted, started, architecture = start(config)
    data = fitted.data
    model = reference.build(architecture, len(data.class_names) + 1, started.state_dict()).to(device)
    return model, reference.FullSizeImages(data.train, with_masks=architecture.has_masks)


def _reference(config: TrainConfig, device: torch.device, workers: int) -> Loop:
    model, dataset = _reference_model(config, device)
    assert config.lr and config.warmup_steps
    step = reference.Steps(model, config.lr, config.weight_decay, config.warmup_steps)
    batches = reference.batches(dataset, config.batch_size, workers, config.seed)
    return model, step.optimizer, batches, lambda batch: step(batch)["loss"]


def _ours(config: TrainConfig, device: torch.device, workers: int) -> Loop:
    fitted, model, architecture = start(config)
    step = setup.build_train_step(model.to(device), fitted)
    loader = setup.build_train_loader(fitted, workers, device, with_masks=architecture.has_masks)
    batches = (batch for epoch in count() for batch in loader.epoch(epoch))
    numbers = count()
    return model, step.optimizer, batches, lambda batch: step([batch], [(next(numbers),)]).losses["loss"]
