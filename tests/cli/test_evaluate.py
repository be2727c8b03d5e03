"""evaluate.py from command line to metrics.json; classes are matched by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_models import as_checkpoint, random_model, render_shapes

from detect import runtime
from detect.cli.commands import evaluate
from detect.cli.exit_status import exit_status
from detect.data.dataset import read_record
from detect.data.description import find_spec
from detect.data.spec import DatasetSpec
from detect.evaluation.coco_metrics import NAMES
from detect.inference.predictor import Predictor
from detect.models import checkpoint
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.masks import from_coco

SHAPES = ("circle", "square", "triangle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A dataset with its classes in two orders (few.yaml, turned.yaml), and a checkpoint after one training step."""
    folder = tmp_path_factory.mktemp("data")
    render_shapes(folder, {"test": 3, "val": 2}, classes=SHAPES[::-1]).rename(folder / "turned.yaml")
    render_shapes(folder, {"test": 3, "val": 2})
    checkpoint.save(as_checkpoint(random_model(), classes=ClassNames(SHAPES, (90, 7, 3))), folder / "m.safetensors")
    return folder


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run evaluate.py's main in-process; its exit status."""
    monkeypatch.setattr(runtime, "available_cores", lambda: 1)

    def call(*arguments: object) -> int:
        line = ["evaluate.py", "--device", "cpu", "--quiet", "--output-dir", tmp_path, *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in line])
        return exit_status(evaluate.main)

    return call


@pytest.fixture
def oracle(monkeypatch, folder):
    """``oracle(names)`` replaces the model by one with the classes ``names``, in this order, that detects every object
    of them."""

    def replace_model(*names: str) -> None:
        ground_truth_names, records = find_spec(str(folder / "few.yaml")).read("test")
        ground_truth = {read_record(record).tobytes(): record for record in records}

        class Oracle(Predictor):
            def __init__(self) -> None:  # it has no model
                self.class_names, self.device = ClassNames(names), torch.device("cpu")

            def predict_batch(self, images: list[np.ndarray], labels=None, threshold=None) -> list[Detections]:
                return [self.find(ground_truth[image.tobytes()]) for image in images]

            def find(self, record) -> Detections:
                known = [i for i, label in enumerate(record.labels) if ground_truth_names.name(label) in names]
                labels = np.array(
                    [names.index(ground_truth_names.name(record.labels[i])) + 1 for i in known], np.int64
                )
                rles = [from_coco(record.masks[i], record.image_hw) for i in known]
                return Detections(record.image_hw, record.boxes[known], np.ones(len(known), np.float32), labels, rles)

        monkeypatch.setattr("detect.inference.load.load_model", lambda *_, **__: Oracle())

    return replace_model


def metrics(tmp_path: Path) -> dict:
    (path,) = tmp_path.glob("*/metrics.json")
    return json.loads(path.read_text())


def test_metrics_of_a_checkpoint_have_cocos_names(run, folder, tmp_path, capsys):
    assert run("--model", folder / "m.safetensors", "--data", folder / "few.yaml") == 0
    found = metrics(tmp_path)
    assert set(found) == {"bbox", "segm", "classes", "evaluator", "detection_limit", "speed"}
    assert list(found["bbox"]) == list(found["segm"]) == list(NAMES)
    assert set(found["classes"]) == set(SHAPES)
    assert all(v is None or 0 <= v <= 1 for kind in ("bbox", "segm") for v in found[kind].values())
    assert found["speed"]["seconds_per_image"] > 0 and found["speed"]["device"] == "cpu"
    printed = capsys.readouterr().out
    assert "m.safetensors on few test: 3 images, " in printed
    assert f"-> {tmp_path}/m_few_test/metrics.json" in printed


def test_both_evaluators_agree_and_the_one_used_is_recorded(run, folder, tmp_path):
    for name in ("faster-coco-eval", "pycocotools"):
        flags = ["--model", folder / "m.safetensors", "--data", folder / "few.yaml"]
        assert run(*flags, "--evaluator", name, "--name", name) == 0
    fast, reference = (
        json.loads((tmp_path / f.name / "metrics.json").read_text()) for f in sorted(tmp_path.iterdir())
    )
    assert fast.pop("speed") and reference.pop("speed")
    assert fast.pop("evaluator")["name"] == "faster-coco-eval" and fast.pop("classes") == reference.pop("classes")
    assert reference.pop("evaluator")["name"] == "pycocotools" and fast == reference


def test_intervals_are_saved_printed_and_explained(run, folder, tmp_path, oracle, capsys):
    oracle("square", "circle")  # one of three classes is never detected, in any resample
    assert run("--data", folder / "few.yaml", "--intervals") == 0
    found = metrics(tmp_path)["intervals"]
    assert found["images"] == 3 and found["confidence"] == 0.95 and found["resamples"] == 1000
    low, high = found["bbox"]["AP"]
    assert 0 <= low <= metrics(tmp_path)["bbox"]["AP"] <= high <= 1
    assert set(found["classes"]) == set(SHAPES)
    printed = capsys.readouterr().out
    assert f"[{low:.3f}, {high:.3f}]" in printed and "95 % of 1000 resamples of the 3 images" in printed


def test_split_without_objects_is_an_error(run, tmp_path, oracle, capsys):
    oracle(*SHAPES)
    data = render_shapes(tmp_path / "none", {"test": 1}, classes=SHAPES)
    (ground_truth,) = (tmp_path / "none").rglob("test.json")
    ground_truth.write_text(json.dumps(json.loads(ground_truth.read_text()) | {"annotations": []}))
    assert run("--data", data) == 2
    assert "split 'test' has no object" in capsys.readouterr().err


def test_one_image_gives_no_interval(run, tmp_path, oracle, capsys):
    oracle(*SHAPES)
    render_shapes(tmp_path / "one", {"test": 1}, classes=SHAPES)
    assert run("--data", tmp_path / "one" / "few.yaml", "--intervals", "--output-dir", tmp_path / "out") == 0
    assert metrics(tmp_path / "out")["intervals"]["bbox"] == {"AP": None, "AP50": None}
    assert "no [low, high]: an interval needs two or more images with objects" in capsys.readouterr().out


def test_second_run_gets_a_new_folder_and_split_is_respected(run, folder, tmp_path):
    flags = ["--model", folder / "m.safetensors", "--data", folder / "few.yaml", "--split", "val"]
    assert run(*flags) == 0 and run(*flags, "--imgsz", 32) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m_few_val", "m_few_val_2"]


@pytest.mark.parametrize("data", ["few.yaml", "turned.yaml"])
@pytest.mark.parametrize("names", [SHAPES, ("triangle", "dragon", "circle", "square")])
def test_classes_are_matched_by_name_in_any_order(run, folder, tmp_path, oracle, data, names, capsys):
    oracle(*names)
    assert run("--data", folder / data) == 0
    found = metrics(tmp_path)
    assert found["bbox"]["AP"] == pytest.approx(1.0) and found["segm"]["AP"] == pytest.approx(1.0)
    assert {name: found["classes"][name]["bbox"]["AP"] for name in SHAPES} == pytest.approx(dict.fromkeys(SHAPES, 1.0))
    assert not capsys.readouterr().err


def test_order_of_classes_does_not_change_the_metrics(run, folder, tmp_path):
    for data in ("few", "turned"):
        flags = ["--data", folder / f"{data}.yaml", "--name", data]
        assert run("--model", folder / "m.safetensors", *flags) == 0
    few, turned = (json.loads((tmp_path / data / "metrics.json").read_text()) for data in ("few", "turned"))
    assert few["bbox"] == pytest.approx(turned["bbox"], nan_ok=True)
    assert few["classes"] == turned["classes"]


def test_class_that_the_model_lacks_scores_0_with_a_warning(run, folder, tmp_path, oracle, capsys):
    oracle("square", "circle")
    assert run("--model", "v1", "--data", folder / "few.yaml") == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: dataset 'few': ") and "triangle" in error and error.count("\n") == 1
    found = metrics(tmp_path)
    assert found["classes"]["triangle"]["bbox"]["AP"] == 0.0
    assert found["classes"]["square"]["bbox"]["AP"] == pytest.approx(1.0)
    assert found["bbox"]["AP"] == pytest.approx(2 / 3)


def test_query_of_a_model_url_is_not_printed(run, folder, oracle, capsys):
    oracle(*SHAPES)
    assert run("--model", "https://h/m.safetensors?token=secret#sha256=01234567", "--data", folder / "few.yaml") == 0
    printed = capsys.readouterr()
    assert "https://h/m.safetensors?...#sha256=01234567 on few test: 3 images" in printed.out
    assert "secret" not in printed.out + printed.err


def test_model_without_any_class_of_the_dataset_is_an_error(run, folder, tmp_path, oracle, capsys):
    oracle("balloon", "kite")
    assert run("--model", "v1", "--data", folder / "few.yaml") == 2
    printed = capsys.readouterr().err
    assert (
        printed.startswith("error: dataset 'few' and the model")
        and "balloon, kite" in printed
        and SHAPES[0] in printed
    )
    assert printed.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--split", "train"], "dataset 'few': unknown split 'train': known are test, val"),
        (["--split", "tset"], "unknown split 'tset': did you mean test"),
        (["--model", "v9"], "unknown model 'v9'"),
        (["--evaluator", "pycoco"], "unknown evaluator 'pycoco': did you mean pycocotools?"),
        (["--intervals", "0.9"], "0.9"),
        (["--model", "none.safetensors"], "no such checkpoint: none.safetensors"),
    ],
)
def test_user_errors_are_one_line(run, folder, tmp_path, capsys, flags, words):
    assert run("--data", folder / "few.yaml", *flags) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and words in printed and printed.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_broken_model_is_an_error_before_images_are_rendered(run, tmp_path, monkeypatch):
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    monkeypatch.setattr(DatasetSpec, "prepare", lambda _: pytest.fail("the data came first"))
    assert run("--model", tmp_path / "junk.safetensors") == 2


def test_interrupted_evaluation_leaves_no_folder(run, folder, tmp_path, oracle, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    oracle(*SHAPES)
    monkeypatch.setattr("detect.evaluation.evaluate.detect_for_dataset", interrupted)
    assert run("--model", "v1", "--data", folder / "few.yaml") == 130
    assert not list(tmp_path.iterdir())
