"""benchmark.py video: the detector alone and the whole program process the same frames in turns."""

from __future__ import annotations

import json

import pytest
from helpers.benchmarking import run_benchmark

from benchmarks.video import Row, summarize


def test_table_and_json_hold_what_was_measured(monkeypatch, tmp_path, capsys):
    path = tmp_path / "figures.json"
    line = ["video", "--imgsz", 64, "--max-frames", 3, "--rounds", 2, "--device", "cpu", "--quiet", "--json", path]
    assert run_benchmark(monkeypatch, *line) == 0
    facts = json.loads(path.read_text())
    assert (facts["frames"], facts["image_hw"], facts["batch_size"], facts["imgsz"]) == (3, [360, 640], 1, 64)
    names = [row["name"] for row in facts["rows"]]
    assert names == ["detector alone", "detect_video.py", "detect_video.py --track"]
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in facts["rows"])
    assert facts["machine"] and all(row["ms"] > 0 and row["fps"] > 0 for row in facts["rows"])
    text = capsys.readouterr().out
    assert all(f"| {name} |" in text for name in names) and "640x360" in text


def test_rates_are_compared_within_a_round():
    rows = [
        Row("detector alone", seconds=[10, 20, 40], cpu_seconds=[20, 30, 90]),
        Row("detect_video.py", seconds=[20, 25, 50], cpu_seconds=[40, 40, 40]),
    ]
    summarize(rows, frames=100)
    assert [row.fps for row in rows] == [5, 4] and [row.ms for row in rows] == [200, 250]
    assert [row.cpu_ms for row in rows] == [300, 400]
    assert [row.fraction for row in rows] == pytest.approx([1, 0.8])
