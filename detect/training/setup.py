"""Everything that a run needs before its first epoch, built from a TrainConfig: model, optimizer, loader, folder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from detect import distributed, progress, runtime
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset
from detect.data.loader import TrainLoader
from detect.data.sampling import repeat_factors
from detect.data.spec import fingerprint
from detect.errors import UsageError
from detect.io.files import make_folder, new_folder
from detect.io.links import publishable_link
from detect.models import pretrained
from detect.models.anchors import ASPECT_RATIOS, anchor_recall
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.builder import Detector, build
from detect.models.cpu.fuse_bn import fuse_frozen_batch_norms
from detect.models.freeze import can_freeze_stages, freeze_stages
from detect.models.weights import Weights
from detect.models.zoo import DETECTORS
from detect.progress import report, warn
from detect.training import amp, auto
from detect.training.auto import DatasetStatistics, FittedDefault
from detect.training.config import SETTINGS_FILE, TrainConfig
from detect.training.data import TrainingData
from detect.training.optimizer import build_ema, build_optimizer, build_schedule, scheduled_lr
from detect.training.resume import check_resumable, settings_to_compare
from detect.training.run import RunMetadata, TrainingRun
from detect.training.step import TrainStep


class ConfigInProgress:
    """A config whose missing settings are fitted one after the other, as data and model become known.

    config: the config so far.  reasons: name of a fitted setting -> reason.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.reasons: dict[str, str] = {}

    def fit(self, name: str, choose: Callable[..., FittedDefault[Any]], *arguments: Any, **options: Any) -> Any:
        """Return the setting ``name``; if it is None, set it to the default that ``choose`` returns, and report it."""
        if (given := getattr(self.config, name)) is not None:
            return given
        default = choose(*arguments, **options)
        self.config = replace(self.config, **{name: default.value})
        self.reasons[name] = default.reason
        shown = f"{default.value:g}" if isinstance(default.value, float) else repr(default.value)
        report(f"`{name}={shown}`: {default.reason}")
        return default.value


def prepare_process(config: TrainConfig) -> tuple[torch.device, int]:
    """Set up threads, seeds and the output folder; return the device and the number of loader processes.

    Raises UsageError for a device that does not exist and for an output folder that cannot be written to.
    """
    progress.hide_bars(config.quiet)
    device = runtime.pick_device(config.device)
    workers = runtime.default_workers() if config.workers is None else config.workers
    runtime.configure_process(workers)
    runtime.seed_all(config.seed)
    make_folder(config.output_dir)
    return device, workers


def start_run(
    config: TrainConfig, data: TrainingData, device: torch.device, saved: dict[str, Any] | None = None
) -> tuple[TrainingRun, TrainConfig]:
    """Return a new run in its own folder, or a resumed one, and the config with all defaults fitted.

    saved: metadata in the state of the run that ``config.resume`` names.
    The run is locked against other processes. Raises UsageError if config, data and state do not fit together.
    """
    fitting = ConfigInProgress(config)
    if saved:
        model, architecture = build_resumed_model(fitting, data, saved)
    else:
        model, architecture = build_initial_model(fitting, data)
    _check_metric(config.metric, architecture, data)
    train_step = build_train_step(model.to(device), fitting, data)
    config = replace(fitting.config, pretrained=publishable_link(config.pretrained))
    metadata = RunMetadata(
        training=config.to_dict(),
        data={
            "name": data.name,
            "train_images": len(data.train),
            "train_fingerprint": fingerprint(data.train),
        },
        compared_settings=_settings_to_compare(config),
        reasons=fitting.reasons,
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
            config.save(folder / SETTINGS_FILE, fitting.reasons)
            report(f"run: {folder}")
    except BaseException:
        run.unlock()
        run.delete_if_empty()
        raise
    return run, config


def _check_metric(metric: str, architecture: Architecture, data: TrainingData) -> None:
    if metric.startswith("segm") and not (architecture.has_masks and data.val.has_masks):
        raise UsageError(
            f"`metric={metric!r}` needs masks, but the model predicts none or val has none; use `metric='bbox_AP'`"
        )
    if metric == "loss" and architecture.has_masks and not data.val.has_masks:
        raise UsageError("`metric='loss'`: val has no masks to compute the loss with; use `metric='bbox_AP'`")


def _settings_to_compare(config: TrainConfig) -> dict[str, Any]:
    return settings_to_compare(config.learning_settings(), config.strengths())


def _report_lr_change(epochs: int, saved: dict[str, Any], train_step: TrainStep) -> None:
    """Report if another number of epochs changes the learning rate, since the schedule spans all epochs."""
    former, current = train_step.optimizer.param_groups[0]["lr"], scheduled_lr(train_step.schedule)
    if saved.get("settings", {}).get("epochs") not in (None, epochs) and not math.isclose(former, current):
        report(
            f"`epochs={epochs}`: the schedule spans all epochs, so the learning rate changes from {former:g} to"
            f" {current:.2g}"
        )


def build_resumed_model(
    fitting: ConfigInProgress, data: TrainingData, saved: dict[str, Any]
) -> tuple[Detector, Architecture]:
    """Return the model of a run to resume, still with random weights. Raises UsageError if it cannot be resumed."""
    config = fitting.config
    assert config.resume
    check_resumable(
        config.resume,
        saved,
        settings=_settings_to_compare(config),
        class_names=data.class_names.names,
        num_processes=distributed.world().size,
        settings_file=SETTINGS_FILE,
    )
    architecture = Architecture.from_json(saved["architecture"])
    fitting.reasons = dict(saved.get("reasons", {}))
    if saved.get("settings", {}).get("epochs", config.epochs) != config.epochs:
        for name in ("epochs", "warmup_steps"):  # no longer fitted, since the user changed the epochs
            fitting.reasons.pop(name, None)
    return build(architecture, len(data.class_names) + 1), architecture


def build_initial_model(fitting: ConfigInProgress, data: TrainingData) -> tuple[Detector, Architecture]:
    """Return the model with its initial weights; fits the image size, anchors, norms, freezing and epochs."""
    config = fitting.config
    statistics, has_masks = DatasetStatistics.from_table(data.train), data.train.has_masks
    if config.copy_paste and not has_masks:
        raise UsageError(f"`copy_paste` needs masks, and '{config.data}' has none; do not set it")
    if config.model:
        fitting.fit("imgsz", auto.native_image_size, config.model, DETECTORS[config.model].short)
    else:
        fitting.fit("imgsz", auto.fit_image_size, statistics)
    architecture = _choose_architecture(fitting.config, has_masks)
    weights = pretrained.choose_weights(architecture.model, config.pretrained)
    if weights is None and (config.freeze or config.norm == "frozen"):
        name = "freeze" if config.freeze else "norm='frozen'"
        raise UsageError(f"`{name}` keeps the initial weights of layers, and these weights are random")
    architecture, origin = _choose_anchors(architecture, weights, fitting, statistics)
    batch_size = min(config.batch_size, len(data.train))
    norm = fitting.fit("norm", auto.fit_norm, batch_size, pretrained=weights is not None)
    model, architecture, source = pretrained.build_from_weights(architecture, data.class_names, weights, norm)
    report(f"{architecture.model} ({architecture.head}) from {source}")
    if origin and architecture.head != "fcos":  # which has no anchors
        recall = anchor_recall(model, data.train, architecture.min_size)
        report(f"anchors: {origin}, which reach {recall:.1%} of the objects at IoU 0.5 before training")
    initial = {"pretrained": weights is not None}
    fitting.fit("freeze", auto.fit_frozen_stages, len(data.train), **initial, freezable=can_freeze_stages(model))
    per_class = statistics.images_per_class(data.class_names)
    fitting.fit("repeat_threshold", auto.fit_repeat_threshold, per_class, len(data.train))
    images = images_per_epoch(fitting.config, data)
    fitting.fit("epochs", auto.fit_epochs, images, images_per_step(fitting.config), **initial)
    return model, architecture


def _choose_architecture(config: TrainConfig, has_masks: bool) -> Architecture:
    """Return the architecture that the config asks for, with the head that suits the dataset by default."""
    assert config.imgsz
    if config.model:
        architecture = detector_architecture(config.model, config.imgsz)
    else:
        head = config.head or ("maskrcnn" if has_masks else "fasterrcnn")
        architecture = backbone_architecture(config.backbone, head, config.imgsz, config.fpn_channels)
    if architecture.has_masks and not has_masks:
        raise UsageError(
            f"{architecture.model} with a mask head needs masks, and '{config.data}' has none; use"
            " `head='fasterrcnn'`, or `model='v1'` or `model='v2'`"
        )
    return architecture


def _choose_anchors(
    architecture: Architecture, weights: Weights | None, fitting: ConfigInProgress, statistics: DatasetStatistics
) -> tuple[Architecture, str]:
    """Return the architecture with its anchors, and in words where they come from ("" if they were just fitted).

    The anchors of pretrained RPN weights are kept; otherwise the setting ``anchors`` decides.
    """
    wanted = fitting.config.anchors
    ratios = architecture.aspect_ratios or ASPECT_RATIOS
    per_location = len(architecture.anchors[0]) * len(ratios) if architecture.anchors else 0
    trained = weights if weights and weights.has_trained_rpn(per_location) else None
    if wanted and (not architecture.anchors or trained):
        warn(f"`anchors={wanted!r}` is ignored: the model or its weights have anchors of their own")
    if not architecture.anchors:
        return architecture, "those of the model"
    if trained:
        return replace(
            architecture,
            anchors=trained.anchors or architecture.anchors,
            aspect_ratios=trained.aspect_ratios or architecture.aspect_ratios,
        ), "those of the weights"
    if wanted == "default":
        return architecture, "the default anchors"
    choice = auto.fit_anchors(statistics, architecture.min_size, fitting.config.strengths()["jitter"])
    if wanted:
        report(f"anchors: {choice.reason}")
    fitting.fit("anchors", FittedDefault, "fitted", choice.reason)
    return replace(architecture, anchors=choice.value.sizes, aspect_ratios=choice.value.aspect_ratios), ""


def build_train_step(model: Detector, fitting: ConfigInProgress, data: TrainingData) -> TrainStep:
    """Return optimizer, schedule, EMA and precision for ``model``; fits learning rate, warm-up and precision."""
    config = fitting.config
    images = min(images_per_step(config), images_per_epoch(config, data))
    assert config.epochs and config.freeze is not None
    freeze_stages(model, config.freeze)
    fuse_frozen_batch_norms(model)
    steps = config.epochs * steps_per_epoch(config, data)
    lr = fitting.fit("lr", auto.fit_learning_rate, config.optimizer, images)
    warmup_steps = fitting.fit("warmup_steps", auto.fit_warmup_steps, steps, images)
    if warmup_steps > steps // 2:
        warn(f"`warmup_steps={warmup_steps}` is reduced to {steps // 2}, half of all steps")
    device = next(model.parameters()).device
    use_amp = fitting.fit("amp", auto.fit_mixed_precision, device)
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


def build_train_loader(config: TrainConfig, data: TrainingData, workers: int, *, with_masks: bool) -> TrainLoader:
    """Return the loader of this process' batches of augmented images."""
    assert config.epochs and config.imgsz
    transform = TrainTransform(config.imgsz, config, config.epochs)
    report(f"augmentation: {transform.describe(has_masks=data.train.has_masks)}")
    here = distributed.world()
    return TrainLoader(
        DetectionDataset(data.train, transform, with_masks=with_masks, seed=config.seed),
        config.batch_size,
        workers,
        repeats=image_repeats(config, data),
        rank=here.rank,
        world_size=here.size,
        accumulate=config.accumulate,
    )


def images_per_step(config: TrainConfig) -> int:
    """Return the number of images per optimizer step, over all batches and processes."""
    return config.batch_size * config.accumulate * distributed.world().size


def steps_per_epoch(config: TrainConfig, data: TrainingData) -> int:
    """Return the expected number of steps per epoch; repeated images make it vary at random."""
    return math.ceil(images_per_epoch(config, data) / images_per_step(config))


def images_per_epoch(config: TrainConfig, data: TrainingData) -> int:
    """Return the expected number of images per epoch, repeated images counted each time."""
    repeats = image_repeats(config, data)
    return len(data.train) if repeats is None else round(float(repeats.sum()))


def image_repeats(config: TrainConfig, data: TrainingData) -> np.ndarray | None:
    """Return the expected number of times that each image occurs per epoch; None if each occurs once."""
    if not config.repeat_threshold:
        return None
    statistics = DatasetStatistics.from_table(data.train)
    return repeat_factors(statistics.images, statistics.labels, len(data.train), config.repeat_threshold)
