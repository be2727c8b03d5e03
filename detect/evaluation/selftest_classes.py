"""Tests of the self-test that follow class names and category ids through the program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from detect.errors import DetectError
from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.class_confusion import check_class_names, detected_as
from detect.evaluation.diagnosis.finding import Severity
from detect.evaluation.evaluate import Evaluation
from detect.evaluation.results_classes import label_of_each_row
from detect.evaluation.results_images import image_of_each_row
from detect.evaluation.results_rows import read_rows
from detect.evaluation.selftest_subject import OneByOne, Outcome, Subject, failed, passed, skipped
from detect.inference.exported_model import is_exported
from detect.io.files import new_temporary_folder, write_text
from detect.models import checkpoint
from detect.models.checkpoint import Checkpoint
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.text import counted, first_few


def names_and_ids(subject: Subject) -> Outcome:
    """Follow every class from the dataset through labels, a checkpoint and a results file, and back."""
    try:
        with new_temporary_folder("selftest") as folder:
            stored = _through_checkpoint(subject.class_names, folder)
            wrong = [
                *_differences("the checkpoint stores", subject.class_names, stored),
                *_differences_of_file(subject),
                *_wrong_labels(subject),
                *_wrong_rows(subject, stored, folder),
            ]
    except DetectError as error:
        wrong = [str(error)]
    if wrong:
        return failed(
            f"{first_few(wrong, 2)}; detections would get the name or id of another class: check the classes of the"
            " checkpoint, and the ids and names in the annotations"
        )
    classes = counted(len(subject.class_names), "class keeps its name and id", "classes keep their names and ids")
    return passed(f"{classes} from the dataset to labels, checkpoint, results file and back{_other_ids(subject)}")


def _through_checkpoint(class_names: ClassNames, folder: Path) -> ClassNames:
    path = folder / "classes.safetensors"
    checkpoint.save(Checkpoint({"weight": torch.zeros(1)}, {}, class_names), path)
    return checkpoint.load(path).class_names


def _differences(what: str, expected: ClassNames, found: ClassNames) -> Iterator[str]:
    """Yield a text for each label whose class differs; ``what`` has or stores ``found``."""
    if len(expected) != len(found):
        yield f"{what} {counted(len(found), 'class', 'classes')} instead of {len(expected)}"
        return
    for label in range(1, 1 + len(expected)):
        texts = [f"{names.name(label)} (id {names.category_id(label)})" for names in (found, expected)]
        if texts[0] != texts[1]:
            yield f"{what} {texts[0]} instead of {texts[1]}"


def _differences_of_file(subject: Subject) -> Iterator[str]:
    """Yield how the classes of the model differ from those in its file."""
    path = subject.predictor.path if subject.predictor else None
    if subject.predictor and path and path.is_file() and not is_exported(path):
        yield from _differences("the model has", checkpoint.load(path).class_names, subject.predictor.class_names)


def _wrong_labels(subject: Subject) -> Iterator[str]:
    """Yield the classes of the model whose detections get another name in an evaluation on the dataset."""
    if subject.predictor is None:
        return
    names = subject.predictor.class_names

    def every_class(image: np.ndarray, _: float | None) -> Detections:
        labels = np.arange(1, 1 + len(names))
        boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (len(names), 1))
        return Detections(image.shape[:2], boxes, np.ones(len(names), np.float32), labels)

    _, found = subject.take(np.arange(1)).detect(OneByOne(names, every_class), "check classes")
    expected = [name for name in names.names if name in subject.class_names.names]
    for one in found:
        for name, other in zip(expected, one.names, strict=True):
            if name != other:
                yield f"a detection of {name} counts as {other}"


def _wrong_rows(subject: Subject, class_names: ClassNames, folder: Path) -> Iterator[str]:
    """Yield the first row of a results file that belongs to another image or class than the detection it was.

    The file has the detections of the sample and, since they may lack classes, a box of every class in one image.
    """
    height, width = subject.sample[0].image_hw
    every_label = np.arange(1, 1 + len(class_names))
    boxes = np.tile(np.array([0, 0, width, height], np.float32), (len(class_names), 1))
    every_class = Detections(
        (height, width), boxes, np.ones(len(boxes), np.float32), every_label, class_names=class_names
    )
    found = [every_class, *subject.detections]
    images = np.array([0, *range(len(subject.sample))])
    rows = [
        row
        for image, one in zip(images.tolist(), found, strict=True)
        for row in Detections(one.image_hw, one.boxes, one.scores, one.labels, class_names=class_names).to_coco(
            subject.sample[image].image_id
        )
    ]
    write_text(folder / "results.json", json.dumps(rows))
    results = read_rows(folder / "results.json")
    labels = np.concatenate([one.labels for one in found])
    expected = {
        "image": np.repeat(images, [len(one) for one in found]),
        "class": labels,
    }
    read = {
        "image": image_of_each_row(results, subject.spec, subject.split, subject.sample),
        "class": label_of_each_row(results, subject.spec, subject.split, subject.class_names),
    }
    for what, values in expected.items():
        for index in np.flatnonzero(values != read[what])[:1].tolist():
            name = class_names.name(int(labels[index]))
            yield f"a detection of {name} in a results file is read back as that of another {what}"


def _other_ids(subject: Subject) -> str:
    """Return a remark if model and dataset have different ids for a class, which is no fault."""
    if subject.predictor is None:
        return ""
    own, model = subject.class_names, subject.predictor.class_names
    shared = [name for name in own.names if name in model.names]
    for name in shared:
        ids = own.category_id(own.label(name)), model.category_id(model.label(name))
        if ids[0] != ids[1]:
            return (
                f"; the model was trained with other ids ({name}: {ids[1]}, here {ids[0]}), so results files that it"
                " writes elsewhere do not fit this dataset"
            )
    return ""


def classes_of_detections(subject: Subject) -> Outcome:
    """Compare the classes of detections with those of the objects that they cover."""
    if len(subject.class_names) == 1:
        return skipped("the dataset has one class")
    evaluation = Evaluation(
        subject.spec.name, subject.split, subject.class_names, subject.sample, subject.detections, scores={}
    )
    analysis = Analysis(evaluation)
    findings = list(check_class_names(analysis))
    for finding in findings:
        if finding.severity is Severity.PROBLEM:
            return failed(f"{finding.title}. {finding.text} {finding.advice}")
    matrix = detected_as(analysis)
    if not matrix.any():
        return skipped("no object is detected")
    right = int(np.trace(matrix))
    return passed(f"{right} of {counted(int(matrix.sum()), 'detected object')} have the class of their annotation")
