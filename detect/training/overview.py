"""Files that summarize a run: model and annotations at its start, results of the best epoch at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from detect.data.quality.label_overview import label_overview
from detect.data.table import Table
from detect.distributed import all_gather, compute_on_first, world
from detect.errors import DetectError
from detect.evaluation import coco_metrics
from detect.evaluation.analysis import Analysis
from detect.evaluation.columns import evaluation_table
from detect.evaluation.confusion import confusion_matrix
from detect.evaluation.curves import sampled_curves
from detect.evaluation.evaluate import Evaluation
from detect.evaluation.matched_table import MatchedTable
from detect.evaluation.plots import confusion_figure, f1_figure, precision_recall_figure
from detect.evaluation.predict import EVALUATION_THRESHOLD, detect_for_dataset, only_readable
from detect.evaluation.thresholds import choose_thresholds
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.io.files import write_bytes, write_text
from detect.media import figures
from detect.media.images import write_image
from detect.models.architecture import Architecture
from detect.models.builder import Detector
from detect.models.checkpoint import DEFAULT_THRESHOLD
from detect.models.pretrained import UsedWeights
from detect.models.summary import ModelSummary, summarize_model
from detect.models.transform import DetectorTransform
from detect.progress import report, warn
from detect.structures.detections import Detections
from detect.training.data import TrainingData
from detect.training.logging.images import choose_examples
from detect.training.logging.mosaic import NUM_IMAGES, validation_mosaic
from detect.training.optional_files import optional_file
from detect.training.run import (
    BEST,
    BEST_EPOCH_FILES,
    CONFUSION_MATRIX,
    F1_CURVE,
    LABELS,
    MODEL_SUMMARY,
    MOSAIC,
    PR_CURVE,
    REPORT,
    TrainingRun,
)

_IOU = 0.5  # at which boxes are correct


def write_start(run: TrainingRun, model: Detector, data: TrainingData, weights: UsedWeights) -> None:
    """Write the summary of the model and the overview of the train split; report the summary in one line.

    weights: from which the run starts. A resumed run keeps the summary, with the weights of its first part.
    """
    with optional_file(path := run.folder / MODEL_SUMMARY):
        summary = report_model(model, run.architecture, data.train)
        if not path.exists():
            head = f"{run.architecture.model} ({run.architecture.head}); classes: {', '.join(data.class_names.names)}"
            unused = "".join(f"  {name}\n" for name in weights.unused)
            text = f"weights: {weights.line}\n" + (f"tensors that are not used:\n{unused}" if unused else "")
            write_text(path, f"{head}\n{text}\n{summary.text()}")
    with optional_file(path := run.folder / LABELS):
        figure = label_overview(data.train, data.class_names, f"train split of {data.name}")
        write_bytes(path, figures.png(figure, [data.name, *data.class_names.names]))


def report_model(model: Detector, architecture: Architecture, records: Table) -> ModelSummary:
    """Report the size of the model and its multiply-adds for a typical image of ``records``; return the summary."""
    summary = summarize_model(model, _typical_hw(model, records))
    report(f"model: {architecture.model} ({architecture.head}), {summary.one_line()}")
    return summary


def _typical_hw(model: Detector, records: Table) -> tuple[int, int]:
    """Return the size, resized for the model, of the image with the median aspect ratio."""
    ratios = records.image_hw[:, 0] / np.maximum(records.image_hw[:, 1], 1)
    height, width = records.image_hw[np.argsort(ratios, kind="stable")[len(ratios) // 2]].tolist()
    assert isinstance(model.transform, DetectorTransform)
    return model.transform.resized_hw((height, width))


def write_best_epoch(
    run: TrainingRun,
    data: TrainingData,
    detections: Sequence[Detections | None] | None,
    limit: int,
    *,
    with_report: bool = False,
) -> None:
    """Write BEST_EPOCH_FILES: the validation mosaic, precision-recall and F1 curves, and the confusion matrix of val.

    detections: of the best epoch, one entry per val image, None for an image that could not be read. None if an
        earlier process found the best epoch; then the best checkpoint runs on val again if a file is missing.
    limit: number of detections per image and class that are scored.
    with_report: whether to write REPORT too.

    All processes of a run call it; the first one writes. A file that cannot be written is a warning.
    """
    if not len(data.val):
        return
    files = (*BEST_EPOCH_FILES, REPORT) if with_report else BEST_EPOCH_FILES
    if detections is None and compute_on_first(lambda: all((run.folder / name).exists() for name in files)):
        return
    detections = detections or _detections_of_best(run, data)
    if detections is None or not world().is_first:
        return
    _write_mosaic(run, data, detections)
    with optional_file(run.folder / PR_CURVE):
        evaluation = _evaluation(run, data, detections, limit, with_model=with_report)
        _write_plots(run, evaluation.analysis)
        if with_report:
            _write_report(run, evaluation)


def _detections_of_best(run: TrainingRun, data: TrainingData) -> list[Detections | None] | None:
    """Return the detections of the best checkpoint in the val images; None, with a warning, if it cannot be used."""
    try:
        predictor = _load_on_all(run)
        return detect_for_dataset(
            predictor, data.val, data.val_class_names, threshold=EVALUATION_THRESHOLD, title="best epoch"
        )
    except DetectError as error:
        warn(f"{error}; {', '.join(BEST_EPOCH_FILES)} cannot be written")
        return None


def _load_on_all(run: TrainingRun) -> Predictor:
    """Return the predictor of the best checkpoint. Raises DetectError if any process fails: they detect together."""
    predictor, error = None, None
    try:
        predictor = load_model(run.folder / BEST, device=str(run.train_step.device))
    except DetectError as raised:
        error = raised
    if errors := [one for one in all_gather(error) if one]:
        raise errors[0]
    assert predictor
    return predictor


def _evaluation(
    run: TrainingRun, data: TrainingData, detections: Sequence[Detections | None], limit: int, *, with_model: bool
) -> Evaluation:
    """Return the evaluation of the best epoch on the val images that could be read."""
    records, found = only_readable(data.val, detections)
    matched = MatchedTable(evaluation_table(records, found, data.val_class_names), limit)
    best = run.folder / BEST
    evaluation = Evaluation(
        data.name,
        "val",
        data.val_class_names,
        records,
        found,
        coco_metrics.score_matched(matched, records),
        model=str(best),
        predictor=load_model(best, device=str(run.train_step.device)) if with_model else None,
    )
    evaluation.analysis.matched = matched
    return evaluation


def _write_report(run: TrainingRun, evaluation: Evaluation) -> None:
    """Write REPORT. With several processes the model does not run again for it, since they all would have to."""
    with optional_file(path := run.folder / REPORT):
        evaluation.save_report(path, probe=world().size == 1)
        report(f"report: {path}")


def _write_mosaic(run: TrainingRun, data: TrainingData, detections: Sequence[Detections | None]) -> None:
    with optional_file(path := run.folder / MOSAIC):
        chosen = choose_examples(data.val, NUM_IMAGES)
        heading = f"best epoch ({run.best_epoch}) on val; "
        mosaic = validation_mosaic(data.val, detections, data.val_class_names, chosen, heading)
        if mosaic is not None:
            write_image(path, mosaic)


def _write_plots(run: TrainingRun, analysis: Analysis) -> None:
    table, matching = analysis.table, analysis.errors.matching
    names, title = table.class_names.names, f"boxes of epoch {run.best_epoch} on val, IoU {_IOU}"
    curves = sampled_curves(table, matching)
    chosen = choose_thresholds(table, matching).overall.threshold
    thresholds = np.full(len(names), DEFAULT_THRESHOLD)
    matrix = confusion_matrix(table, analysis.overlaps, matching, thresholds, _IOU).matrix
    plots: dict[str, Callable[[], figures.Figure]] = {
        PR_CURVE: lambda: precision_recall_figure(
            curves.recalls, curves.precision_at_recall, names, curves.objects, f"precision and recall: {title}"
        ),
        F1_CURVE: lambda: f1_figure(
            curves.thresholds, curves.f1, names, curves.objects, chosen, f"F1 by score threshold: {title}"
        ),
        CONFUSION_MATRIX: lambda: confusion_figure(
            matrix, names, f"confusion matrix: {title}, score at least {DEFAULT_THRESHOLD:g}"
        ),
    }
    for name, plot in plots.items():
        with optional_file(path := run.folder / name):
            write_bytes(path, figures.png(plot(), names))
