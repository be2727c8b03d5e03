"""How a training run starts: settings completed to fit the data, the model, what takes the steps, the folder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import torch

from detect import distributed
from detect.cli.settings import TrainSettings
from detect.data.sampling import repeat_factors
from detect.data.spec import DatasetSpec, fingerprint
from detect.data.table import Table
from detect.errors import UsageError
from detect.io.files import new_folder
from detect.io.links import publishable_link
from detect.io.yaml_files import save_config
from detect.models import pretrained
from detect.models.anchors import ASPECT_RATIOS, anchor_recall
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.builder import Detector, build, freezable, freeze_stages
from detect.models.cpu.fuse_bn import fold_norms
from detect.models.weights import Weights
from detect.models.zoo import DETECTORS
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.text import counted, first_few
from detect.training import amp, auto
from detect.training.auto import Choice, Facts
from detect.training.optimizer import build_ema, build_optimizer, build_schedule, rate_due
from detect.training.run import SETTINGS, TrainingRun
from detect.training.step import TrainStep

# Settings of a run that may be others when it goes on: where things lie, how it runs; and what --resume takes.
PLACES = {"data", "data_root", "backgrounds", "output_dir", "name", "device", "workers", "quiet"}


class Data(NamedTuple):
    """What to train on and what to validate on; both have the same classes, in an order of their own."""

    names: ClassNames
    records: Table
    val_names: ClassNames
    val_records: Table


class Defaults:
    """Settings that are completed as their data and model become known, each default with its reason."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.reasons: dict[str, str] = {}

    def fill(self, name: str, choose: Callable[..., Choice[Any]], *facts: Any, **more: Any) -> Any:
        """The setting ``name``, which ``choose`` decides where the user has not."""
        if (given := getattr(self.settings, name)) is not None:
            return given
        choice = choose(*facts, **more)
        self.settings = replace(self.settings, **{name: choice.value})
        self.reasons[name] = choice.reason
        print(f"{_as_typed(name, choice.value)}: {choice.reason}")
        return choice.value


def _as_typed(name: str, value: Any) -> str:
    """A setting as a flag with its value, such as ``--lr 0.01`` or ``--no-amp``."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {value:g}" if isinstance(value, float) else f"--{flag} {value}"


def begin(
    settings: TrainSettings, saved: dict[str, Any] | None, spec: DatasetSpec, data: Data, device: torch.device
) -> tuple[TrainingRun, TrainSettings]:
    """A new run in a folder of its own, or the one that --resume names, as its ``saved`` state says; and the settings
    with the defaults that were fitted to the data."""
    defaults = Defaults(settings)
    model, architecture = resumed_model(defaults, saved, data) if saved else start_model(defaults, data)
    if settings.metric.startswith("segm") and not (architecture.has_masks and data.val_records.has_masks):
        raise UsageError(f"--metric {settings.metric}: the model finds no masks, or val has none; take bbox_AP")
    if settings.metric == "loss" and architecture.has_masks and not data.val_records.has_masks:
        raise UsageError("--metric loss: val has no masks to compute the loss with; take bbox_AP")
    learner = build_learner(model.to(device), defaults, data)
    settings = replace(defaults.settings, pretrained=publishable_link(settings.pretrained))  # runs are published
    facts = {
        "training": as_kept(settings),
        "settings": to_compare(settings),
        "reasons": defaults.reasons,
        "data": {
            "name": spec.name,
            "train_images": len(data.records),
            "train_sha256": fingerprint(data.records),
        },
    }
    name = settings.name or f"{spec.name}_{architecture.model}".replace(":", "_")  # timm:resnet18
    folder = settings.resume or distributed.compute_on_first(lambda: new_folder(settings.output_dir, name))
    run = TrainingRun(folder, learner, architecture, data.names, settings.metric, facts)
    try:
        run.hold()
        if saved:  # anew, since another process may have trained on until now
            run.restore(TrainingRun.saved_state(folder))
        assert settings.epochs
        if distributed.world().is_first and run.epoch < settings.epochs:  # else there is nothing to do with them
            if saved:
                tell_of_rate(settings, saved, learner)
            # Whole models have no backbone and head to choose, so that --config can read the file back.
            without = {"resume", *(["backbone", "head", "fpn_channels"] if settings.model else [])}
            save_config(settings, folder / SETTINGS, without, defaults.reasons)
            print(f"run: {folder}")
    except BaseException:
        run.release()
        run.discard_if_empty()
        raise
    return run, settings


def tell_of_rate(settings: TrainSettings, saved: dict[str, Any], learner: TrainStep) -> None:
    """A line where more epochs move the learning rate, whose schedule is of all of them."""
    was, now = learner.optimizer.param_groups[0]["lr"], rate_due(learner.schedule)
    if saved.get("settings", {}).get("epochs") not in (None, settings.epochs) and not math.isclose(was, now):
        print(
            f"--epochs {settings.epochs}: the learning rate falls over all of them; it was {was:g}, and is {now:.2g}"
        )


def as_kept(settings: TrainSettings) -> dict[str, Any]:
    """What checkpoints and states tell of the settings of a run."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(settings).items() if k != "resume"}


def to_compare(settings: TrainSettings) -> dict[str, Any]:
    """Those on which it depends what a run learns, and with what strengths ``--aug`` stands for."""
    changed = {f"--aug's {name}": value for name, value in asdict(settings.augmentation).items()}
    return {name: value for name, value in as_kept(settings).items() if name not in PLACES} | changed


def check_unchanged(settings: TrainSettings, kept: dict[str, Any]) -> None:
    """UsageError where settings.yaml no longer says what the run was trained with, as its state has ``kept`` it."""
    now = to_compare(settings)
    if changed := sorted(name for name in kept.keys() & now.keys() - {"epochs"} if kept[name] != now[name]):
        said = first_few(f"{name} is {now[name]}, and was {kept[name]}" for name in changed)
        raise UsageError(
            f"{settings.resume}/{SETTINGS} is not as it was: {said}; put it back, or begin a new run with --config"
        )


def resumed_model(defaults: Defaults, saved: dict[str, Any], data: Data) -> tuple[Detector, Architecture]:
    """The model of the run that --resume names, with random weights yet; UsageError where it cannot go on so."""
    settings = defaults.settings
    if (processes := saved.get("processes", 1)) != distributed.world().size:
        start = "python" if processes == 1 else f"torchrun --nproc_per_node={processes}"
        raise UsageError(
            f"{settings.resume} was trained by {counted(processes, 'process', 'processes')}, which its steps"
            f" depend on; take as many: {start} train.py --resume {settings.resume}"
        )
    kept = saved.get("settings", {})
    check_unchanged(settings, kept)
    if saved["class_names"] != list(data.names.names):
        raise UsageError(f"{settings.resume} was trained on the classes {saved['class_names']}, the data has others")
    architecture = Architecture.from_json(saved["architecture"])
    defaults.reasons = dict(saved.get("reasons", {}))
    if kept.get("epochs", settings.epochs) != settings.epochs:  # the user has said otherwise
        for name in ("epochs", "warmup_steps"):
            defaults.reasons.pop(name, None)
    return build(architecture, len(data.names) + 1), architecture


def start_model(defaults: Defaults, data: Data) -> tuple[Detector, Architecture]:
    """The model with the weights that it starts from; its size and its anchors are fitted to the objects."""
    facts, has_masks = Facts.of(data.records), data.records.has_masks
    settings = defaults.settings
    if settings.copy_paste and not has_masks:
        raise UsageError(f"--copy-paste cuts along masks and '{settings.data}' has none; leave it out")
    if settings.model:
        defaults.fill("imgsz", auto.own_size, settings.model, DETECTORS[settings.model].short)
    else:
        defaults.fill("imgsz", auto.image_size, facts)
    asked = choose_architecture(defaults.settings, has_masks)
    weights = pretrained.choose(asked.model, settings.pretrained)
    if weights is None and (settings.freeze or settings.norm == "frozen"):
        flag = "--freeze" if settings.freeze else "--norm frozen"
        raise UsageError(f"{flag} keeps what training starts from, and these weights are random")
    asked, whose = choose_anchors(asked, weights, defaults, facts)
    batch = min(settings.batch_size, len(data.records))
    norm = defaults.fill("norm", auto.norms, batch, pretrained=weights is not None)
    model, architecture, used = pretrained.start_model(asked, data.names, weights, norm)
    print(f"{architecture.model} ({architecture.head}) from {used}")
    if whose and architecture.head != "fcos":  # which has points in place of anchors
        reached = anchor_recall(model, data.records, architecture.min_size)
        print(f"anchors: {whose}, which reach {reached:.1%} of the objects at IoU 0.5 as they are")
    started = {"pretrained": weights is not None}
    defaults.fill("freeze", auto.fit_frozen_stages, len(data.records), **started, freezable=freezable(model))
    defaults.fill("rare", auto.repeat_threshold, facts.images_with(data.names), len(data.records))
    images = images_per_epoch(defaults.settings, data)
    defaults.fill("epochs", auto.epochs, images, images_per_step(defaults.settings), **started)
    return model, architecture


def choose_anchors(
    asked: Architecture, weights: Weights | None, defaults: Defaults, facts: Facts
) -> tuple[Architecture, str]:
    """``asked`` with the anchors that its weights have learned on or, where these have none, with those that
    ``--anchors`` says; and whose they are, "" where they were fitted, which is told."""
    wanted = defaults.settings.anchors
    per_location = len(asked.anchors[0]) * len(asked.aspect_ratios or ASPECT_RATIOS) if asked.anchors else 0
    learned = weights if weights and weights.has_learned_on(per_location) else None
    if wanted and (not asked.anchors or learned):
        warn(f"--anchors {wanted} is passed over: the anchors of the model or its weights are kept")
    if not asked.anchors:
        return asked, "the model's own"
    if learned:
        ratios = learned.aspect_ratios or asked.aspect_ratios
        return replace(asked, anchors=learned.anchors or asked.anchors, aspect_ratios=ratios), "those of the weights"
    if wanted == "default":
        return asked, "the default ones"
    choice = auto.fit_anchors(facts, asked.min_size, defaults.settings.augmentation.jitter)
    if wanted:
        print(f"anchors: {choice.reason}")
    defaults.fill("anchors", Choice, "fitted", choice.reason)
    return replace(asked, anchors=choice.value.sizes, aspect_ratios=choice.value.aspect_ratios), ""


def build_learner(model: Detector, defaults: Defaults, data: Data) -> TrainStep:
    """What takes the steps; how long they are is fitted to the images of one and to their number."""
    settings = defaults.settings
    a_step = min(images_per_step(settings), images_per_epoch(settings, data))
    assert settings.epochs and settings.freeze is not None
    freeze_stages(model, settings.freeze)
    fold_norms(model)
    steps = settings.epochs * steps_per_epoch(settings, data)
    rate = defaults.fill("lr", auto.learning_rate, settings.optimizer, a_step)
    warmup = defaults.fill("warmup_steps", auto.warmup_steps, steps, a_step)
    if warmup > steps // 2:
        warn(f"--warmup-steps {warmup}: the rate rises for {steps // 2}, half of all steps")
    device = next(model.parameters()).device
    defaults.fill("amp", auto.fit_mixed_precision, device)
    optimizer = build_optimizer(model, settings.optimizer, rate, settings.weight_decay)
    return TrainStep(
        model,
        optimizer,
        build_schedule(optimizer, settings.schedule, steps, warmup),
        build_ema(model, settings.ema) if settings.ema else None,
        clip=settings.clip,
        seed=settings.seed,
        dtype=_type_of_layers(defaults.settings, device),
    )


def _type_of_layers(settings: TrainSettings, device: torch.device) -> torch.dtype | None:
    """16 bits, or None for float32: also where a run goes on that has come to a device which is slow with them."""
    if not settings.amp:
        return None
    try:
        return amp.half_dtype(device)
    except UsageError:
        if not settings.resume:
            raise
        warn(f"{settings.resume} has trained in 16 bits, which {device.type} is slow with here; it goes on in float32")
        return None


def images_per_step(settings: TrainSettings) -> int:
    """Of all batches and processes together."""
    return settings.batch_size * settings.accumulate * distributed.world().size


def steps_per_epoch(settings: TrainSettings, data: Data) -> int:
    """On average, where images of rare classes come again by chance."""
    return math.ceil(images_per_epoch(settings, data) / images_per_step(settings))


def images_per_epoch(settings: TrainSettings, data: Data) -> int:
    """On average, with those that come again."""
    times = repeats(settings, data)
    return len(data.records) if times is None else round(float(times.sum()))


def repeats(settings: TrainSettings, data: Data) -> np.ndarray | None:
    """How often each image comes in an epoch, None for once."""
    if not settings.rare:
        return None
    facts = Facts.of(data.records)
    return repeat_factors(facts.images, facts.labels, len(data.records), settings.rare)


def choose_architecture(settings: TrainSettings, has_masks: bool) -> Architecture:
    """What the flags ask for; the head that fits the data where they do not say."""
    assert settings.imgsz
    if settings.model:
        architecture = detector_architecture(settings.model, settings.imgsz)
    else:
        head = settings.head or ("maskrcnn" if has_masks else "fasterrcnn")
        architecture = backbone_architecture(settings.backbone, head, settings.imgsz, settings.fpn_channels)
    if architecture.has_masks and not has_masks:
        raise UsageError(
            f"{architecture.model} learns masks and '{settings.data}' has none; take --head fasterrcnn or v1, v2"
        )
    return architecture


def names_of(records: Table) -> dict[int, str]:
    """Image id -> file, for messages."""
    return dict(zip(records.image_ids.tolist(), (PurePath(name).name for name in records.names), strict=True))
