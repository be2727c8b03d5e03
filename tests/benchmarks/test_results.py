"""benchmark.py results: each run is trained once, interrupted runs continue, and the tables hold all records."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.benchmarking import run_benchmark
from helpers.folders import ROOT

import detect
from benchmarks import report, results
from benchmarks.results import (
    EQUAL_TIME,
    RUNS,
    choose,
    epochs_of,
    page,
    read_records,
    train_and_evaluate,
)
from benchmarks.settings import ResultsSettings
from benchmarks.training import DEFAULT, REFERENCE
from detect.errors import DataError, UsageError
from detect.training.config import TrainConfig

FIRST = "bccd_default_0"


@pytest.fixture
def settings(tmp_path: Path) -> ResultsSettings:
    for data in results.DATASETS:
        (tmp_path / "data" / data).mkdir(parents=True)
    (tmp_path / "records").mkdir()
    folders = {name: tmp_path / name for name in ("records", "output_dir")}
    return ResultsSettings(data_root=tmp_path / "data", device="cpu", **folders)


@pytest.fixture
def calls(monkeypatch, settings) -> list[dict[str, Any]]:
    """Record the trainings and evaluations, and write what each training leaves."""
    calls: list[dict[str, Any]] = []

    def train(resume: Path | None = None, **arguments: Any) -> SimpleNamespace:
        calls.append({**arguments, "resume": resume})
        config = TrainConfig(**{"data": "", **arguments})
        folder = resume or settings.output_dir / str(config.name)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [{"epoch": 1, "seconds": 2.5}, {"epoch": 2, "seconds": 3}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return SimpleNamespace(best=folder / "best.safetensors", config=replace(config, epochs=config.epochs or 20))

    def evaluate(model: Path, **arguments: Any) -> SimpleNamespace:
        calls.append({**arguments, "model": model})
        return SimpleNamespace(scores=scores(0.5))

    monkeypatch.setattr(detect, "train", train)
    monkeypatch.setattr(detect, "evaluate", evaluate)
    return calls


def scores(ap: float) -> dict[str, Any]:
    return {"bbox": {"AP": ap, "AP50": ap + 0.2}}


def write_record(settings: ResultsSettings, name: str, ap: float = 0.5, epochs: int = 20) -> None:
    metrics = {split: scores(ap) for split in results.SPLITS}
    record = {"metrics": metrics, "epochs": epochs, "settings": {"epochs": epochs}, "machine": "a machine"}
    (settings.records / f"{name}.json").write_text(json.dumps(record))


def write_speed(settings: ResultsSettings, data: str) -> None:
    """Write speeds of 3, 2 and 10 times the references in three rounds."""
    rounds = {DEFAULT: [(30, 10), (60, 10), (20, 10)], REFERENCE: [(10, 10), (30, 10), (2, 10)]}
    rest = {"peak_bytes": None, "losses": [], "stages": {}}
    runs = {name: [{"images": n, "seconds": s, **rest} for n, s in some] for name, some in rounds.items()}
    (settings.records / f"speed_{data}.json").write_text(json.dumps({"runs": {"mobilenet_v2": runs}}))


def test_every_run_is_trained_with_settings_that_train_knows(settings, calls):
    for data in results.DATASETS:
        write_record(settings, f"{data}_default_0")
        write_speed(settings, data)
    assert len(RUNS) == 24
    for name, (_, variant, seed) in RUNS.items():
        calls.clear()
        train_and_evaluate(name, settings)
        assert (calls[0]["seed"], calls[0]["name"]) == (seed, name)
        assert calls[0]["epochs"] == {DEFAULT: None, EQUAL_TIME: 2}.get(variant, 7)


def test_runs_are_chosen_by_the_beginning_of_their_name():
    assert choose(["balloon_plain", "bccd_default_1"]) == [
        *(f"balloon_plain_{seed}" for seed in results.SEEDS),
        "bccd_default_1",
    ]
    assert choose(None) == [*RUNS]
    with pytest.raises(UsageError, match=r"unknown run 'ballon_plain_0'.*balloon_plain_0"):
        choose(["ballon_plain_0"])


def test_missing_dataset_is_an_error_that_says_where_to_download_it(settings, tmp_path):
    shutil.rmtree(tmp_path / "data" / "bccd")
    with pytest.raises(DataError, match="bccd; download it from https://"):
        train_and_evaluate(FIRST, settings)


def test_a_run_is_trained_once_and_evaluated_on_both_splits(settings, calls):
    settings = replace(settings, runs=[FIRST], pretrained="/far/m.pth")
    results.run(settings)
    training, *evaluations = calls
    assert training["data"] == str(settings.data_root / "bccd") and training["resume"] is None
    assert [(one["split"], one["intervals"]) for one in evaluations] == [("val", True), ("test", True)]
    record = read_records(settings.records)[0][FIRST]
    assert (record["epochs"], record["seconds"]) == (2, 5.5) and record["metrics"]["test"] == scores(0.5)
    kept = record["settings"]
    assert (kept["data"], kept["pretrained"], kept["epochs"]) == ("bccd", "m.pth", 20)
    assert not {"data_root", "output_dir", "name"} & set(kept), "no paths of this machine"
    calls.clear()
    shutil.rmtree(settings.output_dir)
    results.run(settings)
    assert not calls, "the record suffices"


def test_interrupted_run_continues_and_one_without_a_state_begins_again(settings, calls):
    folder = settings.output_dir / FIRST
    folder.mkdir(parents=True)
    (folder / "left").touch()
    train_and_evaluate(FIRST, settings)
    assert calls[0]["resume"] is None and not (folder / "left").exists()
    calls.clear()
    (folder / "last_state.pt").touch()
    train_and_evaluate(FIRST, settings)
    assert calls[0] == {"resume": folder, "device": "cpu", "quiet": False}


def test_length_of_other_runs_needs_the_fitted_epochs(settings):
    with pytest.raises(UsageError, match="train balloon_default_0 first"):
        epochs_of("balloon", EQUAL_TIME, settings)


def test_speedup_is_the_median_of_ratios_within_each_round(settings):
    assert read_records(settings.records) == ({}, {})
    write_speed(settings, "balloon")
    assert read_records(settings.records) == ({}, {"balloon": 3})


def test_missing_speed_is_measured(settings, monkeypatch):
    measured = []
    monkeypatch.setattr(report, "publish", lambda speed, _: (measured.append(speed), write_speed(settings, "bccd")))
    write_record(settings, FIRST)
    assert epochs_of("bccd", EQUAL_TIME, settings) == 2
    assert (measured[0].json, measured[0].imgsz) == (settings.records / "speed_bccd.json", results.SMALL)


def test_records_in_the_repository_fill_the_tables():
    text, shown = page(*read_records(ROOT / "docs" / "results")), (ROOT / "docs" / "results.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "±" in line]
    assert len(rows) == 6
    for row in rows:  # title, seeds, epochs, figures
        assert row.split("|", 4)[-1].strip() in shown, row


def test_command_prints_the_tables_of_finished_runs(monkeypatch, settings, calls, capsys):
    folders = {"--records": settings.records, "--output-dir": settings.output_dir, "--data-root": settings.data_root}
    flags = [word for pair in folders.items() for word in pair]
    assert run_benchmark(monkeypatch, "results", "--runs", FIRST, "--device", "cpu", *flags) == 0
    assert "| train.py with its defaults | 1 | 2 | 50.0 | 70.0 | 50.0 | 70.0 |" in capsys.readouterr().out


def test_damaged_record_is_one_clear_error(settings):
    (settings.records / f"{FIRST}.json").write_text('{"metrics": ')
    with pytest.raises(DataError, match=rf"{FIRST}\.json is not valid JSON.*delete it"):
        read_records(settings.records)
