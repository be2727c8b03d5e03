"""Finds limits of the dataset or the protocol: missing classes, few images, the limit on detections."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detect.evaluation.analysis import Analysis
from detect.evaluation.coco_metrics import LIMIT
from detect.evaluation.detection_limit import explain_limit
from detect.evaluation.diagnosis.finding import Finding, Severity, fine, percent
from detect.text import counted, first_few

_FEW_IMAGES = 50  # below which another choice of images changes AP by several points
_FEW_OBJECTS = 10
_MIN_IOU = 0.5
_OFTEN = 0.05  # fraction of the images
_MOST = 0.5


def check_classes(analysis: Analysis) -> Iterator[Finding]:
    """Yield classes that only the model or only the dataset has, and classes with few objects."""
    one = analysis.evaluation
    of_model = set(one.predictor.class_names.names) if one.predictor else None
    own = set(one.class_names.names)
    if of_model is not None and (missing := [name for name in one.class_names.names if name not in of_model]):
        yield Finding(
            Severity.PROBLEM,
            f"The model lacks {counted(len(missing), 'class', 'classes')} of the dataset",
            f"It cannot detect {first_few(missing)}, so their AP is 0 and the mean over classes falls.",
            "Check whether names are spelled differently; otherwise train on annotations of all classes.",
        )
    if of_model and one.predictor and (unused := [n for n in one.predictor.class_names.names if n not in own]):
        yield Finding(
            Severity.WARNING,
            f"{counted(len(unused), 'class of the model is', 'classes of the model are')} not scored",
            f"The dataset has no annotations of {first_few(unused)}; detections of other classes are left out.",
            "Nothing, if the dataset is meant to have only some of the classes.",
        )
    labels = analysis.table.gt_label[analysis.is_object]
    counts = np.bincount(labels, minlength=len(one.class_names) + 1)[1:]
    if few := [f"{n} ({c})" for n, c in zip(one.class_names.names, counts.tolist(), strict=True) if c < _FEW_OBJECTS]:
        yield Finding(
            Severity.WARNING,
            f"{counted(len(few), 'class has', 'classes have')} fewer than {_FEW_OBJECTS} objects",
            f"The metrics of {first_few(few)} are not reliable, and a class without objects is left out of the means.",
            "Annotate more images with these classes for the evaluation.",
        )


def check_any_correct(analysis: Analysis) -> Iterator[Finding]:
    """Yield whether the model detects no object at all, not even as another class."""
    if analysis.is_object.any() and not (analysis.overlaps.iou >= _MIN_IOU).any():
        yield Finding(
            Severity.PROBLEM,
            "The model detects no object",
            f"None of the {counted(len(analysis.table.dt_image), 'detection')} of any score fits one of the"
            f" {counted(int(analysis.is_object.sum()), 'object')} with an IoU of 0.5.",
            "Look at the galleries, then run the overfit test (`overfit=8`): it shows whether a model can learn this"
            " dataset.",
        )


def check_images_without_detections(analysis: Analysis) -> Iterator[Finding]:
    """Yield whether most images with objects have no detection of any score, as if they had been left out."""
    with_objects = np.unique(analysis.table.gt_image[analysis.is_object])
    without = np.setdiff1d(with_objects, analysis.table.dt_image)
    if len(analysis.table.dt_image) and len(without) > _MOST * len(with_objects):
        name = "model" if analysis.evaluation.predictor else "file of detections"
        yield Finding(
            Severity.PROBLEM,
            f"{counted(len(without), 'image')} without any detection",
            f"The {name} has no detection of any score in {len(without)} of {counted(len(with_objects), 'image')} with"
            " objects.",
            "Check whether the detections are of another split, or only of some of its images.",
        )


def check_number_of_images(analysis: Analysis) -> Iterator[Finding]:
    """Yield whether there are too few images for a reliable result."""
    count = len(analysis.evaluation.records)
    if count < _FEW_IMAGES:
        yield Finding(
            Severity.WARNING,
            f"Only {counted(count, 'image')}",
            "Another choice of so few images would change the metrics by several points; see the intervals.",
            "Compare models with `compare`, which tells whether a difference is more than chance; use cross-validation"
            " (`folds`) or more images.",
        )
    else:
        yield fine("Number of images", f"{count} images were evaluated.")


def check_limit(analysis: Analysis) -> Iterator[Finding]:
    """Yield how often the maximum number of detections was reached."""
    one = analysis.evaluation
    reached = sum(found.limit_reached for found in one.detections)
    lines = explain_limit(one.scores[LIMIT]) if LIMIT in one.scores else []
    if reached > _OFTEN * len(one.detections):
        limit = one.predictor.max_detections if one.predictor else analysis.limit
        yield Finding(
            Severity.WARNING,
            "The model often reaches its maximum number of detections",
            f"In {counted(reached, 'image')} ({percent(reached / len(one.detections))}) it stopped at {limit}"
            " detections, so objects with lower scores may be missing.",
            "Evaluate and run the model with a higher `max_detections`.",
        )
    for line in lines:
        yield Finding(Severity.WARNING, "The limit on scored detections lowers AP", f"{line[0].upper()}{line[1:]}.")
    if not lines and not reached:
        yield fine("Number of detections", "No image reached the maximum number of detections.")
