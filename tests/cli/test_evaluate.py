"""evaluate.py from command line to metrics.json; classes are matched by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.tiny_models import as_checkpoint, random_model, render_shapes

from detect import runtime
from detect.cli.commands import evaluate
from detect.cli.exit_status import exit_status
from detect.cli.startup import typed_command
from detect.data.dataset import read_record
from detect.data.description import find_spec
from detect.data.spec import DatasetSpec
from detect.evaluation.coco_metrics import NAMES
from detect.evaluation.evaluate import Evaluation
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
        spec = find_spec(str(folder / "few.yaml"))
        ground_truth_names, _ = spec.read("test")
        records = [record for split in ("test", "val") for record in spec.read(split)[1]]
        ground_truth = {read_record(record).tobytes(): record for record in records}

        class Oracle(Predictor):
            def __init__(self) -> None:  # it has no model
                self.class_names, self.name = ClassNames(names), "oracle"
                self.runtime = SimpleNamespace(device=torch.device("cpu"))
                self.class_thresholds = dict.fromkeys(names, 0.5)

            def predict_batch(self, images: list[np.ndarray], labels=None, threshold=None) -> list[Detections]:
                return [self.find(ground_truth[image.tobytes()]) for image in images]

            def find(self, record) -> Detections:
                known = [i for i, label in enumerate(record.labels) if ground_truth_names.name(label) in names]
                labels = np.array(
                    [names.index(ground_truth_names.name(record.labels[i])) + 1 for i in known], np.int64
                )
                rles = [from_coco(record.masks[i], record.image_hw) for i in known]
                return Detections(record.image_hw, record.boxes[known], np.ones(len(known), np.float32), labels, rles)

        monkeypatch.setattr("detect.evaluation.evaluate.load_model", lambda *_, **__: Oracle())

    return replace_model


def metrics(tmp_path: Path) -> dict:
    (path,) = tmp_path.glob("*/metrics.json")
    return json.loads(path.read_text())


def test_metrics_of_a_checkpoint_have_cocos_names(run, folder, tmp_path, capsys):
    assert run("--model", folder / "m.safetensors", "--data", folder / "few.yaml") == 0
    found = metrics(tmp_path)
    assert set(found) == {"bbox", "segm", "classes", "evaluator", "detection_limit", "speed", "intervals"}
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
    assert run("--data", folder / "few.yaml") == 0
    found = metrics(tmp_path)["intervals"]
    assert found["images"] == 3 and found["confidence"] == 0.95 and found["half_samples"] == 1000
    low, high = found["bbox"]["AP"]
    assert 0 <= low <= metrics(tmp_path)["bbox"]["AP"] <= high <= 1
    assert set(found["classes"]) == set(SHAPES)
    printed = capsys.readouterr().out
    assert f"[{low:.3f}, {high:.3f}]" in printed and "95 % interval from 1000 random halves of the 3 images" in printed


def test_a_report_is_written_beside_the_metrics_with_the_command_that_was_typed(run, folder, tmp_path, capsys):
    flags = ["--model", folder / "m.safetensors", "--data", folder / "few.yaml", "--split", "val", "--report"]
    assert run(*flags, "--name", "x y") == 0
    page = (tmp_path / "x y" / "report.html").read_text()
    assert "evaluate.py --device cpu --quiet" in page and "--name &#39;x y&#39;" in page
    assert f"-> {tmp_path / 'x y' / 'report.html'}" in capsys.readouterr().out


def test_a_report_of_a_command_has_no_keys_of_urls(monkeypatch):
    line = [
        "/bin/evaluate.py",
        "--model=https://host/m.safetensors?key=1",
        "--data",
        "https://host/d.zip?key=2",
        "a b",
    ]
    monkeypatch.setattr(sys, "argv", line)
    assert typed_command() == (
        "evaluate.py '--model=https://host/m.safetensors?...' --data 'https://host/d.zip?...' 'a b'"
    )


def test_intervals_can_be_left_out(run, folder, tmp_path, oracle, capsys):
    oracle(*SHAPES)
    assert run("--data", folder / "few.yaml", "--no-intervals") == 0
    assert "intervals" not in metrics(tmp_path) and "[low, high]" not in capsys.readouterr().out


def test_classes_are_printed_with_their_numbers_of_images_and_objects(run, folder, oracle, capsys):
    oracle("square", "circle")
    assert run("--data", folder / "few.yaml", "--no-intervals") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("bbox ")][1:]
    assert rows[0][:2] == ["bbox", "triangle"] and rows[0][-3:] == ["0.000"] * 3
    _, records = find_spec(str(folder / "few.yaml")).read("test")
    assert sum(int(row[3]) for row in rows) == len(records.labels) and all(1 <= int(row[2]) <= 3 for row in rows)


def test_the_most_costly_errors_are_printed_in_words_and_a_perfect_model_has_none(run, folder, oracle, capsys):
    oracle("square", "circle")
    assert run("--data", folder / "few.yaml") == 0
    printed = capsys.readouterr().out
    assert "errors of boxes that cost most:\n1. " in printed and "are missed (triangle: " in printed
    assert "would add 33.3 points of AP50" in printed
    oracle(*SHAPES)
    assert run("--data", folder / "few.yaml") == 0
    assert "cost most" not in capsys.readouterr().out


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
    assert run("--data", tmp_path / "one" / "few.yaml", "--output-dir", tmp_path / "out") == 0
    assert metrics(tmp_path / "out")["intervals"]["bbox"] == {"AP": None, "AP50": None}
    assert "no [low, high]: an interval needs two or more images with objects" in capsys.readouterr().out


def test_on_val_a_threshold_is_suggested_and_on_test_none(run, folder, oracle, capsys):
    oracle(*SHAPES)
    assert run("--data", folder / "few.yaml", "--split", "val") == 0
    assert "suggested: threshold 0.995 (highest F1): precision 1.000, recall 1.000" in capsys.readouterr().out
    assert run("--data", folder / "few.yaml", "--split", "test") == 0
    assert "suggested:" not in capsys.readouterr().out


def test_thresholds_for_a_wanted_precision_are_printed_and_saved(run, folder, tmp_path, oracle, capsys):
    oracle("square", "circle")
    assert run("--data", folder / "few.yaml", "--split", "val", "--precision", "0.95", "--name", "p") == 0
    printed = capsys.readouterr().out
    assert "score thresholds, precision of at least 0.95 on val, at IoU 0.5:" in printed
    saved = json.loads((tmp_path / "p" / "thresholds.json").read_text())
    assert saved["rule"] == "precision of at least 0.95" and saved["overall"]["threshold"] == 0.995
    assert (saved["dataset"], saved["split"], saved["images"]) == ("few", "val", 2)
    assert set(saved["classes"]) == set(SHAPES)


def test_written_thresholds_are_the_defaults_of_the_checkpoint(run, folder, tmp_path, oracle, capsys):
    model = tmp_path / "m.safetensors"
    model.write_bytes((folder / "m.safetensors").read_bytes())
    oracle(*SHAPES)
    assert run("--model", model, "--data", folder / "few.yaml", "--split", "val", "--write-thresholds") == 0
    saved = checkpoint.load(model)
    assert saved.class_thresholds == dict.fromkeys(SHAPES, 0.995)
    assert saved.threshold_choice == {"rule": "highest F1", "dataset": "few", "split": "val", "images": 2}
    assert f"stored in {model}: 0.995 for all classes" in capsys.readouterr().out


def test_without_a_threshold_for_any_class_the_checkpoint_is_unchanged(run, folder, tmp_path, oracle, capsys):
    model = tmp_path / "m.safetensors"
    model.write_bytes((folder / "m.safetensors").read_bytes())
    oracle("circle")  # the objects of the other classes are missed
    flags = ["--data", folder / "few.yaml", "--split", "val", "--recall", "0.9", "--write-thresholds"]
    assert run("--model", model, *flags) == 2
    printed = capsys.readouterr().err
    assert "error: no threshold is stored in" in printed and "recall 0.9 is never reached; the best is" in printed
    assert model.read_bytes() == (folder / "m.safetensors").read_bytes()


def test_a_report_shows_the_thresholds_that_were_just_stored(run, folder, tmp_path, oracle, monkeypatch):
    model = tmp_path / "m.safetensors"
    model.write_bytes((folder / "m.safetensors").read_bytes())
    oracle(*SHAPES)  # as if loaded before, with thresholds of 0.5
    shown = []
    monkeypatch.setattr(Evaluation, "save_report", lambda one, *_, **__: shown.append(one))
    flags = ["--model", model, "--data", folder / "few.yaml", "--split", "val", "--write-thresholds", "--report"]
    assert run(*flags) == 0
    assert checkpoint.load(model).class_thresholds == dict.fromkeys(SHAPES, 0.995)
    assert shown[0].analysis.thresholds.tolist() == [0.995] * 3


def test_a_report_is_written_although_no_threshold_can_be_stored(run, folder, tmp_path, capsys):
    model = tmp_path / "m.safetensors"
    model.write_bytes((folder / "m.safetensors").read_bytes())
    flags = ["--data", folder / "few.yaml", "--split", "val", "--recall", "1", "--write-thresholds", "--report"]
    assert run("--model", model, *flags, "--name", "x") == 2
    assert "error: no threshold is stored in" in capsys.readouterr().err
    assert "</html>" in (tmp_path / "x" / "report.html").read_text()


@pytest.mark.parametrize("flags", [["--precision", "0.9"], ["--recall", "0.9"], ["--write-thresholds"]])
@pytest.mark.parametrize("split", ["test", "train"])
def test_thresholds_are_chosen_on_val_only(run, folder, tmp_path, capsys, flags, split):
    model = folder / "m.safetensors"
    assert run("--model", model, "--data", folder / "few.yaml", "--split", split, *flags) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: thresholds are chosen on val (--split val), not on {split}: ")
    assert printed.count("\n") == 1 and not list(tmp_path.iterdir())


def test_thresholds_of_a_split_without_objects_are_an_error_and_nothing_is_written(
    run, tmp_path, oracle, folder, capsys
):
    model = tmp_path / "m.safetensors"
    model.write_bytes((folder / "m.safetensors").read_bytes())
    oracle(*SHAPES)
    data = render_shapes(tmp_path / "none", {"val": 1}, classes=SHAPES)
    (ground_truth,) = (tmp_path / "none").rglob("val.json")
    ground_truth.write_text(json.dumps(json.loads(ground_truth.read_text()) | {"annotations": []}))
    flags = ["--model", model, "--data", data, "--split", "val", "--write-thresholds"]
    assert run(*flags, "--output-dir", tmp_path / "out") == 2
    printed = capsys.readouterr().err
    assert "split 'val' has no object" in printed and printed.count("\n") == 1
    assert model.read_bytes() == (folder / "m.safetensors").read_bytes() and not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_second_run_gets_a_new_folder_and_split_is_respected(run, folder, tmp_path):
    flags = ["--model", folder / "m.safetensors", "--data", folder / "few.yaml", "--split", "val"]
    assert run(*flags) == 0 and run(*flags, "--imgsz", 32, "--tile", 64) == 0
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
        (["--precision", "95", "--split", "val"], "--precision 95.0 must be at most 1"),
        (["--precision", "0.9", "--recall", "0.9", "--split", "val"], "a threshold is chosen for one of them"),
        (["--write-thresholds", "--split", "val"], "balloon is a bundled model"),
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
    monkeypatch.setattr("detect.evaluation.predict.detect_for_dataset", interrupted)
    assert run("--model", "v1", "--data", folder / "few.yaml") == 130
    assert not list(tmp_path.iterdir())


def test_comparison_with_another_model_is_printed_and_saved(run, folder, tmp_path, capsys):
    other = folder / "other.safetensors"
    other.write_bytes((folder / "m.safetensors").read_bytes())
    flags = ["--model", folder / "m.safetensors", "--data", folder / "few.yaml", "--name", "both"]
    assert run(*flags, "--compare", other) == 0
    assert "m and other have the same bbox AP" in capsys.readouterr().out
    saved = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert saved["baseline"] == "other" and saved["metrics"]["bbox_AP"]["change"] == 0


def test_a_baseline_without_any_class_of_the_dataset_is_an_error_before_the_model_runs(
    run, folder, tmp_path, monkeypatch, capsys
):
    kites = folder / "kites.safetensors"
    checkpoint.save(as_checkpoint(random_model(), classes=ClassNames(("kite", "balloon", "bird"))), kites)
    file = folder / "kites.json"
    file.write_text('[{"image_id": 20001, "category_name": "kite", "bbox": [1, 1, 5, 5], "score": 0.5}]')
    monkeypatch.setattr(
        "detect.evaluation.predict.detect_for_dataset", lambda *_, **__: pytest.fail("the model ran first")
    )
    for other in (kites, file):
        flags = ["--model", folder / "m.safetensors", "--data", folder / "few.yaml", "--name", "both"]
        assert run(*flags, "--compare", other) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1 and printed.startswith("error: dataset 'few' and ")
        assert "kites" in printed and "have no class in common" in printed and not (tmp_path / "both").exists()


def test_comparison_with_a_missing_model_is_one_line_before_any_work(run, folder, tmp_path, capsys):
    flags = ["--model", folder / "m.safetensors", "--data", folder / "few.yaml", "--name", "both"]
    assert run(*flags, "--compare", folder / "none.json") == 2
    assert "does not exist" in capsys.readouterr().err and not (tmp_path / "both").exists()
