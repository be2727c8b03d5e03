"""The galleries of a report: the worst errors of each kind, as parts of images."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from detect.data.dataset import read_record
from detect.errors import DetectError
from detect.evaluation.analysis import Analysis
from detect.evaluation.error_analysis import ErrorAnalysis, ErrorType
from detect.evaluation.overlaps import box_ious
from detect.evaluation.report.crops import Boxes, Crop, crop
from detect.evaluation.report.page import Page
from detect.progress import bar

MAX_SHOTS = 12  # per gallery
_MAX_UP = 3  # folders from that of the page up to one that also holds the image


@dataclass(frozen=True)
class Error:
    """One error: rows of a detection and an object in an EvaluationTable, -1 for none; and a sentence."""

    detection: int
    ground_truth: int
    text: str


def content(page: Page) -> dict[str, Any]:
    """Return the galleries: title, number of all such errors, and the worst ones with crop, text and file."""
    analysis = page.analysis
    rows = {kind: _rows(analysis.shown_errors, kind) for kind, *_ in _GALLERIES}
    chosen = {kind: [describe(analysis, row) for row in rows[kind][:MAX_SHOTS]] for kind, _, _, describe in _GALLERIES}
    crops = _crops(analysis, [error for found in chosen.values() for error in found])
    return {
        "galleries": [
            {
                "title": title,
                "note": note,
                "total": len(rows[kind]),
                "shots": [_shot(page, error, crops.get(id(error))) for error in chosen[kind]],
            }
            for kind, title, note, _ in _GALLERIES
        ]
    }


def _rows(errors: ErrorAnalysis, kind: ErrorType) -> list[int]:
    """Return the rows of the detections with one type of error by descending score, of missed objects by area."""
    types, order = (
        (errors.object_error, errors.table.gt_area)
        if kind is ErrorType.MISSED
        else (errors.detection_error, errors.table.dt_scores)
    )
    rows = np.flatnonzero(types == kind)
    return rows[np.argsort(-order[rows], kind="stable")].tolist()


def _detected(errors: ErrorAnalysis, row: int) -> str:
    name = errors.table.class_names.name(int(errors.table.dt_label[row]))
    return f"{name} {errors.table.dt_scores[row]:.2f}"


def _annotated(errors: ErrorAnalysis, row: int) -> str:
    return errors.table.class_names.name(int(errors.table.gt_label[row]))


def _iou(errors: ErrorAnalysis, detection: int, ground_truth: int) -> float:
    """Return the IoU of two boxes."""
    return float(box_ious(errors.table.dt_boxes[[detection]], errors.table.gt_boxes[[ground_truth]])[0])


def _false_positive(analysis: Analysis, row: int) -> Error:
    return Error(row, -1, f"detected {_detected(analysis.shown_errors, row)}, nothing is annotated")


def _missed(analysis: Analysis, row: int) -> Error:
    score = analysis.found_score[row]
    reason = "not detected at any score" if np.isnan(score) else f"detected, but only with score {score:.2f}"
    return Error(-1, row, f"{_annotated(analysis.shown_errors, row)}, {reason}")


def _confusion(analysis: Analysis, row: int) -> Error:
    errors, other = analysis.shown_errors, int(analysis.shown_errors.detection_object[row])
    text = f"detected {_detected(errors, row)}, annotated {_annotated(errors, other)}"
    return Error(row, other, f"{text}, IoU {_iou(errors, row, other):.2f}")


def _inaccurate(analysis: Analysis, row: int) -> Error:
    errors, other = analysis.shown_errors, int(analysis.shown_errors.detection_object[row])
    return Error(row, other, f"{_detected(errors, row)}, IoU {_iou(errors, row, other):.2f}")


# Type of error, title, note, and the function that describes one detection (or missed object) of it.
_GALLERIES: tuple[tuple[ErrorType, str, str, Callable[[Analysis, int], Error]], ...] = (
    (
        ErrorType.BACKGROUND,
        "False positives",
        "background errors: no object is annotated; highest score first",
        _false_positive,
    ),
    (
        ErrorType.MISSED,
        "Missed objects",
        "no detection at the threshold is near the object; largest first",
        _missed,
    ),
    (
        ErrorType.CLASSIFICATION,
        "Confusions",
        "classification errors: the box fits an object of another class; highest score first",
        _confusion,
    ),
    (
        ErrorType.LOCALIZATION,
        "Inaccurate boxes",
        "localization errors: right class, but an IoU of 0.1 to 0.5; highest score first",
        _inaccurate,
    ),
)


def _image_of(errors: ErrorAnalysis, error: Error) -> int:
    table = errors.table
    return int(table.dt_image[error.detection] if error.ground_truth < 0 else table.gt_image[error.ground_truth])


def _crops(analysis: Analysis, chosen: Iterable[Error]) -> dict[int, Crop]:
    """Return the crop of each error by its id; none for an image that cannot be read."""
    errors = analysis.shown_errors
    by_image: dict[int, list[Error]] = defaultdict(list)
    for error in chosen:
        by_image[_image_of(errors, error)].append(error)
    crops: dict[int, Crop] = {}
    for image, members in bar(sorted(by_image.items()), desc="draw errors", min_items=10):
        try:
            pixels = read_record(analysis.evaluation.records[image], lambda: None)
        except DetectError:
            continue
        crops |= {id(error): crop(pixels, _boxes(errors, image, error)) for error in members}
    return crops


def _boxes(errors: ErrorAnalysis, image: int, error: Error) -> Boxes:
    table = errors.table
    first, last = np.searchsorted(table.gt_image, [image, image + 1])
    others = [row for row in range(first, last) if row != error.ground_truth]
    return Boxes(
        annotated=None if error.ground_truth < 0 else table.gt_boxes[error.ground_truth],
        detected=None if error.detection < 0 else table.dt_boxes[error.detection],
        others=table.gt_boxes[others],
    )


def _shot(page: Page, error: Error, part: Crop | None) -> dict[str, Any]:
    path = page.analysis.evaluation.records[_image_of(page.analysis.shown_errors, error)].path
    return {"text": error.text, "crop": part, "file": path.name, "link": relative_link(path, page.folder)}


def relative_link(path: Path, folder: Path) -> str:
    """Return the address of a file relative to the folder of a page.

    Returns "" if the nearest common folder is the root of the drive, or is more than three levels above the page. Such
    a link would show the folders of this machine, and would break when the page is moved.
    """
    path, folder = path.absolute(), folder.absolute()
    try:
        relative, common = os.path.relpath(path, folder), Path(os.path.commonpath((path, folder)))
    except ValueError:  # on different drives
        return ""
    if common == Path(common.anchor) or Path(relative).parts[: _MAX_UP + 1] == ("..",) * (_MAX_UP + 1):
        return ""
    return quote(Path(relative).as_posix(), errors="surrogateescape")
