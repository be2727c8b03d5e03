"""Comparison of two models on the same images: is one of them better, or are there too few images to tell?

Both models are scored on the same random halves of the images (see ``intervals``). An image that is difficult for one
model is mostly difficult for the other too, so the difference varies much less than either metric does.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detect.errors import UsageError
from detect.evaluation.analysis import Analysis
from detect.evaluation.half_samples import Matches, average_precisions, half_samples, matches_per_class, nan_mean
from detect.evaluation.intervals import (
    INTERVAL_METRICS,
    SPLITS,
    bias_and_error,
    images_with_objects,
    interval_of_difference,
    with_all_images,
)
from detect.evaluation.threshold_counts import counts_at
from detect.models.checkpoint import DEFAULT_THRESHOLD
from detect.progress import warn
from detect.text import counted, display_width, first_few, pad

if TYPE_CHECKING:
    from detect.evaluation.evaluate import Evaluation

_POWER = 1.96 + 0.84  # 95 % intervals show a difference of this many standard errors in 80 % of the cases
_MAX_NEEDED = 1_000_000  # no larger number of images is stated


@dataclass(frozen=True)
class Difference:
    """One metric of two models, each 0..1.

    baseline, model: the metric of each; None without any object.
    change: model - baseline; 0 without any object.
    low, high: 95 % interval of the change; both None if fewer than two images have objects.
    images_needed: number of images that would show a change of this size in 80 % of the cases; None if these images
        show it, or if it is over a million.
    """

    baseline: float | None
    model: float | None
    change: float
    low: float | None
    high: float | None
    images_needed: int | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class ImageChange:
    """Errors in one image at each model's thresholds with the highest F1, at IoU 0.5.

    file: name of the image.  objects: number of ground-truth objects.
    baseline_false, baseline_missed, model_false, model_missed: numbers of false positives and of missed objects.
    """

    file: str
    objects: int
    baseline_false: int
    baseline_missed: int
    model_false: int
    model_missed: int

    @property
    def fewer_errors(self) -> int:
        """Errors of the baseline minus errors of the model."""
        return self.baseline_false + self.baseline_missed - self.model_false - self.model_missed


@dataclass(frozen=True)
class Comparison:
    """Result of ``compare``.

    baseline, model: names of the two models.
    images: number of images.
    metrics: "bbox_AP", "bbox_AP50" and, if both models have masks, "segm_AP" and "segm_AP50" -> Difference.
    classes: class name -> Difference of its bbox AP, for classes with objects.
    changes: the images in which the number of errors differs, the largest difference first.
    """

    baseline: str
    model: str
    images: int
    metrics: dict[str, Difference]
    classes: dict[str, Difference]
    changes: list[ImageChange]

    def verdict(self, metric: str = "bbox_AP") -> str:
        """Return one sentence: which model is better, or how many images it would take to tell."""
        one = self.metrics[metric]
        shown = _change(one)
        name = metric.replace("_", " ")
        if one.is_clear:
            better, worse = (self.model, self.baseline) if one.change > 0 else (self.baseline, self.model)
            return f"{better} is better than {worse}: {shown} {name}"
        if one.change == one.low == one.high == 0:
            return f"{self.model} and {self.baseline} have the same {name}"
        images = counted(self.images, "image")
        verb = "cannot" if self.images > 1 else "alone cannot"
        needed = "" if one.images_needed is None else f"; about {one.images_needed:,} would be needed"
        return f"{images} {verb} distinguish {self.model} from {self.baseline}: {shown} {name}{needed}"

    def table(self, max_images: int = 5) -> str:
        """Return the verdict, a table of the metrics and of the classes, and the images that changed most."""
        rows = {name.replace("_", " "): one for name, one in self.metrics.items()}
        if len(self.classes) > 1:
            rows |= {f"bbox AP {name}": one for name, one in self.classes.items()}
        width = max(map(display_width, rows))
        lines = [self.verdict(), f"{'':{width}}{'baseline':>10}{'model':>8}  change in points"]
        lines += [
            f"{pad(name, width)}{_metric(one.baseline):>10}{_metric(one.model):>8}  {_change(one)}"
            for name, one in rows.items()
        ]
        lines.append(f"baseline: {self.baseline}; model: {self.model}; [low, high]: 95 % interval of the change")
        if self.changes:
            lines.append(
                "images with the largest change (false positives + missed objects at the best-F1 thresholds):"
            )
            lines += [f"  {_image_change(one)}" for one in self.changes[:max_images]]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with the verdict."""
        return {"verdict": self.verdict(), **asdict(self)}


def compare(
    baseline: Evaluation,
    model: Evaluation,
    *,
    names: tuple[str, str] | None = None,
    splits: int = SPLITS,
    seed: int = 0,
) -> Comparison:
    """Compare two evaluations on the same images.

    names: of the baseline and of the model; by default those of the evaluations.
    splits: number of times that the images are split into two halves.
    If one has only some images of the other, such as those that a model could read, these are compared, with a
    warning. Raises UsageError if the evaluations differ otherwise in their images, their ground truth, their classes,
    or the number of detections that are scored.
    """
    baseline, model = _on_common_images(baseline, model)
    _check_comparable(baseline, model)
    tables = [one.analysis.table for one in (baseline, model)]
    samples = with_all_images(half_samples(tables[0].num_images, splits, seed))
    metrics, classes = {}, {}
    for kind in (kind for kind in tables[0].kinds if kind in tables[1].kinds):
        matches = [_matches(one.analysis, kind) for one in (baseline, model)]
        first, second = (average_precisions(one, samples) for one in matches)  # [K, metrics, samples] each
        images = images_with_objects(matches[0])
        for m, name in enumerate(INTERVAL_METRICS):
            metrics[f"{kind}_{name}"] = _difference(first[:, m], second[:, m], images)
        if kind == "bbox":
            for k, (name, one) in enumerate(zip(model.class_names.names, matches[0], strict=True)):
                if one.objects.any():
                    classes[name] = _difference(first[[k], 0], second[[k], 0], images_with_objects([one]))
    first_name, second_name = names or (baseline.model, model.model)
    return Comparison(
        baseline=first_name,
        model=second_name,
        images=tables[0].num_images,
        metrics=metrics,
        classes=dict(sorted(classes.items(), key=lambda pair: -abs(pair[1].change))),
        changes=_changes(baseline, model),
    )


def _on_common_images(baseline: Evaluation, model: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Return the evaluations on the images of the one with fewer if the other one has all of these; else unchanged."""
    few, more = sorted((baseline, model), key=lambda one: len(one.records))
    keys = [[(record.image_id, record.path.name) for record in one.records] for one in (few, more)]
    kept = set(keys[0])
    if len(keys[0]) == len(keys[1]) or not kept <= set(keys[1]):
        return baseline, model
    rows = [row for row, key in enumerate(keys[1]) if key in kept]
    left_out = [key[1] for key in keys[1] if key not in kept]
    warn(
        f"{counted(len(left_out), 'image')} of {len(keys[1])} left out of the comparison, which only one of the models"
        f" has: {first_few(left_out)}"
    )
    records, detections = [more.records[row] for row in rows], [more.detections[row] for row in rows]
    reduced = replace(more, records=records, detections=detections)
    return (reduced, model) if more is baseline else (baseline, reduced)


def _check_comparable(baseline: Evaluation, model: Evaluation) -> None:
    first, second = baseline.records, model.records
    reason = ""
    if baseline.class_names.names != model.class_names.names:
        reason = "their classes differ"
    elif len(first) != len(second):
        reason = f"one has {counted(len(first), 'image')}, the other {len(second)}"
    elif baseline.analysis.limit != model.analysis.limit:
        reason = "different numbers of detections per image are scored; evaluate both with the same `max_detections`"
    else:
        for one, other in zip(first, second, strict=True):
            same = one.path.name == other.path.name and np.array_equal(one.boxes, other.boxes)
            if not (same and np.array_equal(one.labels, other.labels)):
                reason = f"{one.path.name} and {other.path.name} differ in image or ground truth"
                break
    if reason:
        raise UsageError(f"two models can only be compared on the same images and annotations: {reason}")


def _matches(analysis: Analysis, kind: str) -> list[Matches]:
    return matches_per_class(analysis.table, analysis.matched.matching(kind))


def _difference(baseline: np.ndarray, model: np.ndarray, images: int) -> Difference:
    """Return the difference of the mean of one metric over K classes.

    baseline, model: float64 [K, 1 + 2 S], the metric of each class for all images and for each half sample.
    """
    if not images:
        return Difference(None, None, 0.0, None, None, None)
    before, after = float(nan_mean(baseline[:, 0])), float(nan_mean(model[:, 0]))
    low = high = needed = None
    if images >= 2:
        values = model - baseline
        low, high = interval_of_difference(values, images)
        is_clear = low > 0 or high < 0
        needed = None if is_clear else _images_needed(after - before, bias_and_error(values)[1], images)
    return Difference(before, after, after - before, low, high, needed)


def _images_needed(change: float, error: float, images: int) -> int | None:
    """Return how many images would show ``change`` in 80 % of the cases, to two digits.

    error: standard error of the change on ``images`` images, which falls with the square root of their number.
    """
    if change == 0 or (needed := images * (_POWER * error / change) ** 2) > _MAX_NEEDED:
        return None
    digit = 10 ** max(math.floor(math.log10(max(needed, 1))) - 1, 0)
    return max(math.ceil(needed / digit) * digit, images + 1)


def _changes(baseline: Evaluation, model: Evaluation) -> list[ImageChange]:
    """Return ``Comparison.changes``."""
    before, after = (_errors(one.analysis) for one in (baseline, model))
    changes = [
        ImageChange(record.path.name, int(np.count_nonzero(~record.iscrowd)), *first, *second)
        for record, first, second in zip(model.records, before, after, strict=True)
    ]
    return sorted((one for one in changes if one.fewer_errors), key=lambda one: -abs(one.fewer_errors))


def _errors(analysis: Analysis) -> list[tuple[int, int]]:
    """Return the numbers of false positives and missed objects of each image."""
    thresholds = analysis.chosen.array(default=DEFAULT_THRESHOLD)
    counts = counts_at(analysis.table, analysis.errors.matching, thresholds)
    false = counts.false_positives.sum(axis=1)
    missed = (counts.objects - counts.true_positives).sum(axis=1)
    return list(zip(false.tolist(), missed.tolist(), strict=True))


def _change(one: Difference) -> str:
    ends = "" if one.low is None or one.high is None else f" [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
    return f"{100 * one.change:+.1f}{ends}"


def _metric(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _image_change(one: ImageChange) -> str:
    before, after = (
        f"{a} + {b}" for a, b in ((one.baseline_false, one.baseline_missed), (one.model_false, one.model_missed))
    )
    return f"{one.file}: {before} -> {after} ({counted(one.objects, 'object')})"
