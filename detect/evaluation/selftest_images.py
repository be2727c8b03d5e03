"""Tests of the self-test that change the images: mirrored, other color channels, other files."""

from __future__ import annotations

from itertools import count

import numpy as np

from detect.evaluation.diagnosis.channel_order import MIN_GAIN, compare_channel_orders
from detect.evaluation.overlaps import box_ious
from detect.evaluation.selftest_repeats import SAME, compare_detections
from detect.evaluation.selftest_subject import OneByOne, Outcome, Status, Subject, failed, passed, skipped
from detect.io.files import new_temporary_folder, write_bytes
from detect.media.encoding import encode
from detect.structures.detections import Detections
from detect.text import counted

CONFIDENT = 0.5  # score
_MIN_PAIRS = 10
_MIN_FOUND = 0.3  # fraction of the confident detections that a mirror image must show again
_MAX_SHIFT = 0.04  # of the side of a box; 0.02 was measured on a model that was trained for six epochs, 0.01 on others
_MIN_AP50 = 0.1
_MIN_LOSS = 0.01  # of AP
_MIN_CHROMA = 2.0  # mean difference of the largest and the smallest of red, green and blue, 0..255
_AXES = {"x": (0, "mirrored", "width"), "y": (1, "upside-down", "height")}


def mirrored(subject: Subject) -> Outcome:
    """Compare boxes in images with boxes in their mirror images, mirrored back.

    If a program moves every box by s pixels to the right, the boxes mirrored back lie 2 s to the left of the others.
    A network does the same on a small scale: strides and paddings are not symmetric, and what is learned to balance
    them is a fraction of the size of a box. Thus the median of s / size is tested. It reveals a shift of a pixel for
    objects of less than 25, and wrong sizes, paddings and axes for all.
    """
    outcomes = [_mirrored_along(subject, axis) for axis in _AXES]
    for outcome in outcomes:
        if outcome.status is Status.FAIL:
            return outcome
    if outcomes[0].status is Status.SKIP:
        return outcomes[0]
    return passed("; ".join(outcome.text for outcome in outcomes))


def _mirrored_along(subject: Subject, axis: str) -> Outcome:
    assert subject.predictor
    number, kind, side = _AXES[axis]
    confident = sum(int((one.scores >= CONFIDENT).sum()) for one in subject.detections)
    if confident < _MIN_PAIRS:
        found = f"{counted(confident, 'detection')} with a score of at least {CONFIDENT:g}"
        return skipped(f"{found}, {_MIN_PAIRS} are needed")
    readable, reflections = subject.detect(
        subject.predictor, f"{kind} images", lambda image: np.ascontiguousarray(np.flip(image, 1 - number))
    )
    pairs = [_shifts(*both, number) for both in zip(readable.detections, reflections, strict=True)]
    shifts, sizes = np.concatenate(pairs).T
    again = f"{len(shifts)} of {confident} confident detections found again in {kind} images"
    if len(shifts) < _MIN_FOUND * confident:
        if axis == "y":  # few models are trained on such images
            return skipped(f"{axis} not tested: only {again}")
        return failed(
            f"only {again}; either boxes are not in pixels of the image (check sizes and the order of x and y), or the"
            " model does not know mirrored objects: train with horizontal flips"
        )
    if len(shifts) < _MIN_PAIRS:
        return skipped(f"only {again}")
    relative, error = _median_and_error(shifts / sizes)
    pixels = _MAX_SHIFT * float(np.median(sizes))
    figure = (
        f"{axis} shifted by {100 * relative:+.1f} ± {100 * error:.1f} % of the {side}, {np.median(shifts):+.2f} pixels"
        f" ({pixels:.1f} would fail), {again}"
    )
    if abs(relative) - 2 * error > _MAX_SHIFT:
        return failed(
            f"{figure}; boxes are displaced in {axis}: check the resize factors, offsets of paddings and tiles, and"
            " rounding to whole pixels"
        )
    return passed(figure)


def _shifts(one: Detections, reflected: Detections, axis: int) -> np.ndarray:
    """Return shift and size, pixels, of each confident detection that a mirror image shows too: float64 [N, 2].

    axis: 0 for x, 1 for y. Classes may differ, since a left arrow becomes a right arrow.
    """
    extent = one.image_hw[1 - axis]
    boxes = reflected.boxes.astype(np.float64)
    boxes[:, [axis, axis + 2]] = extent - boxes[:, [axis + 2, axis]]
    shifts = []
    for box in one.boxes[one.scores >= CONFIDENT].astype(np.float64):
        ious = box_ious(np.broadcast_to(box, boxes.shape), boxes)
        if ious.max(initial=0) < 0.5:
            continue
        difference = (box - boxes[ious.argmax()])[[axis, axis + 2]]
        shifts.append((difference.mean() / 2, box[axis + 2] - box[axis]))
    return np.array(shifts, np.float64).reshape(-1, 2)


def _median_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the median and its standard error, from the median absolute deviation (for a normal distribution)."""
    median = float(np.median(values))
    return median, float(1.2533 * 1.4826 * np.median(np.abs(values - median)) / np.sqrt(len(values)))


def has_color(image: np.ndarray) -> bool:
    """Return whether an image, uint8 RGB [H, W, 3], is more than gray levels with a few artifacts of JPEG."""
    some = image[::4, ::4]
    return bool((some.max(axis=2) - some.min(axis=2)).mean() >= _MIN_CHROMA)


def swapped_channels(subject: Subject) -> Outcome:
    """Check that AP falls if red and blue are swapped."""
    assert subject.predictor
    if not subject.has_color:
        return skipped("most images are gray, so red and blue are equal")
    orders = compare_channel_orders(
        subject.predictor, subject.sample, subject.detections, subject.class_names, limit=subject.limit
    )
    (usual, swapped), (usual50, swapped50) = (
        (orders.as_read[name] or 0.0, orders.swapped[name] or 0.0) for name in ("AP", "AP50")
    )
    figure = f"AP {swapped:.3f} instead of {usual:.3f} with red and blue swapped"
    if swapped50 >= usual50 + MIN_GAIN:
        return failed(
            f"{figure}; the model was probably trained on BGR images, which OpenCV's imread gives: convert them to RGB"
            " and train again"
        )
    if usual50 < _MIN_AP50:
        return skipped(f"AP50 {usual50:.3f} is too low for a comparison")
    if swapped > usual - _MIN_LOSS:
        return skipped(f"{figure}: the model hardly uses color, so this says nothing about the order of channels")
    return passed(figure)


def saved_as_png(subject: Subject) -> Outcome:
    """Detect in PNG files of the decoded images, which have the same pixels."""
    return _from_files(
        subject,
        [None],
        "PNG files",
        "files are read differently from images of the dataset: check color order, alpha channels and bit depth",
    )


def rotated_by_exif(subject: Subject) -> Outcome:
    """Detect in PNG files that store the image rotated or mirrored and say so, with each of EXIF's orientations."""
    return _from_files(
        subject,
        [6, 3, 8, 2, 5, 7, 4],
        "EXIF-rotated files",
        "the EXIF orientation of files is ignored or applied twice, so the model gets photos of phones rotated",
    )


def _from_files(subject: Subject, orientations: list[int | None], title: str, meaning: str) -> Outcome:
    """orientations: EXIF orientations of the files, taken in turn; None for files without EXIF data."""
    assert subject.predictor
    predictor = subject.predictor
    with new_temporary_folder("selftest") as folder:
        path, number = folder / "image.png", count()

        def detect(image: np.ndarray, threshold: float | None) -> Detections:
            write_bytes(path, encode(image, "PNG", orientations[next(number) % len(orientations)]))
            found = predictor(path, threshold=threshold)
            if found.image_hw != image.shape[:2]:
                return Detections(image.shape[:2])  # objects in a rotated image are in other places
            return found

        few, found = subject.few().detect(OneByOne(predictor.class_names, detect), title)
    agreement = compare_detections(few.detections, found)
    if agreement.total == 0:
        return skipped("there are no detections to compare")
    figure = f"{agreement} in {counted(len(few.sample), 'image')}"
    return passed(figure) if agreement.fraction >= SAME else failed(f"{figure}; {meaning}")
