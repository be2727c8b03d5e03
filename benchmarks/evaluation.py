"""Time of COCO's metrics and of their confidence intervals, beside pycocotools and faster-coco-eval."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.report import Result
from benchmarks.settings import EvaluateSettings
from detect import progress
from detect.evaluation import EVALUATORS, coco_metrics
from detect.evaluation.intervals import ap_intervals
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.text import counted

_REFERENCE = "pycocotools"
_SIDE = 640  # pixels
_OBJECTS_PER_IMAGE = 7.3  # as in COCO
_RIGHT_CLASS = 0.4  # fraction of the detections that have the class of the object beside them


def run(settings: EvaluateSettings) -> Result:
    """Compute the metrics of simulated detections with each evaluator, in turns, and the intervals once per round."""
    records, detections = simulate(settings.images, settings.classes, settings.detections)
    class_names = ClassNames(tuple(f"class {i}" for i in range(1, settings.classes + 1)))
    seconds: dict[str, list[float]] = {name: [] for name in EVALUATORS}
    scores: dict[str, float] = {}
    for name in progress.bar([*EVALUATORS] * settings.rounds, desc="evaluation"):
        started = time.perf_counter()
        metrics = coco_metrics.score(records, detections, class_names, evaluator=name)
        seconds[name].append(time.perf_counter() - started)
        scores[name] = metrics["bbox"]["AP"]
    if not np.allclose(list(scores.values()), scores[_REFERENCE], atol=1e-9):
        raise RuntimeError(f"the evaluators disagree: AP {scores}")
    intervals = []
    for _ in range(settings.rounds):
        started = time.perf_counter()
        ap_intervals(records, detections, class_names)
        intervals.append(time.perf_counter() - started)
    packages = ", ".join(f"{name} {version(name)}" for name in (*EVALUATORS[1:], "numpy"))
    size = f"{counted(settings.images, 'image')}, {counted(settings.classes, 'class', 'classes')}"
    rounds = counted(settings.rounds, "round")
    text = (
        f"{packages}. {size}, {counted(settings.detections, 'detection')} per image, boxes; from records to the table."
        f" Medians of {rounds}; all evaluators give AP {scores[_REFERENCE]:.6f}.\n\n{table(seconds, intervals)}"
    )
    return text, {"seconds": seconds, "interval_seconds": intervals, "ap": scores}


def table(seconds: dict[str, list[float]], intervals: Sequence[float]) -> str:
    """Return the Markdown table of the median times."""
    medians = {name: report.median(values) for name, values in seconds.items()}
    medians["detect, 95 % intervals from 1,000 half samples"] = report.median(intervals)
    rows = []
    for name, value in medians.items():
        assert value is not None
        reference = medians[_REFERENCE]
        assert reference is not None
        rows.append([name, f"{value:.1f}", f"{reference / value:.1f}"])
    return report.table(("", "seconds", "times as fast as pycocotools"), rows)


def simulate(images: int, classes: int, detections: int) -> tuple[list[ImageRecord], list[Detections]]:
    """Return records of random boxes and ``detections`` shifted copies of them in each image, with random scores."""
    rng = np.random.default_rng(0)
    records, found = [], []
    for i in range(images):
        count = 1 + rng.poisson(_OBJECTS_PER_IMAGE - 1)
        corner = rng.uniform(0, 500, (count, 2))
        boxes = np.concatenate([corner, np.minimum(corner + rng.lognormal(4, 1, (count, 2)), _SIDE)], axis=1)
        labels = rng.integers(1, classes + 1, count)
        records.append(_record(i, boxes.astype(np.float32), labels))
        near = rng.integers(0, count, detections)
        shifted = boxes[near] + rng.normal(0, 8, (detections, 4))
        shifted[:, 2:] = np.maximum(shifted[:, 2:], shifted[:, :2] + 1)
        right = rng.random(detections) < _RIGHT_CLASS
        own = np.where(right, labels[near], rng.integers(1, classes + 1, detections))
        scores = np.sort(rng.random(detections).astype(np.float32))[::-1]
        found.append(Detections((_SIDE, _SIDE), shifted.astype(np.float32), scores, own))
    return records, found


def _record(number: int, boxes: np.ndarray, labels: np.ndarray) -> ImageRecord:
    columns: dict[str, Any] = {
        "areas": np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).astype(np.float64),
        "iscrowd": np.zeros(len(boxes), bool),
        "annotation_ids": np.arange(len(boxes)),
    }
    return ImageRecord(Path(f"{number}.jpg"), (_SIDE, _SIDE), number, boxes, labels, **columns)
