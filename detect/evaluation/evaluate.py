"""Evaluates a model, or a file of detections, on a split of a dataset with COCO's metrics."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from detect.data.description import find_spec
from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.data.validation.crowds import require_objects
from detect.errors import UsageError
from detect.evaluation import DEFAULT_EVALUATOR, DEFAULT_SPLIT, coco_metrics, evaluators, metrics_table
from detect.evaluation.analysis import Analysis
from detect.evaluation.columns import evaluation_table
from detect.evaluation.comparison import Comparison, compare
from detect.evaluation.detection_limit import scored_detections
from detect.evaluation.error_texts import top_errors
from detect.evaluation.intervals import intervals_of
from detect.evaluation.matched_table import MatchedTable
from detect.evaluation.predict import check_shared_classes, detect_in_readable
from detect.evaluation.results_file import detections_of
from detect.evaluation.results_rows import Results, read_rows
from detect.evaluation.scored_model import check_scored_model, is_cross_validation, is_results_file
from detect.evaluation.threshold_settings import check_threshold_split
from detect.evaluation.thresholds import Thresholds
from detect.inference.image_counters import LimitCounter
from detect.inference.load import check_no_load_settings, load_model
from detect.inference.predictor import Predictor
from detect.io.files import write_text
from detect.models import checkpoint
from detect.options import check_max_detections, suggest_keywords
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.text import counted


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Metrics of a model on one split of a dataset, by the COCO protocol, on original pixels.

    dataset: name of the dataset.
    split: name of the split.
    class_names: ClassNames of the dataset.
    records: ground truth, one ImageRecord per image that could be read.
    detections: Detections of every image, with labels of ``class_names``; those of a model have scores of at least
        0.05.
    scores: nested metrics as ``coco_metrics.score`` returns them, for a model with ``speed`` ({"seconds_per_image",
        "device"}) and, if requested, ``intervals`` (see ``intervals.ap_intervals``). ``save`` writes them.
    model: name of the model, or path of the file of detections.
    predictor: the model; None for a file of detections.
    spec: the dataset with its other splits; None if unknown.
    class_thresholds: class name -> minimum score that the report applies; None for those of ``predictor``.
    """

    dataset: str
    split: str
    class_names: ClassNames
    records: Sequence[ImageRecord] = field(compare=False)
    detections: list[Detections] = field(compare=False)
    scores: dict[str, dict[str, Any]]
    model: str = ""
    predictor: Predictor | None = field(default=None, compare=False)
    spec: DatasetSpec | None = field(default=None, compare=False)
    class_thresholds: dict[str, float] | None = field(default=None, compare=False)

    @property
    def metrics(self) -> dict[str, float]:
        """COCO's metrics of all classes, 0..1, such as ``bbox_AP``, ``bbox_AP50``, ``segm_AP``; NaN where there is no
        ground truth of that size."""
        return _flat(self.scores)

    @cached_property
    def analysis(self) -> Analysis:
        """Matches, errors and further figures, computed on first use for the methods below."""
        return Analysis(self)

    @property
    def per_class(self) -> dict[str, dict[str, float]]:
        """The metrics of each class by its name, with the same keys; NaN where there is no ground truth."""
        return {name: _flat(scores) for name, scores in self.scores["classes"].items()}

    def table(self) -> str:
        """Return the metrics, and the intervals if there are any, as a text table."""
        return metrics_table.table(self.scores, metrics_table.count_objects(self.records, self.class_names))

    def top_errors(self, n: int = 3) -> list[str]:
        """Return up to ``n`` sentences on the types of error of boxes that cost most AP50, the most costly first.

        See ``error_texts.top_errors``; those of confident detections reach the lowest threshold of the model.
        """
        analysis = self.analysis
        return top_errors(analysis.errors, analysis.gains["bbox"], n, min_score=float(analysis.thresholds.min()))

    @suggest_keywords
    def thresholds(self, precision: float | None = None, recall: float | None = None) -> Thresholds:
        """Choose a score threshold for each class: the one with the highest F1 of boxes, at an IoU of 0.5.

        precision: if given, 0..1, choose the lowest threshold with at least this precision instead.
        recall: if given, 0..1, choose the highest threshold with at least this recall instead.

        The result has precision, recall and F1 of each threshold on these images, with intervals, and can store the
        thresholds in a checkpoint: ``result.write("best.safetensors")``.
        Raises UsageError for a split other than val, for both settings together and for one outside 0..1.
        """
        check_threshold_split(self.split)
        chosen = self.analysis.choose_thresholds(precision, recall)
        return replace(chosen, source={"dataset": self.dataset, "split": self.split, "images": len(self.records)})

    def with_thresholds_of(self, model: str | Path) -> Evaluation:
        """Return this evaluation with the score thresholds that the checkpoint file ``model`` has by now."""
        saved = checkpoint.load(Path(model))
        thresholds = dict.fromkeys(saved.class_names.names, saved.threshold) | saved.class_thresholds
        result = replace(self, class_thresholds=thresholds)
        result.analysis.matched = self.analysis.matched
        return result

    def compare(self, baseline: Evaluation) -> Comparison:
        """Compare with the evaluation of a baseline on the same images: ``print(new.compare(old).table())``.

        The result says which model is better, with 95 % intervals of the differences, or how many images it would
        take to tell. Raises UsageError for evaluations on different images.
        """
        return compare(baseline, self)

    def save(self, path: str | Path) -> None:
        """Write the nested metrics to ``path`` as JSON, null where there is no ground truth. Raises DiskError."""
        write_text(Path(path), json.dumps(self.scores, indent=1) + "\n")

    def save_report(self, path: str | Path, *, command: str = "", probe: bool = True) -> None:
        """Write a report with metrics, likely causes, errors and thresholds: one HTML file that needs no network.

        path: the file, which is replaced if it exists.  command: command line to show in the report.
        probe: whether to run the model again on at most 16 images, to check its channel order.
        Raises DiskError.
        """
        from detect.evaluation.report.write import write_report  # it imports matplotlib, which loads slowly

        write_report(self, path, command=command, probe=probe)

    def __repr__(self) -> str:
        images = counted(len(self.records), "image")
        return f"<Evaluation on {self.dataset} {self.split}, {images}: {coco_metrics.one_line(self.scores)}>"


@suggest_keywords
def evaluate(
    model: Predictor | Results | str | Path,
    data: DatasetSpec | str | Path,
    *,
    split: str = DEFAULT_SPLIT,
    data_root: str | Path | None = None,
    format: str = "auto",
    device: str | None = None,
    imgsz: int | None = None,
    max_detections: int | None = None,
    evaluator: str = DEFAULT_EVALUATOR,
    intervals: bool = False,
) -> Evaluation:
    """Evaluate a model on a split of a dataset with COCO's metrics.

    model: a Predictor, or what ``load_model`` takes: a name, a checkpoint file or a URL. Or a JSON file of another
        model's detections in COCO's results format (https://cocodataset.org/#format-results), as Detectron2,
        MMDetection, Ultralytics and others write it; see ``results_file.detections_of``.
    data: a folder, the name of a dataset description or a YAML file; missing files of a described dataset are
        downloaded or rendered. Or a DatasetSpec that is prepared.
    split: "train", "val" or "test".
    data_root: folder of the files of a described dataset, if they lie elsewhere.
    format: annotation format, for a folder with several.
    device, imgsz: as in ``load_model``, for a model that is loaded here.
    max_detections: maximum number of detections per image, those with the highest scores. If it is above 100, the
        number of detections that COCO's protocol scores per image and class, it replaces that number too, and the
        metrics cannot be compared with COCO's. By default the model's and COCO's. A Predictor must have been loaded
        with it.
    evaluator: "detect", or as a reference "pycocotools" or "faster-coco-eval"; all compute the same.
    intervals: whether to compute 95 % confidence intervals of AP and AP50.

    Classes of model and dataset are matched by name. Every image is evaluated at all scores of at least 0.05. An image
    that cannot be read is left out with a warning; a truncated JPEG is used as far as it can be decoded.
    Raises UsageError for an unknown model, dataset, split or evaluator and for a model without any class of the
    dataset, DataError for invalid annotations, a split without objects and an invalid file of detections, and what
    ``load_model`` raises.
    """
    evaluators.check_evaluator(evaluator)
    if isinstance(model, str | Path) and is_cross_validation(model):
        raise UsageError(f"{model} is the folder of a cross-validation, which `detect.evaluate_folds` evaluates")
    spec = data if isinstance(data, DatasetSpec) else find_spec(str(data), data_root, format)
    spec.check_split(split)
    scored = load_scored_model(model, device=device, imgsz=imgsz, max_detections=max_detections)
    if spec is not data:
        spec.prepare()
    class_names, records = spec.read(split)
    _check_objects(spec, split, records)
    # pycocotools ranks detections with equal scores by the ids of their images.
    records = records.take_images(np.argsort(records.image_ids, kind="stable"))
    limit = scored_detections(max_detections)
    speed: dict[str, dict[str, Any]] = {}
    if isinstance(scored, Results):
        detections = detections_of(
            scored, spec, split, class_names, records, max_detections=max_detections, limit=limit
        )
    else:
        records, detections, speed["speed"] = _run(scored, spec, split, class_names, records)
    matched = MatchedTable(evaluation_table(records, detections, class_names), limit)
    scores = coco_metrics.score_matched(matched, records, evaluator=evaluator) | speed
    if intervals:
        scores["intervals"] = intervals_of(matched)
    predictor = scored if isinstance(scored, Predictor) else None
    result = Evaluation(
        spec.name, split, class_names, records, detections, scores, _name(scored), predictor=predictor, spec=spec
    )
    result.analysis.matched = matched
    return result


def _name(scored: Predictor | Results) -> str:
    return (scored.name or "a model") if isinstance(scored, Predictor) else str(scored.path)


def load_scored_model(
    model: Predictor | Results | str | Path,
    *,
    device: str | None = None,
    imgsz: int | None = None,
    max_detections: int | None = None,
    proposals: int | None = None,
    fast: bool = False,
    tile: int | str | None = None,
) -> Predictor | Results:
    """Return what ``evaluate`` evaluates: a Predictor, or the content of a file of detections.

    proposals, fast, tile: as in ``load_model``, for a model that is loaded here. The other arguments are those of
    ``evaluate``. Raises UsageError for settings that do not fit what is given, DataError for an invalid file of
    detections, and what ``load_model`` raises.
    """
    if isinstance(model, str | Path) and is_results_file(model):
        check_scored_model(model, device=device, imgsz=imgsz, proposals=proposals, fast=fast, tile=tile)
        model = read_rows(model)
    elif not isinstance(model, Predictor | Results):
        return load_model(
            model,
            device=device or "auto",
            imgsz=imgsz,
            max_detections=max_detections,
            proposals=proposals,
            fast=fast,
            tile=tile,
        )
    if isinstance(model, Results):
        if max_detections is not None:
            check_max_detections(max_detections)
        return model
    check_no_load_settings(device, imgsz)
    if max_detections is not None and max_detections != model.max_detections:
        raise UsageError(
            f"`max_detections={max_detections!r}`: this predictor returns at most {model.max_detections} per image"
            "; pass `max_detections` to load_model too"
        )
    return model


def _run(
    predictor: Predictor, spec: DatasetSpec, split: str, class_names: ClassNames, records: Table
) -> tuple[Table, list[Detections], dict[str, Any]]:
    """Return the readable images, the detections in each of them, and ``Evaluation.scores["speed"]``."""
    name = f"dataset '{spec.name}'"
    check_shared_classes(predictor.class_names, class_names, name)
    started = time.perf_counter()
    readable, detections = detect_in_readable(predictor, records, class_names, name)
    seconds = (time.perf_counter() - started) / len(records)
    with LimitCounter(predictor) as counter:
        for one in detections:
            counter.add(one)
    _check_objects(spec, split, readable)
    return readable, detections, {"seconds_per_image": round(seconds, 4), "device": str(predictor.device)}


def _check_objects(spec: DatasetSpec, split: str, records: Table) -> None:
    require_objects(records, f"dataset '{spec.name}': split '{split}'")


def _flat(scores: dict[str, Any]) -> dict[str, float]:
    return {
        f"{kind}_{name}": math.nan if value is None else value
        for kind in ("bbox", "segm")
        for name, value in scores.get(kind, {}).items()
    }
