"""The two programs that compute COCO's metrics (https://cocodataset.org/#detection-eval): pycocotools, the reference,
and faster-coco-eval (https://github.com/MiXaiLL76/faster_coco_eval), which finds the same numbers sooner."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import faster_coco_eval
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detect.evaluation.coco_rows import Row, Rows

# name, which is the distribution's -> the classes of annotations and of their evaluation
EVALUATORS: dict[str, tuple[type, type]] = {
    "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
    "pycocotools": (COCO, COCOeval),
}
REFERENCE = "pycocotools"
DEFAULT = "faster-coco-eval"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluator found, 0..1, and -1 where there was nothing to find.

    stats: [12], in the order of ``coco.NAMES``.
    precision: [IoU, recall, class, area range, most detections].  recall: the same without the axis of recalls.
    """

    stats: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def evaluate(rows: Rows, kind: str, evaluator: str = DEFAULT) -> Evaluation:
    """The metrics of ``kind``, bbox or segm, by one of ``EVALUATORS``."""
    evaluation = prepared(rows, kind, evaluator)
    with quiet():
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return Evaluation(evaluation.stats, evaluation.eval["precision"], evaluation.eval["recall"])


def prepared(rows: Rows, kind: str, evaluator: str) -> Any:
    """The evaluator's own object, with its rows but not yet run."""
    coco_class, evaluation_class = EVALUATORS[evaluator]
    ground_truth, found = (_indexed(coco_class, rows, some) for some in (rows.ground_truth, rows.detections(kind)))
    return evaluation_class(ground_truth, found, kind)


def named(evaluator: str) -> dict[str, str]:
    """``{"name": .., "version": ..}`` of one of ``EVALUATORS``, to be kept with its numbers."""
    return {"name": evaluator, "version": metadata.version(evaluator)}


def quiet() -> contextlib.redirect_stdout:
    """While pycocotools prints its progress and its own table."""
    return contextlib.redirect_stdout(io.StringIO())


def _indexed(coco_class: type, rows: Rows, annotations: list[Row]) -> Any:
    coco = coco_class()
    copies = [dict(row) for row in annotations]  # an evaluator writes into them
    coco.dataset = {"images": rows.images, "annotations": copies, "categories": rows.categories, "info": {}}
    with quiet():
        coco.createIndex()
    return coco
