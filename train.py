"""Fine-tune a Faster R-CNN or Mask R-CNN on a data set.

Writes outputs/train/NAME/: best.safetensors (highest bbox AP on val), last.safetensors, last_state.pt (for
--resume), settings.yaml and metrics.jsonl.
"""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detect.config import TrainSettings, settings_of_run
from detect.errors import DataError, DiskError, UsageError, exit_status, first_few, warn
from detect.flags import parse, save

if TYPE_CHECKING:  # torch takes seconds to import, and --help need not wait for it
    import torch

    from detect.data.spec import DatasetSpec
    from detect.data.table import Table
    from detect.models.architecture import Architecture
    from detect.run import TrainingRun
    from detect.types import ClassNames


def main() -> None:
    settings, given = parse(TrainSettings, "Fine-tune a Faster R-CNN or Mask R-CNN on a data set.")
    if settings.resume:
        settings = replace(settings_of_run(settings, given), resume=settings.resume)
    elif settings.model and given & {"backbone", "head", "fpn_channels"}:
        raise UsageError("--model names a whole model; it excludes --backbone, --head and --fpn-channels")
    train(settings)


def train(settings: TrainSettings) -> None:
    """The story: data, model, epochs, the best checkpoint."""
    from detect import progress, runtime
    from detect.data.dataset import DetectionDataset, train_loader
    from detect.data.description import find_spec
    from detect.data.transforms import TrainTransform
    from detect.engine import SCORE_FLOOR, evaluate, train_one_epoch
    from detect.files import make_folder
    from detect.metrics import coco
    from detect.predictor import Predictor
    from detect.run import TrainingRun

    progress.hide_bars(settings.quiet)
    device = runtime.pick_device(settings.device)
    workers = runtime.default_workers() if settings.workers is None else settings.workers
    runtime.set_up(workers)
    runtime.seed_all(settings.seed)

    make_folder(settings.output_dir)
    saved = TrainingRun.saved_state(settings.resume) if settings.resume else None
    spec = find_spec(settings.data, settings.data_root, settings.format)
    (class_names, records), (val_names, val_records) = read_data(spec, settings.backgrounds)
    run = begin(settings, saved, spec, class_names, records, device)
    transform = TrainTransform(settings.short_side, settings.jitter, settings.copy_paste, settings.colours)
    dataset = DetectionDataset(records, transform, with_masks=run.architecture.has_masks, seed=settings.seed)
    predictor = Predictor(run.result, class_names, threshold=SCORE_FLOOR, device=device)
    files = {record.image_id: record.path.name for record in records}
    if run.epoch >= settings.epochs:
        print(f"{run.folder} has all of its {run.epoch} epochs; --epochs with a larger number trains on")
    try:
        while run.epoch < settings.epochs:
            title = f"epoch {run.epoch + 1}/{settings.epochs}"
            batches = train_loader(dataset, settings.batch_size, workers, epoch=run.epoch)
            losses = train_one_epoch(
                run.model, batches, run.optimizer, run.schedule,
                device=device, clip=settings.clip, average=run.average, title=title, names=files,
            )  # fmt: skip
            metrics = evaluate(predictor, val_records, val_names, title=f"{title} val")
            is_best = run.finish_epoch(losses, metrics)
            print(
                f"{title}  loss {losses['loss']:.3f}  {coco.one_line(metrics)}{'  best' if is_best else ''}",
                flush=True,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(stopped(run)) from None
    except DiskError as error:
        raise DiskError(f"{error}; {stopped(run)}") from error
    finally:
        run.discard_if_empty()

    best = run.folder / "best.safetensors"
    print(f"best bbox AP on val {run.best:.3f}: {best}")
    where = ["--data", settings.data, *(["--data-root", str(settings.data_root)] if settings.data_root else [])]
    where += ["--format", settings.format] if settings.format != "auto" else []
    split = "test" if "test" in spec.splits else "val"
    print("next:", shlex.join(["python", "evaluate.py", "--model", str(best), *where, "--split", split]))


def read_data(spec: DatasetSpec, backgrounds: str | None) -> tuple[tuple[ClassNames, Table], tuple[ClassNames, Table]]:
    """Classes and records to train on, backgrounds among them, and those to validate on, all checked."""
    from detect.data.backgrounds import with_backgrounds
    from detect.data.checks.classes import classes_in_use
    from detect.engine import check_classes

    spec.prepare()
    if spec.found:
        print(spec.found)
    names, records = spec.read("train")
    val_names, val_records = spec.read("val")
    check_classes(names, val_names, f"the val split of '{spec.name}'")
    for split, pictures in (("train", records), ("val", val_records)):
        if not any(map(len, pictures)):
            raise DataError(f"data set '{spec.name}': not one picture of split '{split}' has an object")
    if lost := sorted(classes_in_use(val_records, val_names) - classes_in_use(records, names)):
        warn(f"data set '{spec.name}': val has objects of classes that train has none of: {first_few(lost)}")
    count, beside = len(records), ""
    if backgrounds is not None:
        records = with_backgrounds(records, backgrounds, labelled=spec.paths())
        beside = f" and {len(records) - count} backgrounds"
    print(f"{spec.name}: {count} pictures{beside} to train on, {len(val_records)} to validate on")
    return (names, records), (val_names, val_records)


def stopped(run: TrainingRun) -> str:
    """Words for a run that ends early: how far it is, and how to go on."""
    if not run.epoch:
        kept = run.folder / "last.safetensors"
        what = f"its weights are in {kept}" if kept.exists() else "there is nothing to go on with"
        return f"stopped before the first epoch was finished; {what}"
    again = shlex.join(["python", "train.py", "--resume", str(run.folder)])
    return f"stopped after {run.epoch} finished epochs; go on with: {again}"


def begin(
    settings: TrainSettings,
    saved: dict[str, Any] | None,
    spec: DatasetSpec,
    class_names: ClassNames,
    records: Table,
    device: torch.device,
) -> TrainingRun:
    """A new run in a folder of its own, or the one that --resume names, as its ``saved`` state says."""
    from detect.data.spec import fingerprint
    from detect.files import new_folder
    from detect.links import without_query
    from detect.models import pretrained
    from detect.models.anchors import anchor_recall
    from detect.models.architecture import Architecture
    from detect.models.detectors import build, freeze_stages
    from detect.optim import build_average, build_optimizer, build_schedule
    from detect.run import TrainingRun

    if saved:
        if saved["class_names"] != list(class_names.names):
            raise UsageError(
                f"{settings.resume} was trained on the classes {saved['class_names']}, the data has others"
            )
        architecture = Architecture.from_json(saved["architecture"])
        model = build(architecture, len(class_names) + 1)
    else:
        has_masks = records.has_masks
        if settings.copy_paste and not has_masks:
            raise UsageError(f"--copy-paste cuts along masks and '{settings.data}' has none; leave it out")
        asked = choose_architecture(settings, has_masks)
        weights = pretrained.choose(asked.model, settings.pretrained)
        if weights is None and settings.freeze:
            raise UsageError("--freeze keeps the weights that training starts from, and these are random")
        model, architecture, used = pretrained.start_model(asked, class_names, weights)
        print(f"{architecture.model} ({architecture.head}) from {used}")
        if architecture.head != "fcos":  # which has points in place of anchors
            reached = anchor_recall(model, records, settings.short_side)
            print(f"anchors reach {reached:.1%} of the objects at IoU 0.5 unmoved")
    model.to(device)
    freeze_stages(model, settings.freeze)

    steps = settings.epochs * math.ceil(len(records) / settings.batch_size)
    optimizer = build_optimizer(model, settings.optimizer, settings.learning_rate, settings.weight_decay)
    schedule = build_schedule(optimizer, settings.schedule, steps, settings.warmup_steps)
    settings = replace(settings, pretrained=without_query(settings.pretrained))  # runs are published
    facts = {
        "training": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(settings).items()},
        "data": {"name": spec.name, "train_pictures": len(records), "train_sha256": fingerprint(records)},
    }
    name = settings.name or f"{spec.name}_{architecture.model}".replace(":", "_")  # timm:resnet18
    folder = settings.resume or new_folder(settings.output_dir, name)
    # Whole models have no backbone and head to choose, so that --config can read the file back.
    without = {"resume", *(["backbone", "head", "fpn_channels"] if settings.model else [])}
    save(settings, folder / "settings.yaml", without)
    average = build_average(model, settings.ema) if settings.ema else None
    run = TrainingRun(folder, model, architecture, class_names, optimizer, schedule, facts, average)
    if saved:
        run.restore(saved)
    return run


def choose_architecture(settings: TrainSettings, has_masks: bool) -> Architecture:
    """What the flags ask for; the head that fits the data where they do not say."""
    from detect.models.architecture import backbone_architecture, detector_architecture

    if settings.model:
        architecture = detector_architecture(settings.model, settings.short_side)
    else:
        head = settings.head or ("maskrcnn" if has_masks else "fasterrcnn")
        architecture = backbone_architecture(settings.backbone, head, settings.short_side, settings.fpn_channels)
    if architecture.has_masks and not has_masks:
        raise UsageError(
            f"{architecture.model} learns masks and '{settings.data}' has none; take --head fasterrcnn or v1, v2"
        )
    return architecture


if __name__ == "__main__":
    sys.exit(exit_status(main))
