"""Evaluates a model on a split of a dataset with COCO's metrics."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detect.data.description import find_spec
from detect.data.image_problems import ImageProblems
from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.data.validation.crowds import require_objects
from detect.errors import UsageError
from detect.evaluation import DEFAULT_EVALUATOR, DEFAULT_SPLIT, EVALUATORS, bootstrap, coco_metrics
from detect.evaluation.detection_limit import scored_detections
from detect.evaluation.predict import EVALUATION_THRESHOLD, check_shared_classes, detect_for_dataset, only_readable
from detect.inference.image_counters import LimitCounter
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.io.files import write_text
from detect.options import suggest_keywords
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.text import counted, unknown


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Metrics of a model on one split of a dataset, by the COCO protocol, on original pixels.

    dataset: name of the dataset.
    split: name of the split.
    class_names: ClassNames of the dataset.
    records: ground truth, one ImageRecord per image that could be read.
    detections: Detections of every image, with labels of ``class_names`` and scores of at least 0.05.
    scores: nested metrics as ``coco_metrics.score`` returns them, with ``speed`` ({"seconds_per_image", "device"})
        and, if requested, ``intervals`` (see ``bootstrap.intervals``). ``save`` writes them.
    """

    dataset: str
    split: str
    class_names: ClassNames
    records: Sequence[ImageRecord] = field(compare=False)
    detections: list[Detections] = field(compare=False)
    scores: dict[str, dict[str, Any]]

    @property
    def metrics(self) -> dict[str, float]:
        """COCO's metrics of all classes, 0..1, such as ``bbox_AP``, ``bbox_AP50``, ``segm_AP``; NaN where there is no
        ground truth of that size."""
        return _flat(self.scores)

    @property
    def per_class(self) -> dict[str, dict[str, float]]:
        """The metrics of each class by its name, with the same keys; NaN where there is no ground truth."""
        return {name: _flat(scores) for name, scores in self.scores["classes"].items()}

    def table(self) -> str:
        """Return the metrics, and the intervals if there are any, as a text table."""
        return coco_metrics.table(self.scores)

    def save(self, path: str | Path) -> None:
        """Write the nested metrics to ``path`` as JSON, null where there is no ground truth. Raises DiskError."""
        write_text(Path(path), json.dumps(self.scores, indent=1) + "\n")

    def __repr__(self) -> str:
        images = counted(len(self.records), "image")
        return f"<Evaluation on {self.dataset} {self.split}, {images}: {coco_metrics.one_line(self.scores)}>"


@suggest_keywords
def evaluate(
    model: Predictor | str | Path,
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

    model: a Predictor, or what ``load_model`` takes: a name, a checkpoint file or a URL.
    data: a folder, the name of a dataset description or a YAML file; missing files of a described dataset are
        downloaded or rendered. Or a DatasetSpec that is prepared.
    split: "train", "val" or "test".
    data_root: folder of the files of a described dataset, if they lie elsewhere.
    format: annotation format, for a folder with several.
    device, imgsz: as of ``load_model``, for a model that is loaded here.
    max_detections: maximum number of detections per image, as of ``load_model``. If it is above 100, the number of
        detections that COCO's protocol scores per image and class, it replaces that number too, and the metrics cannot
        be compared with COCO's. By default the model's and COCO's. A Predictor must have been loaded with it.
    evaluator: "faster-coco-eval" or "pycocotools", which compute the same.
    intervals: whether to compute 95 % bootstrap intervals of AP and AP50.

    Classes of model and dataset are matched by name. Every image is evaluated at all scores of at least 0.05. An image
    that cannot be read is left out with a warning; a truncated JPEG is used as far as it can be decoded.
    Raises UsageError for an unknown model, dataset, split or evaluator and for a model without any class of the
    dataset, DataError for invalid annotations and a split without objects, and what ``load_model`` raises.
    """
    if evaluator not in EVALUATORS:
        raise UsageError(unknown("evaluator", evaluator, EVALUATORS))
    spec = data if isinstance(data, DatasetSpec) else find_spec(str(data), data_root, format)
    spec.check_split(split)
    predictor = _predictor(model, device, imgsz, max_detections)
    if spec is not data:
        spec.prepare()
    class_names, records = spec.read(split)
    check_shared_classes(predictor.class_names, class_names, f"dataset '{spec.name}'")
    _check_objects(spec, split, records)
    started = time.perf_counter()
    found = _detect(predictor, records, class_names, spec.name)
    seconds = (time.perf_counter() - started) / len(records)
    records, detections = only_readable(records, found)
    _check_objects(spec, split, records)
    limit = scored_detections(max_detections)
    scores = coco_metrics.score(records, detections, class_names, evaluator=evaluator, limit=limit)
    scores["speed"] = {"seconds_per_image": round(seconds, 4), "device": str(predictor.device)}
    if intervals:
        scores["intervals"] = bootstrap.intervals(records, detections, class_names, limit=limit)
    return Evaluation(spec.name, split, class_names, records, detections, scores)


def _predictor(
    model: Predictor | str | Path, device: str | None, imgsz: int | None, max_detections: int | None
) -> Predictor:
    """Return the Predictor of a model, see ``evaluate``. Raises UsageError for settings unlike a Predictor's."""
    if not isinstance(model, Predictor):
        return load_model(model, device=device or "auto", imgsz=imgsz, max_detections=max_detections)
    if device is not None or imgsz is not None:
        raise UsageError("`device` and `imgsz` are for a model that is loaded here; pass them to load_model instead")
    if max_detections is not None and max_detections != model.max_detections:
        raise UsageError(
            f"`max_detections={max_detections!r}`: this predictor returns at most {model.max_detections} per image"
            "; pass `max_detections` to load_model too"
        )
    return model


def _detect(predictor: Predictor, records: Table, class_names: ClassNames, dataset: str) -> list[Detections | None]:
    """Return the detections in every image, None for unreadable ones; warn of these and of reached limits."""
    problems = ImageProblems()
    found = detect_for_dataset(predictor, records, class_names, threshold=EVALUATION_THRESHOLD, problems=problems)
    for line in problems.lines("left out"):
        warn(f"dataset '{dataset}': {line}")
    with LimitCounter(predictor) as counter:
        for detections in found:
            if detections is not None:
                counter.add(detections)
    return found


def _check_objects(spec: DatasetSpec, split: str, records: Table) -> None:
    require_objects(records, f"dataset '{spec.name}': split '{split}'")


def _flat(scores: dict[str, Any]) -> dict[str, float]:
    return {
        f"{kind}_{name}": math.nan if value is None else value
        for kind in ("bbox", "segm")
        for name, value in scores.get(kind, {}).items()
    }
