"""evaluate() scores a loaded model, a name or a file, and returns metrics, table and detections."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.scenes import perfect
from helpers.tiny_models import as_checkpoint, random_model, render_shapes

from detect.data.description import find_spec
from detect.errors import CheckpointError, UsageError
from detect.evaluation import matched_table
from detect.evaluation.coco_metrics import NAMES, score
from detect.evaluation.evaluate import evaluate
from detect.evaluation.intervals import ap_intervals
from detect.evaluation.predict import EVALUATION_THRESHOLD
from detect.inference.load import load_model
from detect.models import checkpoint
from detect.structures.class_names import ClassNames

SHAPES = ("circle", "square", "triangle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A dataset of rendered shapes, few.yaml, and a checkpoint after one training step, m.safetensors."""
    folder = tmp_path_factory.mktemp("data")
    render_shapes(folder, {"test": 2, "val": 3})
    checkpoint.save(as_checkpoint(random_model(), classes=ClassNames(SHAPES, (90, 7, 3))), folder / "m.safetensors")
    return folder


def test_metrics_are_a_flat_dict_with_cocos_names(folder):
    result = evaluate(folder / "m.safetensors", folder / "few.yaml", device="cpu")
    assert list(result.metrics) == [f"{kind}_{name}" for kind in ("bbox", "segm") for name in NAMES]
    assert all(isinstance(v, float) and (math.isnan(v) or 0 <= v <= 1) for v in result.metrics.values())
    assert set(result.per_class) == set(SHAPES)
    assert "bbox_AP50" in result.per_class["circle"] and "segm_AP" in result.per_class["circle"]
    assert (result.dataset, result.split, result.class_names.names) == ("few", "test", SHAPES)
    assert len(result.records) == len(result.detections) == 2
    assert result.table().splitlines()[1].startswith("bbox")
    assert "few test, 2 images" in repr(result) and "\n" not in repr(result)


def test_predictor_name_and_spec_give_the_same_metrics(folder):
    path = folder / "m.safetensors"
    of_file = evaluate(str(path), str(folder / "few.yaml"), device="cpu")
    predictor = load_model(path, device="cpu", threshold=0.9)
    of_predictor = evaluate(predictor, find_spec(str(folder / "few.yaml")))
    assert of_predictor.metrics == pytest.approx(of_file.metrics, nan_ok=True)
    scores = [score for one in of_predictor.detections for score in one.scores.tolist()]
    assert EVALUATION_THRESHOLD <= min(scores) < predictor.threshold, "the threshold of the model does not apply"


def test_metrics_intervals_errors_and_comparison_find_overlaps_and_matches_once(folder, monkeypatch):
    calls = []

    def counting(function, name):
        return lambda *args, **settings: calls.append(name) or function(*args, **settings)

    for name in ("find_overlaps", "match"):
        monkeypatch.setattr(matched_table, name, counting(getattr(matched_table, name), name))
    result = evaluate(folder / "m.safetensors", folder / "few.yaml", device="cpu", intervals=True)
    result.top_errors()
    result.compare(result)
    assert sorted(calls) == ["find_overlaps", "find_overlaps", "match", "match"], "of boxes and of masks"
    alone = ap_intervals(result.records, result.detections, result.class_names)
    assert result.scores["intervals"] == alone
    assert result.scores.items() >= score(result.records, result.detections, result.class_names).items()


def test_save_writes_the_nested_metrics_with_null_for_missing_ground_truth(folder, tmp_path):
    result = evaluate(folder / "m.safetensors", folder / "few.yaml", device="cpu", intervals=True)
    result.save(tmp_path / "metrics.json")
    saved = json.loads((tmp_path / "metrics.json").read_text())
    assert set(saved) == {"bbox", "segm", "classes", "evaluator", "detection_limit", "speed", "intervals"}
    for name, value in saved["bbox"].items():
        assert value == (None if math.isnan(result.metrics[f"bbox_{name}"]) else result.metrics[f"bbox_{name}"])
    assert "95 %" in result.table()


@pytest.mark.parametrize(("max_detections", "scored"), [(1, 100), (150, 150)])
def test_max_detections_limits_the_model_and_above_100_replaces_the_number_of_the_protocol(
    folder, capsys, max_detections, scored
):
    predictor = load_model(folder / "m.safetensors", device="cpu", max_detections=max_detections)
    of_file = evaluate(folder / "m.safetensors", folder / "few.yaml", device="cpu", max_detections=max_detections)
    of_predictor = evaluate(predictor, folder / "few.yaml", max_detections=max_detections)
    assert of_file.metrics == pytest.approx(of_predictor.metrics, nan_ok=True)
    assert of_file.scores["detection_limit"]["per_image_and_class"] == scored and f"bbox_AR{scored}" in of_file.metrics
    reached = sum(len(one) == max_detections for one in of_file.detections)
    warned = [line for line in capsys.readouterr().err.splitlines() if f"`max_detections={max_detections}`" in line]
    assert len(warned) == 2 * bool(reached) and all(f"{reached} of 2 images" in line for line in warned)
    assert reached or max_detections > 1


def test_thresholds_are_chosen_on_val_and_stored_in_a_checkpoint(folder, tmp_path):
    model = tmp_path / "m.safetensors"
    model.write_bytes((folder / "m.safetensors").read_bytes())
    result = evaluate(model, folder / "few.yaml", split="val", device="cpu")
    found = [perfect([record])[0] for record in result.records]
    result = replace(result, detections=[replace(one, class_names=result.class_names) for one in found])
    chosen = result.thresholds(recall=1.0)
    assert chosen.overall.recall == 1.0 and set(chosen.values) == set(SHAPES)
    assert chosen.write(model) == load_model(model, device="cpu").class_thresholds == chosen.values
    with pytest.raises(UsageError, match="not on test"):
        evaluate(model, folder / "few.yaml", split="test", device="cpu").thresholds()
    with pytest.raises(TypeError, match="did you mean precision"):
        result.thresholds(precison=0.9)


def test_wrong_arguments_are_errors(folder):
    data, model = folder / "few.yaml", folder / "m.safetensors"
    predictor = load_model(model, device="cpu")
    with pytest.raises(TypeError, match=r"splt.*did you mean split"):
        evaluate(model, data, splt="val")
    assert evaluate(model, data, split="val", device="cpu").split == "val"
    with pytest.raises(UsageError, match="unknown split 'train'"):
        evaluate(model, data, split="train")
    with pytest.raises(
        UsageError, match=r"unknown evaluator 'coco': .*known are detect, faster-coco-eval, pycocotools"
    ):
        evaluate(model, data, evaluator="coco")
    with pytest.raises(UsageError, match=r"`device` and `imgsz`.*load_model"):
        evaluate(predictor, data, imgsz=320)
    with pytest.raises(UsageError, match=r"`max_detections=300`.*at most 100.*load_model"):
        evaluate(predictor, data, max_detections=300)
    with pytest.raises(UsageError, match=r"`max_detections=0`"):
        evaluate(model, data, max_detections=0)
    with pytest.raises(CheckpointError, match=r"none\.safetensors"):
        evaluate(folder / "none.safetensors", data)


@pytest.mark.parametrize("model", [None, 3])
def test_model_of_another_type_is_a_type_error(folder, model):
    with pytest.raises(TypeError, match="a name, a path or a URL"):
        evaluate(model, folder / "few.yaml")
