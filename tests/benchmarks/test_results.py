"""benchmark.py results: each run is trained once, interrupted runs continue, and the tables hold all records."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.benchmarking import run_benchmark
from helpers.folders import ROOT

from benchmarks import results
from benchmarks.results import (
    BRIEF,
    RECIPE,
    Experiment,
    choose,
    every,
    known_speedup,
    make,
    page,
    read_record,
    train_flags,
)
from benchmarks.settings import ResultsSettings
from benchmarks.training_run import REFERENCE, USUAL
from detect.cli.flags import parse
from detect.cli.settings.train import TrainSettings
from detect.errors import DataError, UsageError

FIRST = Experiment("bccd", RECIPE, 0)


@pytest.fixture
def settings(tmp_path: Path) -> ResultsSettings:
    for data in results.DATASETS:
        (tmp_path / "data" / data).mkdir(parents=True)
    (tmp_path / "records").mkdir()
    folders = {name: tmp_path / name for name in ("records", "output_dir")}
    return ResultsSettings(data_root=tmp_path / "data", device="cpu", **folders)


def scores(ap: float) -> dict:
    return {"bbox": {"AP": ap, "AP50": ap + 0.2}}


def trained(settings: ResultsSettings, run: Experiment, scored: bool = False) -> Path:
    """Write what train.py leaves after a finished run, and with ``scored`` what evaluate.py adds."""
    folder = settings.output_dir / run.name
    folder.mkdir(parents=True)
    for name in ("last_state.pt", "curves.png"):
        (folder / name).write_text(run.name)
    (folder / "settings.yaml").write_text(f"data: /far/{run.data}\npretrained: /far/m.pth\nepochs: 20\nname: x\n")
    rows = [{"epoch": 1, "seconds": 2.5}, {"epoch": 2, "seconds": 3}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split in results.SPLITS if scored else ():
        (folder / split).mkdir()
        (folder / split / "metrics.json").write_text(json.dumps(scores(0.5)))
    return folder


@pytest.fixture
def programs(monkeypatch, settings):
    """Record the programs that are started, and write what each leaves when it succeeds."""
    started = []

    def pretend(program: str, *flags: str) -> None:
        started.append([program, *flags])
        if program == "evaluate.py":
            folder = settings.output_dir / FIRST.name / flags[-1]
            folder.mkdir()
            (folder / "metrics.json").write_text(json.dumps(scores(0.5)))
        elif "--resume" in flags:
            (settings.output_dir / FIRST.name / "curves.png").touch()
        else:
            trained(settings, FIRST)

    monkeypatch.setattr(results, "_python", pretend)
    return started


def speed_file(settings: ResultsSettings, data: str, images: str = "images") -> None:
    """Write speeds of 3, 2 and 10 times the references in three rounds."""
    rounds = {USUAL: [(30, 10), (60, 10), (20, 10)], REFERENCE: [(10, 10), (30, 10), (2, 10)]}
    runs = {way: [{images: n, "seconds": s} for n, s in some] for way, some in rounds.items()}
    (settings.records / f"speed_{data}.json").write_text(json.dumps({"runs": {"mobilenet_v2": runs}}))


def test_flags_of_every_run_are_accepted_by_train(settings):
    for data in results.DATASETS:
        trained(settings, Experiment(data, RECIPE, 0))
        speed_file(settings, data)
    assert len({run.name for run in every()}) == len(every()) == 24
    for run in every():
        train, _ = parse(TrainSettings, "", train_flags(run, settings))
        assert (train.seed, train.name) == (run.seed, run.name)
        assert train.epochs == {RECIPE: None, BRIEF: 2}.get(run.way, 7)


def test_runs_are_chosen_by_the_beginning_of_their_name():
    assert [run.name for run in choose(["balloon_plain", "bccd_recipe_1"])] == [
        *(f"balloon_plain_{seed}" for seed in results.SEEDS),
        "bccd_recipe_1",
    ]
    assert choose(None) == every()
    with pytest.raises(UsageError, match=r"unknown run 'ballon_plain_0'.*balloon_plain_0"):
        choose(["ballon_plain_0"])


def test_missing_dataset_is_an_error_that_says_where_to_download_it(settings, tmp_path):
    shutil.rmtree(tmp_path / "data" / "bccd")
    with pytest.raises(DataError, match="bccd; download it from https://"):
        train_flags(FIRST, settings)


def test_a_run_is_trained_once_and_scored_on_both_splits(settings, programs):
    make(FIRST, settings, "a machine")
    [training, *scoring] = programs
    assert training[0] == "train.py" and str(settings.data_root / "bccd") in training
    for line, split in zip(scoring, results.SPLITS, strict=True):
        assert line[0] == "evaluate.py" and "--intervals" in line
        assert line[line.index("--split") + 1] == line[line.index("--name") + 1] == split
    record = read_record(FIRST.name, settings.records)
    assert (record["epochs"], record["seconds"], record["machine"]) == (2, 5.5, "a machine")
    assert record["metrics"]["test"]["bbox"]["AP"] == 0.5
    assert record["settings"] == {"data": "bccd", "pretrained": "m.pth", "epochs": 20}, "without paths"
    programs.clear()
    shutil.rmtree(settings.output_dir)
    make(FIRST, settings, "a machine")
    assert not programs, "the record suffices"


def test_interrupted_run_continues_and_one_without_a_state_begins_again(settings, programs):
    folder = trained(settings, FIRST, scored=True)
    (folder / "curves.png").unlink()
    make(FIRST, settings, "a machine")
    assert programs == [["train.py", "--resume", str(folder)]]
    programs.clear()
    (settings.records / f"{FIRST.name}.json").unlink()
    (folder / "last_state.pt").unlink()
    make(FIRST, settings, "a machine")
    assert [line[0] for line in programs] == ["train.py", "evaluate.py", "evaluate.py"] and "--resume" not in programs[
        0
    ]


def test_interrupted_scoring_is_repeated(settings, programs):
    folder = trained(settings, FIRST, scored=True)
    (folder / "test" / "metrics.json").unlink()
    (folder / "test" / "left").touch()
    make(FIRST, settings, "a machine")
    assert [line[0] for line in programs] == ["evaluate.py"] and not (folder / "test" / "left").exists()


@pytest.mark.parametrize("damaged", ["{", "[]", '{"metrics": {}}', '{"epochs": 3}'])
def test_damaged_record_is_an_error_that_names_the_file(settings, damaged):
    (settings.records / f"{FIRST.name}.json").write_text(damaged)
    with pytest.raises(DataError, match=r"bccd_recipe_0\.json is not the record of a run"):
        read_record(FIRST.name, settings.records)


def test_length_of_other_runs_needs_the_fitted_epochs(settings):
    with pytest.raises(UsageError, match="train balloon_recipe_0 first"):
        train_flags(Experiment("balloon", BRIEF, 0), settings)


@pytest.mark.parametrize("images", ["images", "pictures"])  # vocabulary: old name
def test_speedup_is_the_median_of_ratios_within_each_round(settings, images):
    assert known_speedup("balloon", settings.records) is None
    speed_file(settings, "balloon", images)
    assert known_speedup("balloon", settings.records) == 3


def test_records_in_the_repository_fill_the_tables():
    records = {run.name: r for run in every() if (r := read_record(run.name, ROOT / "docs" / "results"))}
    speedups = {data: known_speedup(data, ROOT / "docs" / "results") for data in results.DATASETS}
    text, shown = page(records, speedups), (ROOT / "docs" / "results.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "±" in line]
    assert len(rows) == 6
    for row in rows:  # title, seeds, epochs, figures
        assert row.split("|", 4)[-1].strip() in shown, row


def test_program_that_fails_is_an_error(capfd):
    with pytest.raises(UsageError, match=r"doctor\.py ended with status 2"):
        results._python("doctor.py", "check", "nowhere")
    assert capfd.readouterr().err.startswith("error: ")


def test_stop_waits_until_the_program_has_ended(tmp_path):
    """SIGTERM is sent to benchmark.py alone, as for a process in the background."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import signal, sys, time\nfrom pathlib import Path\n"
        "def end(*_):\n    time.sleep(1)\n    Path(sys.argv[1]).write_text('saved')\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\nPath(sys.argv[1]).write_text('started')\ntime.sleep(60)\n"
    )
    saved = tmp_path / "saved"
    code = (
        "import sys; from pathlib import Path\n"
        "from benchmarks import results; from detect.cli.exit_status import exit_status\n"
        f"results._ROOT = Path({str(tmp_path)!r})\n"
        f"sys.exit(exit_status(lambda: results._python('slow.py', {str(saved)!r})))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    while not (saved.exists() and saved.read_text() == "started"):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143 and saved.read_text() == "saved"


def test_command_prints_the_tables_of_finished_runs(monkeypatch, settings, programs, capsys):
    folders = {"--records": settings.records, "--output-dir": settings.output_dir, "--data-root": settings.data_root}
    flags = [word for pair in folders.items() for word in pair]
    assert run_benchmark(monkeypatch, "results", "--runs", FIRST.name, "--device", "cpu", *flags) == 0
    assert "| train.py with its defaults | 1 | 2 | 50.0 | 70.0 | 50.0 | 70.0 |" in capsys.readouterr().out
