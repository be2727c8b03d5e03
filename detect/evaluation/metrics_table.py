"""COCO's metrics as text tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from detect.data.table import Table
from detect.evaluation.coco_metrics import LIMIT, Scores, scored_limit
from detect.evaluation.detection_limit import explain_limit
from detect.evaluation.intervals import INTERVAL_METRICS, Interval, explanation
from detect.structures.class_names import ClassNames
from detect.structures.image_record import ImageRecord
from detect.text import display_width, first_few, pad

_CLASS_METRICS = ("AP", "AP50", "AP75")
_INTERVAL_WIDTH = len(" [0.123, 0.456]")
_WIDTH = 8  # of a column

Counts = Mapping[str, tuple[int, int]]
"""Class name -> number of images with objects of the class, and number of its objects; crowd regions do not count."""


def count_objects(records: Sequence[ImageRecord], class_names: ClassNames) -> Counts:
    """Count the images and objects of each class."""
    if isinstance(records, Table):  # without creating a record per image
        images, labels = records.images[~records.iscrowd], records.labels[~records.iscrowd]
    else:
        kept = [record.labels[~record.iscrowd] for record in records]
        images = np.repeat(np.arange(len(kept)), [len(labels) for labels in kept])
        labels = np.concatenate([np.zeros(0, np.int64), *kept])
    pairs = np.unique(np.stack([images, labels]), axis=1)[1]
    objects, with_objects = (np.bincount(one, minlength=len(class_names) + 1)[1:] for one in (labels, pairs))
    return dict(zip(class_names.names, zip(with_objects.tolist(), objects.tolist(), strict=True), strict=True))


def table(metrics: dict[str, dict[str, Any]], counts: Counts | None = None) -> str:
    """Return the result of ``coco_metrics.score`` as text: a table of all classes with a row for boxes and one for
    masks, and with several classes a table with rows for each, the lowest AP first.

    counts: see ``count_objects``; without them the second table has no columns for them.

    Further lines say which classes have no objects, if the limit on the number of detections is not COCO's, and if it
    excludes objects. If ``metrics`` has ``intervals`` (see ``intervals.ap_intervals``), AP and AP50 show them and the
    last lines explain them.
    """
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", f"AR{scored_limit(metrics)}")
    intervals = metrics.get("intervals")
    kinds = [kind for kind in ("bbox", "segm") if kind in metrics]
    overall = [(kind, _cells(metrics[kind], names, intervals and intervals[kind])) for kind in kinds]
    lines = _aligned([("", _heads(names, intervals)), *overall])
    if len(metrics["classes"]) > 1:
        heads = f"{'images':>{_WIDTH}}{'objects':>{_WIDTH}}" * bool(counts) + _heads(_CLASS_METRICS, intervals)
        lines += ["", *_aligned([("", heads), *_class_rows(metrics, counts, kinds)])]
    lines += _explain_undefined(metrics["classes"])
    lines += explain_limit(metrics[LIMIT]) if LIMIT in metrics else []
    return "\n".join([*lines, explanation(intervals)] if intervals else lines)


def _class_rows(
    metrics: dict[str, dict[str, Any]], counts: Counts | None, kinds: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield title and cells of each row, sorted by AP of boxes; classes without objects are last."""
    classes, intervals = metrics["classes"], metrics.get("intervals")

    def rank(name: str) -> float:
        value = classes[name]["bbox"]["AP"]
        return 2.0 if value is None else value

    for name in sorted(classes, key=rank):
        for kind in kinds:
            numbers = [f"{number:>{_WIDTH}}" for number in counts[name]] if counts else []
            own = intervals and intervals["classes"][name][kind]
            yield f"{kind} {name}", "".join(numbers) + _cells(classes[name][kind], _CLASS_METRICS, own)


def _aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(display_width(title) for title, _ in rows)
    return [pad(title, width) + cells for title, cells in rows]


def _heads(names: Sequence[str], intervals: dict[str, Any] | None) -> str:
    wide = INTERVAL_METRICS if intervals else ()
    return "".join(f"{name:>{_WIDTH}}" + " " * _INTERVAL_WIDTH * (name in wide) for name in names)


def _cells(scores: Scores, names: Sequence[str], intervals: dict[str, Interval] | None) -> str:
    wide = INTERVAL_METRICS if intervals else ()
    return "".join(
        _value(scores.get(name)) + (_interval((intervals or {}).get(name)) if name in wide else "") for name in names
    )


def _value(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:.3f}':>{_WIDTH}}"


def _interval(ends: Interval) -> str:
    return f"{'-' if ends is None else '[{:.3f}, {:.3f}]'.format(*ends):>{_INTERVAL_WIDTH}}"


def _explain_undefined(classes: dict[str, dict[str, Scores]]) -> list[str]:
    """Return a line about the classes without objects, if there are some."""
    undefined = [name for name, scores in classes.items() if scores["bbox"]["AP"] is None]
    if not undefined or len(undefined) == len(classes):
        return []
    these = "this class" if len(undefined) == 1 else "these classes"
    return [
        f"AP of {first_few(undefined)} is not defined: the split has no objects of {these}; the mean leaves"
        f" {'it' if len(undefined) == 1 else 'them'} out"
    ]
