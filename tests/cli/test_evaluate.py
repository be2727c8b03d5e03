"""evaluate.py: the score of a checkpoint on a split, with classes tied by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_models import as_checkpoint, random_model, render_shapes

from benchmarks.records import SPLITS, Record
from benchmarks.results_page import models
from detect import runtime
from detect.cli.commands import evaluate
from detect.cli.exit_status import exit_status
from detect.data.dataset import read_record
from detect.data.description import find_spec
from detect.data.spec import DatasetSpec
from detect.evaluation.coco_metrics import NAMES
from detect.inference import predictor
from detect.models import checkpoint
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.masks import from_coco
from detect.training import loop

SHAPES = ("circle", "square", "triangle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A dataset in two orders of its classes, and a model that was hardly trained on them."""
    folder = tmp_path_factory.mktemp("data")
    render_shapes(folder, {"test": 3, "val": 2}, classes=SHAPES[::-1]).rename(folder / "turned.yaml")
    render_shapes(folder, {"test": 3, "val": 2})
    checkpoint.save(as_checkpoint(random_model(), classes=ClassNames(SHAPES, (90, 7, 3))), folder / "m.safetensors")
    return folder


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run evaluate.py's main in-process; its exit status."""
    monkeypatch.setattr(runtime, "cores", lambda: 1)

    def call(*arguments: object) -> int:
        line = ["evaluate.py", "--device", "cpu", "--quiet", "--output-dir", tmp_path, *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in line])
        return exit_status(evaluate.main)

    return call


@pytest.fixture
def oracle(monkeypatch, folder):
    """``oracle(names)``: the script's model knows ``names``, in this order, and finds all that there is of them."""

    def know(*names: str) -> None:
        ground_truth_names, records = find_spec(str(folder / "few.yaml")).read("test")
        ground_truth = {read_record(record).tobytes(): record for record in records}

        class Oracle:
            class_names = ClassNames(names)
            device = "cpu"

            def predict_batch(self, images: list[np.ndarray], labels=None, threshold=None) -> list[Detections]:
                return [self.find(ground_truth[image.tobytes()]) for image in images]

            def find(self, record) -> Detections:
                known = [i for i, label in enumerate(record.labels) if ground_truth_names.name(label) in names]
                labels = np.array(
                    [names.index(ground_truth_names.name(record.labels[i])) + 1 for i in known], np.int64
                )
                rles = [from_coco(record.masks[i], record.image_hw) for i in known]
                return Detections(record.image_hw, record.boxes[known], np.ones(len(known), np.float32), labels, rles)

        monkeypatch.setattr(predictor, "load_model", lambda *_, **__: Oracle())

    return know


def metrics(tmp_path: Path) -> dict:
    (path,) = tmp_path.glob("*/metrics.json")
    return json.loads(path.read_text())


def test_a_checkpoint_is_scored_and_the_figures_have_cocos_names(run, folder, tmp_path, capsys):
    assert run("--model", folder / "m.safetensors", "--data", folder / "few.yaml") == 0
    found = metrics(tmp_path)
    assert set(found) == {"bbox", "segm", "classes", "evaluator", "speed"}
    assert list(found["bbox"]) == list(found["segm"]) == list(NAMES)
    assert set(found["classes"]) == set(SHAPES)
    assert all(v is None or 0 <= v <= 1 for kind in ("bbox", "segm") for v in found[kind].values())
    assert found["speed"]["seconds_per_image"] > 0 and found["speed"]["device"] == "cpu"
    said = capsys.readouterr().out
    assert "m.safetensors on few test: 3 images, " in said
    assert f"-> {tmp_path}/m_few_test/metrics.json" in said


def test_both_evaluators_score_the_same_and_the_one_that_did_is_recorded(run, folder, tmp_path):
    for name in ("faster-coco-eval", "pycocotools"):
        flags = ["--model", folder / "m.safetensors", "--data", folder / "few.yaml"]
        assert run(*flags, "--evaluator", name, "--name", name) == 0
    fast, reference = (
        json.loads((tmp_path / f.name / "metrics.json").read_text()) for f in sorted(tmp_path.iterdir())
    )
    assert fast.pop("speed") and reference.pop("speed")
    assert fast.pop("evaluator")["name"] == "faster-coco-eval" and fast.pop("classes") == reference.pop("classes")
    assert reference.pop("evaluator")["name"] == "pycocotools" and fast == reference


def test_intervals_stand_behind_their_figures_and_say_what_they_are(run, folder, tmp_path, oracle, capsys):
    oracle("square", "circle")  # a third of the classes is never found, whichever images are drawn
    assert run("--data", folder / "few.yaml", "--intervals") == 0
    found = metrics(tmp_path)["intervals"]
    assert found["images"] == 3 and found["confidence"] == 0.95 and found["resamples"] == 1000
    page = models({"balloon_recipe_0": Record({split: metrics(tmp_path) for split in SPLITS}, 1, 9.0, {}, "")})
    assert "| `mobilenet_v2` | test |" in page  # docs/results.md is made of these files
    low, high = found["bbox"]["AP"]
    assert 0 <= low <= metrics(tmp_path)["bbox"]["AP"] <= high <= 1
    assert set(found["classes"]) == set(SHAPES)
    said = capsys.readouterr().out
    assert f"[{low:.3f}, {high:.3f}]" in said and "95 % of 1000 draws\nof 3 of these 3 images, with repl" in said


def test_a_split_without_objects_has_nothing_to_score(run, tmp_path, oracle, capsys):
    oracle(*SHAPES)
    data = render_shapes(tmp_path / "none", {"test": 1}, classes=SHAPES)
    (ground_truth,) = (tmp_path / "none").rglob("test.json")
    ground_truth.write_text(json.dumps(json.loads(ground_truth.read_text()) | {"annotations": []}))
    assert run("--data", data) == 2
    assert "no image of split 'test' has an object to be found" in capsys.readouterr().err


def test_one_image_has_no_interval(run, tmp_path, oracle, capsys):
    oracle(*SHAPES)
    render_shapes(tmp_path / "one", {"test": 1}, classes=SHAPES)
    assert run("--data", tmp_path / "one" / "few.yaml", "--intervals", "--output-dir", tmp_path / "out") == 0
    assert metrics(tmp_path / "out")["intervals"]["bbox"] == {"AP": None, "AP50": None}
    assert "no [low, high]: an interval needs two or more images with objects" in capsys.readouterr().out


def test_a_second_run_has_its_own_folder_and_the_split_is_the_users(run, folder, tmp_path):
    flags = ["--model", folder / "m.safetensors", "--data", folder / "few.yaml", "--split", "val"]
    assert run(*flags) == 0 and run(*flags, "--imgsz", 32) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m_few_val", "m_few_val_2"]


@pytest.mark.parametrize("data", ["few.yaml", "turned.yaml"])
@pytest.mark.parametrize("names", [SHAPES, ("triangle", "dragon", "circle", "square")])
def test_names_tie_classes_whatever_their_order(run, folder, tmp_path, oracle, data, names, capsys):
    oracle(*names)
    assert run("--data", folder / data) == 0
    found = metrics(tmp_path)
    assert found["bbox"]["AP"] == pytest.approx(1.0) and found["segm"]["AP"] == pytest.approx(1.0)
    assert {name: found["classes"][name]["bbox"]["AP"] for name in SHAPES} == pytest.approx(dict.fromkeys(SHAPES, 1.0))
    assert not capsys.readouterr().err


def test_a_real_model_scores_the_same_in_any_order_of_classes(run, folder, tmp_path):
    for data in ("few", "turned"):
        flags = ["--data", folder / f"{data}.yaml", "--name", data]
        assert run("--model", folder / "m.safetensors", *flags) == 0
    few, turned = (json.loads((tmp_path / data / "metrics.json").read_text()) for data in ("few", "turned"))
    assert few["bbox"] == pytest.approx(turned["bbox"], nan_ok=True)
    assert few["classes"] == turned["classes"]


def test_a_class_that_the_model_does_not_know_scores_0_and_is_told(run, folder, tmp_path, oracle, capsys):
    oracle("square", "circle")
    assert run("--model", "v1", "--data", folder / "few.yaml") == 0
    assert capsys.readouterr().err == "warning: dataset 'few': the model does not know triangle, which will score 0\n"
    found = metrics(tmp_path)
    assert found["classes"]["triangle"]["bbox"]["AP"] == 0.0
    assert found["classes"]["square"]["bbox"]["AP"] == pytest.approx(1.0)
    assert found["bbox"]["AP"] == pytest.approx(2 / 3)


def test_the_key_in_a_models_address_is_not_shown(run, folder, oracle, capsys):
    oracle(*SHAPES)
    assert run("--model", "https://h/m.safetensors?token=secret#sha256=01234567", "--data", folder / "few.yaml") == 0
    said = capsys.readouterr()
    assert "https://h/m.safetensors?...#sha256=01234567 on few test: 3 images" in said.out
    assert "secret" not in said.out + said.err


def test_a_model_that_knows_none_of_the_classes_is_a_mistake(run, folder, tmp_path, oracle, capsys):
    oracle("balloon", "kite")
    assert run("--model", "v1", "--data", folder / "few.yaml") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: dataset 'few' and the model share no class") and "knows balloon, kite" in said
    assert said.count("\n") == 1 and not list(tmp_path.iterdir())


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
def test_a_mistake_is_told_in_one_line(run, folder, tmp_path, capsys, flags, words):
    assert run("--data", folder / "few.yaml", *flags) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and words in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_broken_model_is_told_before_images_are_rendered(run, tmp_path, monkeypatch):
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    monkeypatch.setattr(DatasetSpec, "prepare", lambda _: pytest.fail("the data came first"))
    assert run("--model", tmp_path / "junk.safetensors") == 2


def test_an_evaluation_that_is_stopped_leaves_no_folder(run, folder, tmp_path, oracle, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    oracle(*SHAPES)
    monkeypatch.setattr(loop, "detect_records", interrupted)
    assert run("--model", "v1", "--data", folder / "few.yaml") == 130
    assert not list(tmp_path.iterdir())
