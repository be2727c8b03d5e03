"""benchmark.py intervals: coverage of the intervals in simulated test sets."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.benchmarking import run_benchmark

from benchmarks.intervals import SCENARIOS, Scenario, coverage, declared_different, simulate


def test_table_has_a_row_for_each_scenario_and_size(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("benchmarks.intervals._TRUE_IMAGES", 200)
    file = tmp_path / "coverage.json"
    words = ["intervals", "--images", "5", "8", "--simulations", "2", "--quiet", "--json", str(file)]
    assert run_benchmark(monkeypatch, *words) in (None, 0)
    printed = capsys.readouterr().out
    assert all(printed.count(f"| {name} |") == 2 for name in SCENARIOS)
    measured = json.loads(file.read_text())
    assert len(measured["coverage"]) == 2 * len(SCENARIOS)
    assert set(measured["equal_models_declared_different"]) == {"5", "8"}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_simulated_detections_match_at_most_the_objects_there_are(scenario):
    for matches in simulate(scenario, 30, np.random.default_rng(0)):
        assert (matches.is_correct.sum(axis=1) <= matches.objects.sum()).all()
        assert (np.diff(matches.is_correct.sum(axis=1)) <= 0).all()  # correct at 0.55 is correct at 0.5


def test_a_true_value_outside_all_intervals_is_never_covered(monkeypatch):
    monkeypatch.setattr("benchmarks.intervals._TRUE_IMAGES", 200)
    monkeypatch.setattr("benchmarks.intervals.interval_of_fraction", lambda *_: (2, 3))
    assert coverage(Scenario(), 10, 3)[0].tolist() == [0, 0]
    monkeypatch.setattr("benchmarks.intervals.interval_of_fraction", lambda *_: (0, 1))
    assert coverage(Scenario(), 10, 3)[0].tolist() == [1, 1]


def test_models_are_declared_different_only_if_the_interval_excludes_0(monkeypatch):
    for ends, expected in (((-1, 1), 0), ((0.1, 0.2), 1), ((-0.2, -0.1), 1)):
        monkeypatch.setattr("benchmarks.intervals.interval_of_difference", lambda *_, ends=ends: ends)
        assert declared_different(Scenario(), 10, 2) == expected
