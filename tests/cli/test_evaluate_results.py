"""evaluate.py with a file of detections: the same output as for a model, and mistakes that write nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.results_files import noisy_rows, perfect_rows, write_dataset

from detect.cli.commands import detect_image, evaluate
from detect.cli.exit_status import exit_status
from detect.errors import UsageError
from detect.inference.load import load_model


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture
def run(monkeypatch, data, tmp_path) -> Callable[..., int]:
    """Write rows as results.json and run evaluate.py on it in-process; its exit status."""

    def call(rows: object, *flags: object) -> int:
        (tmp_path / "results.json").write_text(json.dumps(rows))
        line = ["evaluate.py", "--model", tmp_path / "results.json", "--data", data, "--split", "val", "--quiet"]
        line += ["--output-dir", tmp_path / "out", *flags]
        monkeypatch.setattr(sys, "argv", [str(word) for word in line])
        return exit_status(evaluate.main)

    return call


def test_metrics_of_a_results_file_are_printed_and_written(run, data, tmp_path, capsys):
    assert run(noisy_rows(data.parent)) == 0
    printed = capsys.readouterr()
    assert "results.json on tiny val: 3 images, 12 objects" in printed.out
    assert "s per image" not in printed.out and not printed.err
    written = json.loads((tmp_path / "out" / "results_tiny_val" / "metrics.json").read_text())
    assert {"bbox", "segm", "classes"} <= set(written) and "speed" not in written
    assert f"{written['bbox']['AP']:.3f}" in printed.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--device", "cpu"], "--device cpu is for a model; results.json holds detections"),
        (["--imgsz", 320], "--imgsz 320 is for a model"),
        (["--tile", "auto"], "is for a model"),
        (["--tile", 10], "--tile"),
        (["--split", "train"], "which lacks 21, 11, 40; these are in its split 'val'"),
        (["--max-detections", 0], "--max-detections"),
        (["--model", "missing.json"], "missing.json does not exist"),
        (["--model", "."], "is a folder"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(run, data, tmp_path, capsys, flags, words):
    assert run(perfect_rows(data.parent), *flags) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and words in printed and printed.count("\n") == 1
    assert not list((tmp_path / "out").glob("*"))


def test_damaged_file_is_an_error_before_a_dataset_is_prepared(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("detect.data.spec.DatasetSpec.prepare", lambda _: pytest.fail("the data came first"))
    assert run([], "--data", "sample") == 2
    assert "results.json holds no detections" in capsys.readouterr().err


def test_other_programs_say_that_a_results_file_is_no_model(monkeypatch, data, tmp_path, capsys):
    results = tmp_path / "results.json"
    results.write_text("[]")
    image = data.parent / "val" / "000005.png"
    monkeypatch.setattr(sys, "argv", ["detect_image.py", "--input", str(image), "--model", str(results)])
    assert exit_status(detect_image.main) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "results.json can hold detections, but no model; evaluate.py" in printed
    with pytest.raises(UsageError, match=r"results\.json can hold detections, but no model"):
        load_model(results)
