"""Finds classes that are swapped, permuted or shifted between the model and the annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.finding import Finding, Severity, fine, percent
from detect.evaluation.matching import match
from detect.text import counted, first_few

_MIN_OBJECTS = 3  # detected objects of a class; with fewer, the confusions may be chance
_MOST = 0.5  # fraction of the detected objects of a class that another class must have
_TITLE = "Class names"
_ADVICE = (
    "Look at the confusions in the section Worst errors: which name is right? If the detected one is, correct the"
    " names of this dataset, such as the list `names` of YOLO or the ids of COCO's categories, and evaluate again. If"
    " the annotated one is, the model learned wrong names: correct the class names in the checkpoint, or those of the"
    " training annotations, and train again. The boxes are right in both cases."
)


def check_class_names(analysis: Analysis) -> Iterator[Finding]:
    """Yield whether classes are swapped, permuted, shifted or confused. Detections are matched with objects by their
    boxes alone, whatever their class."""
    names = analysis.table.class_names
    matrix = detected_as(analysis)
    detected = matrix.sum(axis=1)
    other = {
        label: int(matrix[label].argmax())
        for label in np.flatnonzero(detected >= _MIN_OBJECTS).tolist()
        if matrix[label].argmax() != label and matrix[label].max() >= _MOST * detected[label]
    }

    def part(label: int) -> str:
        return percent(matrix[label, other[label]] / detected[label])

    groups = list(_cycles(other))
    for labels in groups:
        if len(labels) == 2:
            a, b = labels
            yield Finding(
                Severity.PROBLEM,
                f"{names.name(a)} and {names.name(b)} seem to be swapped",
                f"{part(a)} of the detected {names.name(a)} objects are called {names.name(b)}, and {part(b)} of the"
                f" {names.name(b)} objects {names.name(a)}.",
                _ADVICE,
            )
        else:
            yield _permuted(analysis, other, labels)
    rest = [label for label in other if not any(label in labels for labels in groups)]
    if len(rest) >= 3 and len({other[label] - label for label in rest}) == 1:
        yield _permuted(analysis, other, rest)
        rest = []
    for label in rest:
        yield Finding(
            Severity.WARNING,
            f"{names.name(label)} is mostly detected as {names.name(other[label])}",
            f"Detections of any class and score fit {counted(int(detected[label]), 'object')} of {names.name(label)};"
            f" {part(label)} of them are called {names.name(other[label])}.",
            "Look at the confusions below: either the annotations of one class are wrong, or the two classes look"
            " too similar for the number of training images.",
        )
    if not other and len(names) > 1 and detected.any():
        right = np.trace(matrix) / detected.sum()
        yield fine(_TITLE, f"{percent(right)} of the detected objects have the class of their annotation.")


def detected_as(analysis: Analysis) -> np.ndarray:
    """Return how many objects of a class (row) are detected as which class (column), int64 [1 + K, 1 + K].

    Detections and objects are matched as COCO does, but as if all were of one class.
    """
    table = analysis.table
    one_class = replace(table, gt_label=np.ones_like(table.gt_label), dt_label=np.ones_like(table.dt_label))
    limit = max(len(table.dt_image), 1)
    matching = match(one_class, analysis.overlaps, iou_thresholds=np.array([0.5]), limit=limit)
    correct = np.flatnonzero(matching.correct[0, 0])
    objects = matching.matched[0, 0, correct]
    matrix = np.zeros((table.num_classes + 1, table.num_classes + 1), np.int64)
    np.add.at(matrix, (table.gt_label[objects], table.dt_label[correct]), 1)
    return matrix


def _cycles(other: dict[int, int]) -> Iterator[list[int]]:
    """Yield the cycles of a mapping from label to label: [a, b, c] where a maps to b, b to c and c to a."""
    seen: set[int] = set()
    for start in other:
        path: list[int] = []
        label = start
        while label in other and label not in seen:
            seen.add(label)
            path.append(label)
            label = other[label]
        if label in path:
            yield path[path.index(label) :]


def _permuted(analysis: Analysis, other: dict[int, int], labels: list[int]) -> Finding:
    names = analysis.table.class_names
    examples = first_few((f"{names.name(label)} is called {names.name(other[label])}" for label in labels), 4)
    (shift, count) = Counter(other[label] - label for label in labels).most_common(1)[0]
    if count >= len(labels) - 1 and len(labels) > 2:
        by = f"by {abs(shift)}" + (" (as if background were a class)" if abs(shift) == 1 else "")
        title = f"The numbers of {len(labels)} classes seem to be shifted {by}"
    else:
        title = f"The names of {len(labels)} classes seem to be mixed up"
    return Finding(Severity.PROBLEM, title, f"Most of their detected objects have another name: {examples}.", _ADVICE)
