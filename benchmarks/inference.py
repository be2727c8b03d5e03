"""Speed, memory and AP of one model on a CPU: torchvision's own code beside every way in which this toolkit runs it.

One round runs each variant once on the same decoded images, so that other load affects all equally. Ratios are
computed within a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
import torch

from benchmarks import bar_chart, detectors
from benchmarks.comparison_page import page
from benchmarks.detectors import CannotRunError, Detector, Work
from benchmarks.matrix_peak import MatrixPeak
from benchmarks.measured_images import calibration_images, timed_images
from benchmarks.pooled_ap import PooledAP, measure_pooled_ap
from benchmarks.processes import in_new_process, new_process
from benchmarks.report import Result
from benchmarks.settings import InferenceSettings
from benchmarks.subject import Subject, prepare_subject
from benchmarks.variants import TORCHVISION, VARIANTS, Variant
from detect import progress, runtime
from detect.data.description import find_spec
from detect.data.spec import DatasetSpec
from detect.errors import DetectError
from detect.evaluation.predict import require_shared_classes
from detect.io.files import make_folder, new_temporary_folder


@dataclass
class Row:
    """Measurements of one variant; means over images, medians over rounds, None where not measured.

    name: title of the variant.
    ms: milliseconds per image, and images_per_s: images per second.
    speedup: median of the time of torchvision's code over that of this variant in the same round.
    peak_mib: peak memory in MiB of a process that loads the model and detects.
    ap, segm_ap: AP of boxes and masks in percent, pooled over the splits, and ap_loss, segm_ap_loss: largest loss of a
        single split against torchvision's code, in points; negative if AP rose on every split.
    split_ap: split -> "bbox" or "segm" -> AP in percent.
    multiply_adds, proposals, objects: see ``Work``.
    peak_format: number format of the matrix products that ``peak_fraction`` refers to.
    peak_fraction: operations per second as a fraction of those of the matrix products, two for a multiply-add.
    seconds: of each round, for all images.
    """

    name: str
    peak_format: str
    seconds: list[float] = field(default_factory=list)
    ms: float = 0.0
    images_per_s: float = 0.0
    speedup: float = 1.0
    peak_mib: float | None = None
    ap: float | None = None
    ap_loss: float | None = None
    segm_ap: float | None = None
    segm_ap_loss: float | None = None
    split_ap: dict[str, dict[str, float]] = field(default_factory=dict)
    multiply_adds: float = 0.0
    proposals: float | None = None
    objects: float = 0.0
    peak_fraction: float | None = None


@dataclass(frozen=True)
class Loaded:
    """A variant that runs on this machine, and where its measurements go."""

    variant: Variant
    detector: Detector
    row: Row


def run(settings: InferenceSettings) -> Result:
    """Measure the chosen variants in turns."""
    runtime.hide_gpu_warning()
    if settings.plot:
        make_folder(settings.plot.parent)
    spec = None
    if settings.data:
        spec = find_spec(settings.data, settings.data_root, settings.format)
        spec.prepare()
    images = timed_images(spec, settings.images)
    with new_temporary_folder("benchmark_") as folder:
        subject = prepare_subject(settings.model, settings.imgsz, folder, images, partial(calibration_images, spec))
        if spec and not subject.has_random_weights:
            require_shared_classes(subject.class_names, spec.all_classes(), f"dataset '{spec.name}'")
        loaded, left_out = load(settings, subject, images)
        peak = measure_times(loaded, subject, images, settings.rounds)
        measure_memory(loaded, subject, settings.proposals, images)
        if spec and not subject.has_random_weights:
            measure_ap(loaded, spec)
    rows = [one.row for one in loaded]
    summarize(rows, len(images), peak.rates)
    facts = {
        "model": settings.model,
        "random_weights": subject.has_random_weights,
        "data": spec.name if spec else None,
        "imgsz": loaded[0].detector.imgsz,
        "image_hw": [image.shape[:2] for image in images],
        "matrix_operations_per_s": peak.rates,
        "left_out": left_out,
        "rows": [asdict(row) for row in rows],
    }
    if settings.plot:
        bar_chart.write(settings.plot, f"{settings.model}: ms per image", {row.name: row.ms for row in rows})
    return page(facts), facts


def load(
    settings: InferenceSettings, subject: Subject, images: Sequence[np.ndarray]
) -> tuple[list[Loaded], dict[str, str]]:
    """Return torchvision's code and the chosen variants, warmed up, and the title of each other one with the reason
    why it cannot be measured."""
    get = partial(_load, subject=subject, proposals=settings.proposals)
    base = get(TORCHVISION)
    all_proposals = detectors.work_of(base, images)
    works: dict[bool, Work] = {False: all_proposals}
    loaded = [Loaded(TORCHVISION, base, _row(TORCHVISION, all_proposals))]
    left_out: dict[str, str] = {}
    for name in progress.bar(settings.variants or list(VARIANTS), desc="exporting and loading"):
        variant = VARIANTS[name]
        try:
            detectors.check_machine(variant)
            if variant.is_fast:
                _check_proposals(settings.proposals, all_proposals.proposals)
                works[True] = works.get(True) or detectors.work_of(get(VARIANTS["fast"]), images)
            detector = get(variant)
            detectors.warm_up(variant, detector, images)
        except DetectError as error:
            left_out[variant.title] = progress.spelled(str(error))
        else:
            loaded.append(Loaded(variant, detector, _row(variant, works[variant.is_fast])))
    return loaded, left_out


def _load(variant: Variant, subject: Subject, proposals: int) -> Detector:
    return detectors.load_detector(variant, subject.file(variant.file), subject.imgsz, proposals)


def _row(variant: Variant, work: Work) -> Row:
    return Row(variant.title, variant.peak, **asdict(work))


def _check_proposals(fewer: int, all_proposals: float | None) -> None:
    """Raise CannotRunError if a fast variant would not classify fewer proposals."""
    if all_proposals is None:
        raise CannotRunError("a one-stage model has no proposals")
    if fewer >= all_proposals:
        raise CannotRunError(f"the model has {all_proposals:.0f} proposals; choose fewer with --proposals")


def measure_times(loaded: Sequence[Loaded], subject: Subject, images: Sequence[np.ndarray], rounds: int) -> MatrixPeak:
    """Run all variants in turns, and return the rates of matrix products, measured in every round too.

    torchvision's code runs in a process of its own without the memory settings of the programs, see
    ``runtime.keep_freed_memory``, which cannot be taken back.
    """
    peak = MatrixPeak()
    base = TORCHVISION, subject.file("torchvision"), subject.imgsz, 0, torch.get_num_threads()
    with new_process(f"a second process for {TORCHVISION.title}", "imgsz") as call:
        call(detectors.load_for_timing, *base)
        call(detectors.seconds_of_loaded, images)
        for number in progress.bar(range(rounds), desc="rounds"):
            peak.measure()
            for one in loaded if number % 2 else reversed(loaded):
                if one.variant is TORCHVISION:
                    one.row.seconds.append(call(detectors.seconds_of_loaded, images))
                else:
                    one.row.seconds.append(detectors.seconds_of(one.detector, images))
    return peak


def measure_memory(loaded: Sequence[Loaded], subject: Subject, proposals: int, images: Sequence[np.ndarray]) -> None:
    """Set the peak memory of each variant, measured in a process of its own."""
    for one in progress.bar(loaded, desc="memory"):
        arguments = (one.variant, subject.file(one.variant.file), subject.imgsz, proposals, images)
        size = in_new_process(detectors.peak_memory, *arguments, task=one.variant.title, lower="imgsz")
        one.row.peak_mib = None if size is None else size / 2**20


def measure_ap(loaded: Sequence[Loaded], spec: DatasetSpec) -> None:
    """Set the AP of each variant."""
    base: PooledAP | None = None
    for one in loaded:
        row, found = one.row, measure_pooled_ap(one.detector.scored, spec, one.variant.title)
        base = base or found
        row.split_ap = found.splits
        row.ap, row.segm_ap = found.pooled.get("bbox"), found.pooled.get("segm")
        row.ap_loss, row.segm_ap_loss = (found.largest_loss(base, kind) for kind in ("bbox", "segm"))


def summarize(rows: Sequence[Row], images: int, matrix_rates: dict[str, float]) -> None:
    """Set the medians of each row. The first row is torchvision's code."""
    for row in rows:
        seconds = statistics.median(row.seconds) / images
        row.ms, row.images_per_s = 1000 * seconds, 1 / seconds
        row.speedup = statistics.median(a / b for a, b in zip(rows[0].seconds, row.seconds, strict=True))
        if row.peak_format in matrix_rates:
            row.peak_fraction = 2 * row.multiply_adds / seconds / matrix_rates[row.peak_format]
