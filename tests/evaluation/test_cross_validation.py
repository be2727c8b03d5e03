"""Out-of-fold metrics: each image is tested by the model of its fold, and all images are scored together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_models import as_checkpoint, random_model, render_shapes

import detect
from detect.data import FOLDS_FILE
from detect.data.description import find_spec
from detect.data.folds import FoldImages, Folds, read_images, write_folds
from detect.errors import CheckpointError, DataError, UsageError
from detect.evaluation import coco_metrics
from detect.evaluation.cross_validation import _fold_scores, evaluate_folds, evaluate_models, folds_table, summary_of
from detect.inference.load import load_model
from detect.models import checkpoint
from detect.models.architecture import backbone_architecture
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

ROWS = ((0, 2, 5), (1, 3, 4))  # of the images of each fold
ARCHITECTURE = replace(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), max_proposals=60)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2, "test": 1})


@pytest.fixture(scope="module")
def images(data) -> FoldImages:
    return read_images(find_spec(str(data)))


def test_each_image_is_tested_by_the_model_of_its_fold(data, images, tmp_path):
    for number in (1, 2):
        (tmp_path / f"fold_{number}").mkdir()
        saved = as_checkpoint(random_model(ARCHITECTURE, seed=number), ARCHITECTURE, images.class_names)
        checkpoint.save(saved, tmp_path / f"fold_{number}" / "last.safetensors")
    names = tuple(tuple(images.names[row] for row in rows) for rows in ROWS)
    write_folds(tmp_path / FOLDS_FILE, Folds(str(data), None, "auto", names))
    with pytest.raises(UsageError, match=r"folder of a cross-validation, which `detect\.evaluate_folds` evaluates"):
        detect.evaluate(tmp_path, data)
    evaluation = detect.evaluate_folds(tmp_path, device="cpu")
    assert (evaluation.dataset, evaluation.split, evaluation.model) == ("few", "out-of-fold", str(tmp_path))
    assert [record.path.name for record in evaluation.records] == [Path(n).name for one in names for n in one]
    models = [load_model(tmp_path / f"fold_{n}" / "last.safetensors", device="cpu", threshold=0.05) for n in (1, 2)]
    for position, (record, found) in enumerate(zip(evaluation.records, evaluation.detections, strict=True)):
        right, wrong = (models[fold](record.path) for fold in (position // 3, 1 - position // 3))
        assert len(found) > 0 and np.array_equal(found.boxes, right.boxes)
        assert not np.array_equal(found.scores, wrong.scores)


class FixedPredictor:
    """Returns given detections, one after the other."""

    device = "cpu"

    def __init__(self, class_names: ClassNames, detections: list[Detections]) -> None:
        self.class_names = class_names
        self.detections = iter(detections)

    def predict_batch(self, images, threshold=None):
        return [next(self.detections) for _ in images]


def test_all_images_are_scored_together_and_each_fold_alone(images, monkeypatch):
    """The first model detects everything and the second one nothing."""
    records = [[images.table[row] for row in rows] for rows in ROWS]
    blind = [Detections.of_record(record).filter(labels=[]) for record in records[1]]
    models = {
        Path("a"): FixedPredictor(images.class_names, [Detections.of_record(record) for record in records[0]]),
        Path("b"): FixedPredictor(images.class_names, blind),
    }
    monkeypatch.setattr("detect.evaluation.cross_validation.load_model", lambda model, **_: models[model])
    fold_of = np.array([0, 1, 0, 1, 1, 0])
    evaluation = evaluate_models(list(models), images, fold_of, "few")
    scores, folds = evaluation.scores, evaluation.scores["folds"]
    expected = coco_metrics.score(
        [*records[0], *records[1]], evaluation.detections, images.class_names, evaluator="pycocotools"
    )
    for kind in ("bbox", "segm"):
        assert scores[kind] == pytest.approx(expected[kind])
        assert 0.1 < scores[kind]["AP"] < 0.9
        assert [fold[kind]["AP"] for fold in folds.values()] == [pytest.approx(1), 0]
    assert scores["fold_mean"]["bbox_AP50"] == pytest.approx(0.5)
    assert [(fold["images"], fold["objects"]) for fold in folds.values()] == [
        (3, sum(map(len, records[0]))),
        (3, sum(map(len, records[1]))),
    ]
    low, high = scores["intervals"]["bbox"]["AP"]
    assert low <= scores["bbox"]["AP"] <= high and low < high


def test_objects_of_a_fold_are_counted_without_crowds(images):
    table = images.table
    crowds = np.arange(len(table.labels)) == 0
    assert _fold_scores({}, replace(table, iscrowd=crowds))["objects"] == len(table.labels) - 1


def test_mean_and_spread_leave_out_folds_without_ground_truth():
    folds = {f"fold_{i}": {"bbox": {"AP": ap, "AP50": None}} for i, ap in enumerate((0.2, None, 0.5, 0.8))}
    summary = summary_of(folds)
    assert summary["fold_mean"] == {"bbox_AP": pytest.approx(0.5), "bbox_AP50": None}
    assert summary["fold_sd"] == {"bbox_AP": pytest.approx(np.std([0.2, 0.5, 0.8], ddof=1)), "bbox_AP50": None}
    assert summary_of({"fold_1": {"bbox": {"AP": 0.3, "AP50": 0.4}}})["fold_sd"]["bbox_AP"] is None


def test_the_table_has_a_row_per_fold_with_its_best_epoch_if_known():
    fold = {"images": 3, "objects": 12, "bbox": {"AP": 0.25, "AP50": None}}
    folds = {"fold_1": fold, "fold_2": fold}
    title, *rows, mean, deviation = folds_table({"folds": folds, **summary_of(folds)}).splitlines()
    assert title.split() == ["images", "objects", "bbox", "AP", "bbox", "AP50"]
    assert [row.split() for row in rows] == [["fold", n, "3", "12", "0.250", "-"] for n in ("1", "2")]
    assert mean.split() == ["mean", "0.250", "-"] and deviation.split() == ["standard", "deviation", "0.000", "-"]
    assert len({len(line) for line in (title, *rows, mean, deviation)}) == 1
    folds = {name: {**fold, "best_epoch": 7} for name in folds}
    assert folds_table({"folds": folds, **summary_of(folds)}).splitlines()[1].split()[-1] == "7"


def test_untrained_folds_and_missing_folds_are_one_clear_line(data, tmp_path):
    write_folds(tmp_path / FOLDS_FILE, Folds(str(data), None, "auto", (("a",), ("b",), ("c",))))
    (tmp_path / "fold_1").mkdir()
    (tmp_path / "fold_1" / "last.safetensors").touch()
    with pytest.raises(
        CheckpointError,
        match=r"fold_2.last\.safetensors; 1 of 3 folds are trained, and a training with `resume=.*` continues",
    ):
        evaluate_folds(tmp_path)
    with pytest.raises(DataError, match=r"cannot read .*folds\.yaml"):
        evaluate_folds(tmp_path / "nowhere")
