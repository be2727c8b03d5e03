"""Everything that a run needs before its first epoch, built from a TrainConfig: optimizer, loader, folder."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from detect import distributed, progress, runtime
from detect.data.augmentation import as_text
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset
from detect.data.digests import TRAIN_IMAGES, dataset_digest, image_digests, write_digests
from detect.data.loader import TrainLoader
from detect.errors import UsageError
from detect.io.files import make_folder, new_folder
from detect.io.links import publishable_link
from detect.models.architecture import Architecture
from detect.models.builder import Detector
from detect.models.cpu.fuse_bn import fuse_frozen_batch_norms
from detect.models.freeze import freeze_stages
from detect.progress import report, warn
from detect.training import amp, overview
from detect.training.auto.precision import fit_mixed_precision
from detect.training.auto.schedule import fit_learning_rate, fit_warmup_steps
from detect.training.auto.statistics import DatasetStatistics
from detect.training.config import TrainConfig
from detect.training.data import TrainingData
from detect.training.fitting import FittedConfig
from detect.training.initial_model import build_initial_model, build_resumed_model
from detect.training.optimizer import build_ema, build_optimizer, build_schedule, scheduled_lr
from detect.training.resume import SETTINGS_FILE
from detect.training.run import LAST, RunMetadata, TrainingRun
from detect.training.step import TrainStep


def prepare_process(config: TrainConfig) -> tuple[torch.device, int]:
    """Set up threads, seeds and the output folder; return the device and the number of loader processes.

    Raises UsageError for a device that does not exist, and for an output folder that cannot be written to.
    """
    progress.hide_bars(config.quiet)
    device = runtime.pick_device(config.device)
    workers = num_workers(config)
    runtime.configure_process(workers)
    runtime.seed_all(config.seed)
    make_folder(config.output_dir)
    return device, workers


def num_workers(config: TrainConfig) -> int:
    """Return the number of loader processes, which depends on the cores of the machine by default."""
    return runtime.default_workers() if config.workers is None else config.workers


def start_run(
    config: TrainConfig, data: TrainingData, device: torch.device, saved: dict[str, Any] | None = None
) -> tuple[TrainingRun, FittedConfig]:
    """Return a new run in its own folder, or a resumed one, and the config with all defaults fitted.

    saved: metadata in the state of the run that ``config.resume`` names.
    The run is locked against other processes. Raises UsageError if config, data and state do not fit together.
    """
    fitted = FittedConfig(config, data)
    model, architecture = build_resumed_model(fitted, saved) if saved else build_initial_model(fitted)
    _check_metric(config.metric, architecture, data)
    train_step = build_train_step(model.to(device), fitted)
    _note_open_settings(fitted, device)
    config = fitted.config = replace(fitted.config, pretrained=publishable_link(config.pretrained))
    digests, digest = _identify_images(data)
    metadata = RunMetadata(
        training=config.to_dict(),
        data={
            "name": data.name,
            "train_images": len(data.train),
            "train_digest": digest,
            **_training_sizes(data, config.imgsz),
        },
        compared_settings=config.settings_to_compare(),
        reasons=fitted.reasons,
    )
    name = config.name or f"{data.name}_{architecture.model}".replace(":", "_")  # as in timm:resnet18
    folder = config.resume or distributed.compute_on_first(lambda: new_folder(config.output_dir, name))
    run = TrainingRun(folder, train_step, architecture, data.class_names, metadata, config.metric)
    try:
        run.lock()
        if saved:  # read again, since another process may have trained the run until it was locked
            run.restore(TrainingRun.load_state(folder))
        assert config.epochs
        if distributed.world().is_first and run.epoch < config.epochs:
            if saved:
                _report_lr_change(config.epochs, saved, train_step)
            config.save(folder / SETTINGS_FILE, fitted.reasons)
            write_digests(folder / TRAIN_IMAGES, digests, data.train.names)
            overview.write_start(run, model, data, fitted.weights)
            report_start(fitted, train_step)
            if run.starts_without_momentum:
                report(
                    "the run had finished, and such a run keeps no momentum: it continues from the weights of"
                    f" {LAST}{' (the EMA)' if config.ema else ''}, and the momentum builds up anew"
                )
                run.save_progress()  # with the weights, before the next epoch replaces those of LAST
            report(f"run: {folder}")
    except BaseException:
        run.unlock()
        run.delete_if_empty()
        raise
    return run, fitted


def _identify_images(data: TrainingData) -> tuple[list[str], str]:
    """Return the digest of each training image, in the first process only, and that of all together."""
    digests: list[str] = []

    def identify() -> str:
        digests[:] = image_digests([data.train.path(i) for i in range(len(data.train))])
        return dataset_digest(digests)

    return digests, distributed.compute_on_first(identify)


def report_start(fitted: FittedConfig, train_step: TrainStep) -> None:
    """Report the initial weights, the device, the precision and the fitted defaults."""
    report(f"weights: {fitted.weights.line}")
    report(f"device: {_device_in_words(train_step.device)}; precision: {_precision_in_words(train_step.dtype)}")
    fitted.report_lines()


def _note_open_settings(fitted: FittedConfig, device: torch.device) -> None:
    """Note for settings.yaml what became of the settings that depend on the machine, the preset or the dataset."""
    data, config = fitted.data, fitted.config
    fitted.note("device", runtime.device_in_words(device))
    fitted.note("workers", num_workers(config))
    for name, strength in config.strengths().items():
        unused = name == "copy_paste" and strength and not data.train.has_masks
        fitted.note(name, f"{as_text(strength)}, not used without masks" if unused else as_text(strength))
    if data.root is not None:
        fitted.note("data_root", data.root)
        fitted.note("format", data.annotation_format)


def _device_in_words(device: torch.device) -> str:
    size = distributed.world().size
    return runtime.device_in_words(device) + (f", in each of {size} processes" if size > 1 else "")


def _precision_in_words(dtype: torch.dtype | None) -> str:
    return "float32" if dtype is None else f"{str(dtype).removeprefix('torch.')}, losses and boxes in float32"


def _training_sizes(data: TrainingData, imgsz: int | None) -> dict[str, float]:
    """Return the median factor by which the training images are shrunk to ``imgsz``, below 1 if they are enlarged, and
    the median of the square roots of the areas of the boxes in the resized images, in pixels."""
    statistics, size = DatasetStatistics.from_table(data.train), imgsz or 1
    return {
        "train_shrink": round(float(np.median(statistics.native_sizes)) / size, 3),
        "train_object_side": round(float(np.median(statistics.relative_sizes)) * size, 1),
    }


def _check_metric(metric: str, architecture: Architecture, data: TrainingData) -> None:
    if metric.startswith("segm") and not (architecture.has_masks and data.val.has_masks):
        raise UsageError(
            f"`metric={metric!r}` needs masks, but the model predicts none or val has none; use `metric='bbox_AP'`"
        )
    if metric == "loss" and architecture.has_masks and not data.val.has_masks:
        raise UsageError("`metric='loss'`: val has no masks to compute the loss with; use `metric='bbox_AP'`")


def _report_lr_change(epochs: int, saved: dict[str, Any], train_step: TrainStep) -> None:
    """Report if another number of epochs changes the learning rate, since the schedule spans all epochs."""
    former, current = train_step.optimizer.param_groups[0]["lr"], scheduled_lr(train_step.schedule)
    if saved.get("settings", {}).get("epochs") not in (None, epochs) and not math.isclose(former, current):
        report(
            f"`epochs={epochs}`: the schedule spans all epochs, so the learning rate changes from {former:g} to"
            f" {current:.2g}"
        )


def build_train_step(model: Detector, fitted: FittedConfig) -> TrainStep:
    """Return optimizer, schedule, EMA and precision for ``model``; fits learning rate, warm-up and precision."""
    config = fitted.config
    assert config.epochs and config.freeze is not None
    freeze_stages(model, config.freeze)
    fuse_frozen_batch_norms(model)
    device = next(model.parameters()).device
    images = min(fitted.images_per_step, fitted.images_per_epoch)
    steps = config.epochs * fitted.steps_per_epoch
    lr = fitted.fit("lr", fit_learning_rate(config.optimizer, images))
    warmup_steps = fitted.fit("warmup_steps", fit_warmup_steps(steps, images))
    if warmup_steps > steps // 2:
        warn(f"`warmup_steps={warmup_steps}` is reduced to {steps // 2}, half of all steps")
        fitted.reasons["warmup_steps"] = f"in this run: {steps // 2}, half of all steps"
    use_amp = fitted.fit("amp", fit_mixed_precision(device))
    optimizer = build_optimizer(model, config.optimizer, lr, config.weight_decay)
    return TrainStep(
        model,
        optimizer,
        build_schedule(optimizer, config.schedule, steps, warmup_steps),
        build_ema(model, config.ema) if config.ema else None,
        clip=config.clip,
        seed=config.seed,
        dtype=_layer_dtype(config, device) if use_amp else None,
    )


def _layer_dtype(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    """Return the 16-bit type for mixed precision; None if a run was moved to a device without one."""
    try:
        return amp.half_dtype(device)
    except UsageError:
        if not config.resume:
            raise
        warn(
            f"{config.resume} was trained in 16 bits, which this {device.type} does not support; "
            "it continues in float32"
        )
        return None


def build_train_loader(fitted: FittedConfig, workers: int, device: torch.device, *, with_masks: bool) -> TrainLoader:
    """Return the loader of this process' batches of augmented images."""
    config, records = fitted.config, fitted.data.train
    assert config.epochs and config.imgsz
    transform = TrainTransform(config.imgsz, config, config.epochs)
    report(f"augmentation: {transform.describe(has_masks=records.has_masks)}")
    if config.background_ratio is not None:
        report(f"`background_ratio={config.background_ratio:g}`: about {fitted.images_per_epoch} images per epoch")
    here = distributed.world()
    return TrainLoader(
        DetectionDataset(records, transform, with_masks=with_masks, seed=config.seed),
        config.batch_size,
        workers,
        repeats=fitted.image_repeats,
        rank=here.rank,
        world_size=here.size,
        accumulate=config.accumulate,
        pinned=device.type == "cuda",
    )
