"""The overfit test: train on a few images until the model reproduces their annotations, or say what may be wrong.

A detector that cannot even overfit a few images has a bug in its data or settings, which is found much faster on eight
images than on a thousand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from detect import distributed
from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset
from detect.data.loader import TrainLoader
from detect.data.table import Table
from detect.errors import DataError, TrainingError
from detect.evaluation import coco_metrics
from detect.evaluation.detection_limit import STANDARD_LIMIT, scored_detections
from detect.evaluation.error_analysis import ErrorAnalysis, ErrorType, analyze_errors_above
from detect.evaluation.predict import EVALUATION_THRESHOLD, detect_for_dataset, only_readable
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.models.builder import Detector
from detect.progress import report, warn
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_size import resized_hw
from detect.text import counted, first_few
from detect.training import overview, setup
from detect.training.callbacks import describe_failure
from detect.training.config import TrainConfig
from detect.training.data import evenly_spaced, image_names, read_training_data
from detect.training.fitting import FittedConfig
from detect.training.initial_model import build_initial_model
from detect.training.logging.tracking import NO_TRACKER
from detect.training.loop import EpochProgress, train_one_epoch
from detect.training.step import Batch, StepResult, TrainStep

SUFFICIENT_AP50 = 0.95  # of overfitted images
MAX_STEPS = 600
STEPS_PER_CHECK = 50

_MIN_DROP = 0.5  # a loss that stays above this fraction of its first value has hardly fallen
_MIN_SCORE = 0.5  # of detections whose errors are explained
_SMALL_SIDE = 16  # pixels of the resized image; smaller objects leave little trace on any feature map
_MIN_FRACTION = 0.05  # of the objects; an error with fewer objects does not explain the failure


@dataclass(frozen=True)
class OverfitCheck:
    """State after ``steps`` steps: mean loss since the check before, and bbox AP50 (0..1) on the images."""

    steps: int
    loss: float
    ap50: float


@dataclass(frozen=True)
class OverfitResult:
    """Result of the overfit test.

    passed: whether AP50 exceeded SUFFICIENT_AP50.
    checks: one entry per 50 steps.
    causes: if it did not pass, possible causes in words, the most likely first.
    """

    passed: bool
    checks: tuple[OverfitCheck, ...]
    causes: tuple[str, ...] = ()


def overfit_test(config: TrainConfig, num_images: int) -> OverfitResult:
    """Train on ``num_images`` images until the model reproduces their annotations; report possible causes if not.

    No checkpoint and no log is saved; random splits are saved as by a training. Settings that would slow overfitting
    down, such as augmentation and frozen layers, are ignored.
    Raises TrainingError for a step that fails.
    """
    distributed.require_single_process("the overfit test")
    if config.log != NO_TRACKER:
        warn(f"`log={config.log!r}` is not used: the overfit test logs nothing")
    device, workers = setup.prepare_process(config)
    data = read_training_data(config.data, config.data_root, config.format, config.backgrounds)
    few = choose_images(data.train, num_images)
    report(f"overfit test on {counted(len(few), 'image')} with {counted(len(few.boxes), 'object')}")
    config = replace(
        config,
        epochs=math.ceil(MAX_STEPS / math.ceil(len(few) / config.batch_size)),
        jitter=[1.0, 1.0],
        ema=0.0,
        freeze=0,
        repeat_threshold=0.0,
        accumulate=1,
    )
    fitted = FittedConfig(config, data._replace(train=few))
    model, architecture = build_initial_model(fitted)
    train_step = setup.build_train_step(model.to(device), fitted)
    overview.report_model(model, architecture, few)
    setup.report_start(fitted, train_step)
    return _overfit(train_step, model, fitted, workers, with_masks=architecture.has_masks)


def _overfit(
    train_step: TrainStep, model: Detector, fitted: FittedConfig, workers: int, *, with_masks: bool
) -> OverfitResult:
    """Train without augmentation until the AP50 of the images is above SUFFICIENT_AP50, or MAX_STEPS are taken."""
    records, class_names, config = fitted.data.train, fitted.data.class_names, fitted.config
    assert config.imgsz
    transform = TrainTransform(config.imgsz, Augmentation("none"))
    dataset = DetectionDataset(records, transform, with_masks=with_masks, seed=config.seed)
    loader = TrainLoader(dataset, config.batch_size, workers)
    batches = (batch for epoch in range(MAX_STEPS) for batch in loader.epoch(epoch))
    predictor = Predictor(TorchRuntime(model, device=train_step.device), class_names, threshold=EVALUATION_THRESHOLD)
    names = image_names(records)
    limit = scored_detections(config.max_detections)  # with COCO's, crowded images could not reach SUFFICIENT_AP50

    def on_step(result: StepResult, step_batches: list[Batch], _: EpochProgress) -> None:
        if result.failed:
            message = describe_failure(result, step_batches, names)
            raise TrainingError(f"{message}; check the boxes of these images, or lower `lr`")

    checks: list[OverfitCheck] = []
    for steps in range(STEPS_PER_CHECK, MAX_STEPS + 1, STEPS_PER_CHECK):
        loss = train_one_epoch(train_step, islice(batches, STEPS_PER_CHECK), on_step=on_step)["loss"]
        model.eval()
        found = detect_for_dataset(predictor, records, class_names, title="detecting")
        readable, detections = only_readable(records, found)
        ap50 = coco_metrics.score(readable, detections, class_names, limit=limit)["bbox"]["AP50"]
        checks.append(OverfitCheck(steps, loss, ap50))
        report(f"step {steps}  loss {loss:.3f}  bbox AP50 {ap50:.3f}")
        if ap50 > SUFFICIENT_AP50:
            report(
                "passed: the model can learn these images and boxes. The test cannot tell whether the labels are"
                " right, since wrong labels can be overfitted too: check them with doctor.py preview"
            )
            return OverfitResult(True, tuple(checks))
    causes = possible_causes(checks, readable, detections, class_names, config.imgsz, limit=limit)
    report(f"failed: bbox AP50 {ap50:.3f} after {steps} steps; above {SUFFICIENT_AP50} is expected")
    for line in causes:
        report(f"- {line}")
    return OverfitResult(False, tuple(checks), tuple(causes))


def choose_images(records: Table, count: int) -> Table:
    """Return ``count`` images with objects, evenly spaced, with every class among them if possible.

    Raises DataError if no image has an object.
    """
    with_objects = np.unique(records.images[~records.iscrowd])
    if not len(with_objects):
        raise DataError("the overfit test needs an image with an object; the dataset has no such image")
    chosen: list[int] = []
    for label in np.unique(records.labels[~records.iscrowd]).tolist():  # one image per class first
        of_class = np.unique(records.images[(records.labels == label) & ~records.iscrowd])
        if len(chosen) < count and not np.isin(of_class, chosen).any():
            chosen.append(int(of_class[0]))
    rest = np.setdiff1d(with_objects, chosen)
    chosen += evenly_spaced(rest.tolist(), count - len(chosen))
    return records.take_images(np.array(sorted(chosen)))


def possible_causes(
    checks: Sequence[OverfitCheck],
    records: Table,
    detections: Sequence[Detections],
    class_names: ClassNames,
    imgsz: int,
    *,
    limit: int = STANDARD_LIMIT,
) -> list[str]:
    """Return why the images could not be overfitted, judged by losses and errors; one line each, likeliest first.

    limit: number of detections per image and class that are judged.
    """
    errors = analyze_errors_above(_MIN_SCORE, records, detections, class_names, limit=limit)
    lines = [_explain_losses(checks)] if checks[-1].loss > _MIN_DROP * checks[0].loss else []
    explanations = {
        ErrorType.CLASSIFICATION: _explain_wrong_classes,
        ErrorType.LOCALIZATION: _explain_inaccurate,
        ErrorType.MISSED: _explain_missed,
    }
    threshold = _MIN_FRACTION * errors.num_objects
    objects = {kind: np.flatnonzero(errors.object_error == kind) for kind in explanations}
    for kind in sorted(explanations, key=lambda kind: -len(objects[kind])):
        if len(objects[kind]) > threshold:
            lines.append(explanations[kind](errors, objects[kind], records, imgsz))
    background = errors.table.dt_image[errors.detection_error == ErrorType.BACKGROUND]
    if len(background) > threshold:
        worst = records.names[int(np.bincount(background).argmax())]
        lines.append(
            f"{counted(len(background), 'false positive')}, most of them in {worst}: "
            "do the annotations lack objects there?"
        )
    detected = int((errors.object_error == ErrorType.NONE).sum())
    return lines or [f"almost passed ({detected} of {errors.num_objects} objects are detected)"]


def _explain_losses(checks: Sequence[OverfitCheck]) -> str:
    return (
        f"the loss hardly fell, from {checks[0].loss:.2f} to {checks[-1].loss:.2f}: try an `lr` three times as high "
        "or a third as high; with `pretrained='none'` this number of steps is too small"
    )


def _explain_wrong_classes(errors: ErrorAnalysis, objects: np.ndarray, records: Table, imgsz: int) -> str:
    names = errors.table.class_names
    labels = errors.table.gt_label[objects], errors.table.dt_label[errors.object_detection[objects]]
    pairs = Counter(zip(*(column.tolist() for column in labels), strict=True)).most_common(2)
    confused = "; ".join(f"{names.name(a)} detected as {names.name(b)}: {n}" for (a, b), n in pairs)
    return (
        f"wrong class for {counted(len(objects), 'object')} ({confused}): "
        "do the annotations use both labels for the same kind of object?"
    )


def _explain_inaccurate(errors: ErrorAnalysis, objects: np.ndarray, records: Table, imgsz: int) -> str:
    files = dict.fromkeys(records.names[image] for image in errors.table.gt_image[objects].tolist())
    return (
        f"inaccurate boxes for {counted(len(objects), 'object')} ({first_few(files, 3)}): "
        "check the annotated boxes with doctor.py preview; crowded objects need a larger `imgsz`"
    )


def _explain_missed(errors: ErrorAnalysis, objects: np.ndarray, records: Table, imgsz: int) -> str:
    images, boxes = errors.table.gt_image[objects], errors.table.gt_boxes[objects]
    image_hw = errors.table.image_hw[images].tolist()
    scales = np.array([resized_hw((h, w), imgsz)[0] / h for h, w in image_hw])
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) * scales
    missed_objects = f"{len(objects)} of {counted(errors.num_objects, 'object')} not detected"
    if (small := int((sides < _SMALL_SIDE).sum())) > len(objects) / 2:
        return f"{missed_objects}; {small} smaller than {_SMALL_SIDE} pixels at `imgsz={imgsz}`: try a larger `imgsz`"
    files = dict.fromkeys(records.names[image] for image in images.tolist())
    return (
        f"{missed_objects} ({first_few(files, 3)}): "
        "do the annotations belong to these images? Check with doctor.py preview"
    )
