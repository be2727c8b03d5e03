"""Fine-tune a Faster R-CNN or Mask R-CNN on a dataset.

Writes outputs/train/NAME/: best.safetensors (the epoch that did best on val), last.safetensors, last_state.pt (for
--resume), settings.yaml, metrics.jsonl, curves.png and tensorboard/.

    torchrun --nproc_per_node=2 train.py ...

trains in two processes at once, each on its share of every step.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from detect.cli.flags import parse
from detect.cli.settings import TrainSettings, settings_of_run
from detect.errors import DataError, DiskError, UsageError
from detect.progress import warn
from detect.text import counted, first_few

NOT_LEARNED = 3  # the exit status of --overfit where the images were not learned

if TYPE_CHECKING:  # torch takes seconds to import, and --help need not wait for it
    import torch

    from detect.data.loader import TrainLoader
    from detect.data.spec import DatasetSpec
    from detect.training.run import TrainingRun
    from detect.training.setup import Data


def main() -> int:
    settings, given = parse(TrainSettings, "Fine-tune a Faster R-CNN or Mask R-CNN on a dataset.")
    if settings.resume:
        settings = settings_of_run(settings, given)
    elif settings.model and given & {"backbone", "head", "fpn_channels"}:
        raise UsageError("--model names a whole model; it excludes --backbone, --head and --fpn-channels")
    if settings.replay:
        print(replayed(settings.replay, settings.device))
    elif settings.overfit:
        return 0 if overfit(settings) else NOT_LEARNED
    else:
        train(settings)
    return 0


def train(settings: TrainSettings) -> None:
    """The story: data, model, epochs, the best checkpoint."""
    from detect import distributed
    from detect.training.run import TrainingRun
    from detect.training.setup import begin

    device, workers = configure_process(settings)
    with distributed.process_group(device) as here:
        saved = TrainingRun.saved_facts(settings.resume) if settings.resume else None
        spec, data = read_data(settings)
        run, settings = begin(settings, saved, spec, data, device)
        with stop_told(run):
            train_epochs(settings, run, data, workers)
        if here.is_first:
            finish(settings, run, spec)


def configure_process(settings: TrainSettings) -> tuple[torch.device, int]:
    """The machine: the device, how many processes load images, and a folder that can be written to."""
    from detect import progress, runtime
    from detect.io.files import make_folder

    progress.hide_bars(settings.quiet)
    device = runtime.pick_device(settings.device)
    workers = runtime.default_workers() if settings.workers is None else settings.workers
    runtime.configure_process(workers)
    runtime.seed_all(settings.seed)
    make_folder(settings.output_dir)
    return device, workers


def read_data(settings: TrainSettings) -> tuple[DatasetSpec, Data]:
    """What to train on, backgrounds among it, and what to validate on, all checked."""
    from detect import distributed
    from detect.data.backgrounds import with_backgrounds
    from detect.data.description import find_spec
    from detect.data.quality.checks.classes import classes_in_use
    from detect.evaluation.predict import check_classes
    from detect.training.setup import Data

    spec = find_spec(settings.data, settings.data_root, settings.format)
    with distributed.first_process_first():
        spec.prepare()  # which may download or render
    if spec.discovery_note:
        print(spec.discovery_note)
    names, records = spec.read("train")
    val_names, val_records = spec.read("val")
    check_classes(names, val_names, f"the val split of '{spec.name}'")
    for split, images in (("train", records), ("val", val_records)):
        if not any(map(len, images)):
            raise DataError(f"dataset '{spec.name}': not one image of split '{split}' has an object")
    if lost := sorted(classes_in_use(val_records, val_names) - classes_in_use(records, names)):
        warn(f"dataset '{spec.name}': val has objects of classes that train has none of: {first_few(lost)}")
    count, beside = len(records), ""
    if settings.backgrounds is not None:
        records = with_backgrounds(records, settings.backgrounds, labelled=spec.image_paths())
        beside = f" and {len(records) - count} backgrounds"
    print(f"{spec.name}: {count} images{beside} to train on, {len(val_records)} to validate on")
    return spec, Data(names, records, val_names, val_records)


def train_epochs(settings: TrainSettings, run: TrainingRun, data: Data, workers: int) -> None:
    """Epoch after epoch: train, validate, write down."""
    from detect.distributed import broadcast_buffers, world
    from detect.evaluation import coco_metrics
    from detect.progress import TRAINING, bar
    from detect.training.callbacks import Watch
    from detect.training.logging import images
    from detect.training.logging.progress import Pace, epoch_line, memory_bytes
    from detect.training.logging.tensorboard import Board
    from detect.training.loop import Progress, train_one_epoch
    from detect.training.run import BOARD
    from detect.training.setup import names_of, steps_per_epoch
    from detect.training.signals import Stops
    from detect.training.validation import Validation

    assert settings.epochs and settings.imgsz  # which begin has seen to
    learner = run.learner
    loader = training_images(settings, run, data, workers)
    validate = Validation(run, data, settings.imgsz, settings.seed)
    pace = Pace(settings.epochs, steps_per_epoch(settings, data))
    steps = learner.schedule.last_epoch
    board = Board(run.folder / BOARD, epoch=run.epoch, steps=steps) if world().is_first else None
    watch = Watch(run, names_of(data.records), settings.skip_steps, pace, board)
    shown = images.choose(data.val_records)
    if run.epoch >= settings.epochs:
        print(f"{run.folder} has all of its {counted(run.epoch, 'epoch')}; --epochs with a larger number trains on")
    patience, since = settings.patience or math.inf, 0
    if run.waited >= patience and run.epoch < settings.epochs:
        print(f"{run.folder} had stopped early; it gets {patience} more epochs to find a better one")
        since = run.epoch
    while run.epoch < settings.epochs and run.epoch - max(since, run.best_epoch) < patience:
        title = f"epoch {run.epoch + 1}/{settings.epochs}"
        batches = loader.epoch(run.epoch, run.within.batches if run.within else 0)
        progress = run.within or Progress()
        with Stops() as stops, bar(batches, desc=title, bar_format=TRAINING) as line:
            losses = train_one_epoch(
                learner, line, epoch=run.epoch, accumulate=settings.accumulate,
                progress=progress, on_step=watch.epoch(line, stops),
            )  # fmt: skip
            broadcast_buffers(learner.model, run.result)
            watch.trained(progress)
        with watch.validation(progress):
            val = validate(title)
        with Stops():  # so that all that an epoch leaves is there, or nothing
            row = run.finish_epoch(losses, val.metrics, val.losses, memory_bytes(str(learner.device)))
        if board:
            board.epoch(row)
            board.images(run.epoch, images.images(data.val_records, val.found, data.val_names, shown))
        words = coco_metrics.one_line(val.metrics)
        print(epoch_line(row, settings.epochs, words, pace.left(), is_best=run.waited == 0), flush=True)


def training_images(settings: TrainSettings, run: TrainingRun, data: Data, workers: int) -> TrainLoader:
    """Batches of augmented images, this process' share of them."""
    from detect.data.augmentation.pipeline import TrainTransform
    from detect.data.dataset import DetectionDataset
    from detect.data.loader import TrainLoader
    from detect.distributed import world
    from detect.training.setup import repeats

    assert settings.epochs and settings.imgsz
    masks, augmentation = run.architecture.has_masks, settings.augmentation
    transform = TrainTransform(settings.imgsz, augmentation, settings.epochs)
    print(f"augmentation: {transform.describe(has_masks=data.records.has_masks)}")
    return TrainLoader(
        DetectionDataset(data.records, transform, with_masks=masks, seed=settings.seed),
        settings.batch_size,
        workers,
        repeats=repeats(settings, data),
        rank=world().rank,
        world_size=world().size,
        accumulate=settings.accumulate,
    )


@contextmanager
def stop_told(run: TrainingRun) -> Iterator[None]:
    """Tell how far the run is, and how to go on, where it ends early in the block."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(stopped(run)) from None
    except DiskError as error:
        raise DiskError(f"{error}; {stopped(run)}") from error
    finally:
        run.release()
        run.discard_if_empty()


def stopped(run: TrainingRun) -> str:
    """Words for a run that ends early: how far it is, and how to go on."""
    from detect.distributed import world
    from detect.training.run import LAST, STATE

    if not (run.folder / STATE).exists():
        kept = run.folder / LAST
        what = f"its weights are in {kept}" if kept.exists() else "there is nothing to go on with"
        return f"stopped before the first epoch was kept; {what}"
    size = world().size
    start = ["python"] if size == 1 else ["torchrun", f"--nproc_per_node={size}"]
    again = shlex.join([*start, "train.py", "--resume", str(run.folder)])
    how_far = counted(run.epoch, "finished epoch")
    how_far += f" and {counted(run.within.batches, 'batch', 'batches')}" if run.within else ""
    return f"stopped after {how_far}; go on with: {again}"


def finish(settings: TrainSettings, run: TrainingRun, spec: DatasetSpec) -> None:
    """Draw the curves, and say which epoch was the best and what to do with it."""
    from detect.training.logging.jsonl import MetricsLog
    from detect.training.logging.plots import write_curves
    from detect.training.run import BEST, CURVES, LOG

    assert settings.epochs
    if settings.patience and run.epoch < settings.epochs:
        print(
            f"stopped early: {counted(run.waited, 'epoch')} without a better {settings.metric}; --resume gives it more"
        )
    rows, best_epoch = MetricsLog(run.folder / LOG).rows(), run.best_epoch if math.isfinite(run.best) else 0
    write_curves(rows, run.folder / CURVES, run.folder.name, best_epoch, settings.metric)
    best = run.folder / BEST
    score = f"{abs(run.best):.3f}" if math.isfinite(run.best) else "unknown"
    print(f"best {settings.metric} on val {score}, of epoch {run.best_epoch}: {best}")
    if settings.metric != "loss" and run.best == 0:
        print(
            f"it has found nothing yet: take more --epochs, or see with --overfit 8 whether it can learn {spec.name}"
        )
    where = ["--data", settings.data, *(["--data-root", str(settings.data_root)] if settings.data_root else [])]
    where += ["--format", settings.format] if settings.format != "auto" else []
    split = "test" if "test" in spec.splits else "val"
    print("next:", shlex.join(["python", "evaluate.py", "--model", str(best), *where, "--split", split]))


def overfit(settings: TrainSettings) -> bool:
    """Learn a few images by heart, or say what is wrong; whether they were learned."""
    from detect.distributed import require_single_process
    from detect.training.overfit import overfit_images

    require_single_process("--overfit")
    device, workers = configure_process(settings)
    _, data = read_data(settings)
    return overfit_images(settings, data, device, workers)


def replayed(path: Path, device: str) -> str:
    """What there is to say of a step that failed, and is taken again."""
    from detect import distributed, runtime
    from detect.training import debug_step

    distributed.require_single_process("--replay")
    runtime.configure_process()
    return debug_step.replay(path, runtime.pick_device(device))
