"""Out-of-fold metrics of a cross-validation: each model detects on the images of the fold that it was not trained on.

The detections of all folds are scored together, as if one model had seen none of the images.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detect import distributed
from detect.data import FOLDS_FILE
from detect.data.folds import FoldImages, read_folds, read_images
from detect.data.table import Table
from detect.errors import CheckpointError
from detect.evaluation import DEFAULT_EVALUATOR, OUT_OF_FOLD, coco_metrics
from detect.evaluation.columns import evaluation_table
from detect.evaluation.detection_limit import scored_detections
from detect.evaluation.evaluate import Evaluation
from detect.evaluation.intervals import intervals_of
from detect.evaluation.matched_table import MatchedTable
from detect.evaluation.predict import detect_in_readable
from detect.inference.load import load_model
from detect.structures.detections import Detections

_MODEL = "last.safetensors"  # unlike the best epoch, the last one is not chosen by the scored images
METRICS = ("AP", "AP50")


def models_of(folder: Path, count: int) -> list[Path]:
    """Return the checkpoints of the last epoch of each fold. Raises CheckpointError if one does not exist yet."""
    paths = [folder / f"fold_{number}" / _MODEL for number in range(1, count + 1)]
    if missing := [path for path in paths if not path.is_file()]:
        raise CheckpointError(
            f"no such checkpoint: {missing[0]}; {count - len(missing)} of {count} folds are trained, and"
            f" a training with `resume={str(folder)!r}` continues"
        )
    return paths


def evaluate_folds(folder: str | Path, *, data_root: str | Path | None = None, **settings: Any) -> Evaluation:
    """Evaluate the models in the folder of a cross-validation, each on the images that it was not trained on.

    folder: folder that ``cross_validate`` wrote.
    data_root: folder of the files of a described dataset, if they were moved.
    settings: keyword arguments of ``evaluate_models``, which describes the result.
    Raises DataError for an invalid file of folds and missing images, CheckpointError for a missing model, and what
    ``evaluate`` raises.
    """
    folds = read_folds(Path(folder) / FOLDS_FILE)
    models = models_of(Path(folder), len(folds.images))
    if data_root is not None:
        folds = replace(folds, data_root=str(data_root))
    spec = folds.find_spec()
    spec.prepare()
    return evaluate_models(models, read_images(spec, folds.names), folds.fold_of, spec.name, **settings)


def evaluate_models(
    models: Sequence[Path],
    images: FoldImages,
    fold_of: np.ndarray,
    dataset: str,
    *,
    device: str | None = None,
    imgsz: int | None = None,
    max_detections: int | None = None,
    evaluator: str = DEFAULT_EVALUATOR,
    intervals: bool = True,
) -> Evaluation:
    """Evaluate model k on the images of fold k and score all detections together.

    fold_of: fold of each image, 0 .. len(models) - 1, int64 [N].  dataset: its name.
    device, imgsz, max_detections, evaluator, intervals: as in ``evaluate``.
    Returns an Evaluation with the split OUT_OF_FOLD. Beside the metrics of all images together, its ``scores`` have
    ``folds``: ``{"fold_1": {"images": .., "objects": .., "bbox": {..}, "segm": {..}}, ..}``, and ``fold_mean`` and
    ``fold_sd``: mean and standard deviation of AP and AP50 over the folds.
    """
    limit = scored_detections(max_detections)

    def score(records: Table, found: list[Detections], intervals: bool = False) -> dict[str, Any]:
        matched = MatchedTable(evaluation_table(records, found, images.class_names), limit)
        scores = coco_metrics.score_matched(matched, records, evaluator=evaluator)
        return scores | ({"intervals": intervals_of(matched)} if intervals else {})

    def score_on_first(*parts: Any) -> dict[str, Any]:
        return distributed.compute_on_first(partial(score, *parts))

    seconds, parts, predictor = 0.0, [], None
    for fold, model in enumerate(models):
        predictor = load_model(model, device=device or "auto", imgsz=imgsz, max_detections=max_detections)
        records = images.table.take_images(np.flatnonzero(fold_of == fold))
        title = f"fold {fold + 1}/{len(models)}"
        started = time.perf_counter()
        parts.append(detect_in_readable(predictor, records, images.class_names, title, title=title))
        seconds += time.perf_counter() - started
    folds = {f"fold_{number}": _fold_scores(score_on_first(*part), part[0]) for number, part in enumerate(parts, 1)}
    records, found = parts[0][0], [detections for _, part in parts for detections in part]
    for more, _ in parts[1:]:
        records = records.append(more)
    scores = score_on_first(records, found, intervals) | {"folds": folds} | summary_of(folds)
    scores["speed"] = {
        "seconds_per_image": round(seconds / len(fold_of), 4),
        "device": str(predictor and predictor.device),
    }
    name = str(models[0].parent.parent)  # models[k] is fold_K/last.safetensors in the folder of the cross-validation
    return Evaluation(dataset, OUT_OF_FOLD, images.class_names, records, found, scores, name)


def _fold_scores(scores: dict[str, Any], records: Table) -> dict[str, Any]:
    """Return the entry of a fold in ``Evaluation.scores``."""
    kinds: dict[str, Any] = {kind: scores[kind] for kind in ("bbox", "segm") if kind in scores}
    return {"images": len(records), "objects": int((~records.iscrowd).sum()), **kinds}


def summary_of(folds: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return mean and standard deviation (of a sample) over the folds: ``{"fold_mean": {"bbox_AP": ..}, "fold_sd"}``.

    A fold without ground truth for a metric is left out. The mean of no fold and the deviation of one fold are None.
    """
    values = {
        f"{kind}_{name}": [fold[kind][name] for fold in folds.values() if fold[kind][name] is not None]
        for kind in ("bbox", "segm")
        if all(kind in fold for fold in folds.values())
        for name in METRICS
    }
    return {
        "fold_mean": {name: statistics.fmean(some) if some else None for name, some in values.items()},
        "fold_sd": {name: statistics.stdev(some) if len(some) > 1 else None for name, some in values.items()},
    }


def folds_table(scores: dict[str, dict[str, Any]]) -> str:
    """Return a text table with a row per fold, mean and standard deviation.

    scores: as in ``evaluate_models``. An entry ``best_epoch`` of the folds gets a column.
    """
    folds, metrics = scores["folds"], list(scores["fold_mean"])
    has_best = all("best_epoch" in fold for fold in folds.values())
    titles = [name.replace("_", " ") for name in metrics] + ["best epoch"] * has_best
    rows = [["", "images", "objects", *titles]]
    for name, fold in folds.items():
        cells = [_cell(fold[kind][metric]) for kind, _, metric in (key.partition("_") for key in metrics)]
        best = [str(fold["best_epoch"])] if has_best else []
        rows.append([name.replace("_", " "), str(fold["images"]), str(fold["objects"]), *cells, *best])
    for title, key in (("mean", "fold_mean"), ("standard deviation", "fold_sd")):
        rows.append([title, "", "", *map(_cell, scores[key].values())])
    first = max(len(row[0]) for row in rows)
    return "\n".join(f"{row[0]:<{first}}{''.join(f'{cell:>12}' for cell in row[1:])}" for row in rows)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
