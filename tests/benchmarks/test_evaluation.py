"""benchmark.py evaluate: every evaluator computes the metrics of the same simulated detections."""

from __future__ import annotations

import json

import pytest
from helpers.benchmarking import run_benchmark

from benchmarks import evaluation
from detect.evaluation import EVALUATORS


def test_table_has_a_row_for_each_evaluator_and_for_the_intervals(monkeypatch, capsys, tmp_path):
    file = tmp_path / "times.json"
    words = ["evaluate", "--images", "6", "--classes", "3", "--detections", "20", "--rounds", "2", "--json", str(file)]
    assert run_benchmark(monkeypatch, *words) in (None, 0)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    assert [row.split("|")[1].strip() for row in rows[:3]] == list(EVALUATORS) and len(rows) == 4
    measured = json.loads(file.read_text())
    assert all(len(measured["seconds"][name]) == 2 for name in EVALUATORS)
    assert len(set(measured["ap"].values())) == 1 or measured["ap"]["detect"] == pytest.approx(
        measured["ap"]["pycocotools"]
    )


def test_ratios_are_relative_to_pycocotools():
    text = evaluation.table({"detect": [1.0, 3.0, 2.0], "faster-coco-eval": [4.0], "pycocotools": [20.0]}, [5.0])
    cells = [[cell.strip() for cell in row.split("|")[2:4]] for row in text.splitlines()[2:]]
    assert cells == [["2.0", "10.0"], ["4.0", "5.0"], ["20.0", "1.0"], ["5.0", "4.0"]]
