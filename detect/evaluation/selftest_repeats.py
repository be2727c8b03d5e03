"""Tests of the self-test that detect the same objects again in another way: order, batches, files, runtimes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect.evaluation.predict import EVALUATION_THRESHOLD, BatchDetector
from detect.evaluation.selftest_subject import OneByOne, Outcome, Subject, failed, passed, skipped
from detect.inference.exported_model import is_exported
from detect.inference.load import predictor_from_checkpoint
from detect.inference.predictor import Predictor
from detect.inference.runtimes.exported_runtime import ExportedRuntime
from detect.io.files import new_temporary_folder
from detect.models import checkpoint
from detect.structures import masks
from detect.structures.detections import Detections
from detect.structures.masks import Rle
from detect.text import counted

SCORE_TOLERANCE = 0.01
BOX_TOLERANCE = 0.5, 0.001  # pixels, and the fraction of the longer side of the box that is added
METRIC_TOLERANCE = 0.01
SAME = 0.98  # fraction of the detections
"""The tolerances are not 0 because a convolution of another batch size adds in another order, and GPUs round to TF32.
The last bits of a score then differ. NMS and the limit on proposals may prefer the other one of two nearly equal
boxes. This is rare: 2 % of the detections may differ, and AP by 0.01."""

RuntimeLoader = Callable[[Predictor, Path], BatchDetector | str]
"""Function that loads a checkpoint file in a runtime for the same image size, number of detections and device as a
predictor; it returns the reason as text if the runtime is not installed."""


def shuffled(subject: Subject) -> Outcome:
    """Detect in the images of the whole sample in random order."""
    assert subject.predictor
    order = np.random.default_rng(0).permutation(len(subject.sample))
    return _outcome(
        *subject.take(order).detect(subject.predictor, "shuffled images"),
        "the model remembers something between images, or computes at random: check for layers in training mode, and"
        " state that a call changes",
    )


def in_batches(subject: Subject) -> Outcome:
    """Detect in batches of an image, its mirror image, the image before it, and the mirror image of that."""
    assert subject.predictor
    predictor, few = subject.predictor, subject.few()
    before: list[np.ndarray] = []

    def detect(image: np.ndarray, threshold: float | None) -> Detections:
        nonlocal before
        pair = [image, np.ascontiguousarray(image[:, ::-1])]
        found = predictor.predict_batch([*before, *pair], threshold=threshold)[len(before)]
        before = pair
        return found

    return _outcome(
        *few.detect(OneByOne(predictor.class_names, detect), "batches of 4"),
        "results depend on the other images of a batch: check that only images of equal size share one (padding"
        " changes features), and the order in which results are returned",
    )


def in_runtime(load: RuntimeLoader) -> Callable[[Subject], Outcome]:
    """Return the test that saves the checkpoint again, loads it in a runtime and detects."""

    def test(subject: Subject) -> Outcome:
        assert subject.predictor
        path = subject.predictor.path
        if path is None or not path.is_file() or is_exported(path):
            return skipped("the model was not loaded from a checkpoint file")
        with new_temporary_folder("selftest") as folder:
            copy = folder / "copy.safetensors"
            checkpoint.save(checkpoint.load(path), copy)
            detector = load(subject.predictor, copy)
            if isinstance(detector, str):
                return skipped(detector)
            return _outcome(
                *subject.few().detect(detector, "reloaded checkpoint"),
                "the saved model differs from the one that detects: check class names, weights, changes after loading,"
                " and the numeric type of an export",
            )

    return test


def as_verified(subject: Subject) -> Outcome:
    """Compare AP with the one that was measured when the model was exported, perhaps on another CPU."""
    assert subject.predictor
    path = subject.predictor.path
    if path is None or not is_exported(path):
        return skipped("the model is not an export")
    assert isinstance(subject.predictor.runtime, ExportedRuntime)
    recorded = subject.predictor.runtime.facts.verification
    if (recorded.get("dataset"), recorded.get("split")) != (subject.spec.name, subject.split):
        return skipped("the export was not verified on this dataset and split")
    if recorded["images"] != len(subject.sample):
        count = recorded["images"]
        return skipped(f"the export was verified on {count} images; `selftest_images={count}` tests on all of them")
    found = subject.metrics(subject.detections)
    pairs = {name: (ap, found[f"{name} AP"]) for name, ap in recorded["AP"]["after"].items()}
    name, (before, after) = max(pairs.items(), key=lambda pair: abs(pair[1][0] - pair[1][1]))
    text = f"{name} AP {after:.3f} (when exported {before:.3f})"
    if abs(before - after) <= METRIC_TOLERANCE:
        return passed(text)
    return failed(f"{text}; this CPU or version of the runtime computes other results: export the model here")


def _with_torch(predictor: Predictor, path: Path) -> BatchDetector:
    saved = checkpoint.load(path)
    imgsz = predictor.imgsz if predictor.imgsz != saved.architecture["min_size"] else None
    return predictor_from_checkpoint(
        saved, device=predictor.device, imgsz=imgsz, max_detections=predictor.max_detections
    )


RUNTIMES: dict[str, RuntimeLoader] = {"torch": _with_torch}
"""Runtimes that can load a checkpoint. ``detect.deployment.selftest`` has those that need an export."""


def _outcome(subject: Subject, found: list[Detections], meaning: str) -> Outcome:
    """Compare new detections with those of the subject, image by image, and their metrics.

    meaning: what a difference means and what to check.
    """
    agreement = compare_detections(subject.detections, found)
    if agreement.total == 0:
        return skipped("there are no detections to compare")
    before, after = (subject.metrics(one) for one in (subject.detections, found))
    worst = max(before, key=lambda name: abs(before[name] - after[name]))
    text = f"{worst} {after[worst]:.3f} (before {before[worst]:.3f}), {agreement}"
    if agreement.fraction >= SAME and abs(before[worst] - after[worst]) <= METRIC_TOLERANCE:
        return passed(text)
    return failed(f"{text}; {meaning}")


@dataclass(frozen=True)
class Agreement:
    """How many detections of two runs are the same.

    same, total: numbers of detections of both runs together that score at least SCORE_TOLERANCE above the lowest
        evaluated score.
    score, pixels: largest differences of detections that are the same.
    mask_iou: lowest IoU of their masks, 0..1; None without masks.
    """

    same: int
    total: int
    score: float
    pixels: float
    mask_iou: float | None = None

    @property
    def fraction(self) -> float:
        return self.same / self.total if self.total else 1.0

    def __str__(self) -> str:
        """Return the figures, such as ``98.1 % of 52 detections the same (scores within 2e-06, boxes within 4e-05
        pixels, mask IoU at least 0.999)``."""
        within = f"scores within {self.score:.1g}, boxes within {self.pixels:.1g} pixels"
        if self.mask_iou is not None:
            within += f", mask IoU at least {int(self.mask_iou * 1000) / 1000:g}"  # rounded down
        detections = counted(self.total // 2 if self.same == self.total else self.total, "detection")
        part = "all" if self.same == self.total else f"{100 * self.fraction:.1f} %"
        return f"{part} of {detections} the same" + (f" ({within})" if self.same else "")


def compare_detections(first: list[Detections], second: list[Detections]) -> Agreement:
    """Pair the detections of two runs on the same images: same class, score and box up to the tolerances."""
    same = total = 0
    differences, mask_ious = [(0.0, 0.0)], []
    for one, other in zip(first, second, strict=True):
        pairs = _pairs(one, other)
        differences += [
            (float(abs(one.scores[i] - other.scores[j])), float(np.abs(one.boxes[i] - other.boxes[j]).max()))
            for i, j in pairs
        ]
        if one.masks is not None and other.masks is not None:
            mask_ious += [_mask_iou(one.masks[i], other.masks[j]) for i, j in pairs]
        sure = [detections.scores >= EVALUATION_THRESHOLD + SCORE_TOLERANCE for detections in (one, other)]
        total += int(sure[0].sum() + sure[1].sum())
        same += sum(int(sure[0][i]) + int(sure[1][j]) for i, j in pairs)
    scores, pixels = zip(*differences, strict=True)
    return Agreement(same, total, max(scores), max(pixels), min(mask_ious, default=None))


def _mask_iou(one: Rle, other: Rle) -> float:
    return 1.0 if one == other else float(masks.iou([one], [other])[0, 0])  # also of two empty masks


def _pairs(one: Detections, other: Detections) -> list[tuple[int, int]]:
    """Return the rows of detections that are the same, each at most once, the nearest first."""
    score = np.abs(one.scores[:, None] - other.scores) / SCORE_TOLERANCE
    fixed, part = BOX_TOLERANCE
    side = (one.boxes[:, 2:] - one.boxes[:, :2]).max(axis=1, initial=0)[:, None]
    box = np.abs(one.boxes[:, None] - other.boxes).max(axis=2, initial=0) / (fixed + part * side)
    distance = np.maximum(score, box)
    distance[one.labels[:, None] != other.labels] = np.inf
    pairs = []
    rows, columns = np.nonzero(distance <= 1)
    for k in np.argsort(distance[rows, columns], kind="stable").tolist():
        i, j = int(rows[k]), int(columns[k])
        if np.isfinite(distance[i, j]):
            pairs.append((i, j))
            distance[i], distance[:, j] = np.inf, np.inf
    return pairs
