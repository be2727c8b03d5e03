"""benchmark.py results: which runs there are, that each is made once, and what the page says of them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

import benchmark
from benchmarks import experiments, markdown, records, results
from benchmarks.experiments import (
    BALLOON,
    BCCD,
    BRIEF,
    PART_RUNS,
    PARTS,
    PLAIN,
    RECIPE,
    chosen,
    of_models,
    of_parts,
    of_recipe,
)
from benchmarks.output import part_of
from benchmarks.records import Record, keep
from benchmarks.results import Place, check_weights, copy_curves, known_speedup, make, read, speedup, train_flags
from benchmarks.results_page import classes, effects, machines, models, page, ways
from benchmarks.training_run import REFERENCE, USUAL
from detect.cli.exit_status import exit_status
from detect.cli.flags import parse
from detect.cli.settings import TrainSettings
from detect.errors import DataError, UsageError
from detect.io.resources import datasets_folder

NO_SPEEDUP = dict.fromkeys(PARTS)
[FIRST, *_] = of_recipe(BCCD, RECIPE)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data", tmp_path / "runs", tmp_path / "records", "auto", "cpu", "a machine")


@pytest.fixture
def programs(monkeypatch, place):
    """What would be called, noted; each leaves what it leaves when all goes well."""
    called = []

    def pretend(program: str, *flags: str) -> None:
        called.append([program, *flags])
        if program == "evaluate.py":
            folder = place.output_dir / FIRST.name / flags[-1]
            folder.mkdir()
            (folder / "metrics.json").write_text(json.dumps(scores(0.5)), encoding="utf-8")
        else:
            finished(place, FIRST)

    monkeypatch.setattr(results, "_python", pretend)
    return called


def finished(place: Place, run: experiments.Experiment, *, pretrained: str = "auto", scored: bool = False) -> Path:
    """What a training leaves in its folder, and its record where it was scored."""
    folder = place.output_dir / run.name
    folder.mkdir(parents=True)
    for name in ("last_state.pt", "curves.png"):
        (folder / name).write_text(run.name)
    written = (
        f"data: /far/away/{run.data}\npretrained: {pretrained}\nepochs: 20\nimgsz: 400\naug: light\noutput_dir: /far\n"
    )
    (folder / "settings.yaml").write_text(written, encoding="utf-8")
    rows = [{"epoch": 1, "seconds": 2.5}, {"epoch": 2, "seconds": 3}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for split in records.SPLITS if scored else ():
        (folder / split).mkdir()
        (folder / split / "metrics.json").write_text(json.dumps(scores(0.5)), encoding="utf-8")
    return folder


def kept(place: Place, run: experiments.Experiment, **of_run: str) -> Path:
    """A run that is finished and has its record, of which the path is returned."""
    folder = finished(place, run, scored=True, **of_run)
    path = records.path_of(place.records, run.name)
    keep(records.of_run(folder, place.machine), path)
    return path


def scores(ap: float, **of_class: float) -> dict:
    """As evaluate.py --intervals writes them."""
    figures = {"AP": ap, "AP50": ap + 0.2}
    ends = {name: (value - 0.1, value + 0.05) for name, value in figures.items()}
    both = {"bbox": figures, "segm": figures}
    named = {name: {"bbox": {"AP": value, "AP50": None}} for name, value in of_class.items()}
    own = {name: {"bbox": {"AP": (value, value + 0.1), "AP50": None}} for name, value in of_class.items()}
    return {
        **both,
        "classes": named,
        "intervals": {"bbox": ends, "segm": ends, "classes": own},
        "speed": {"seconds_per_image": 0.5},
    }


def result(val: float, test: float, epochs: int = 20, **of_class: float) -> Record:
    return Record(
        {"val": scores(val), "test": scores(test, **of_class)}, epochs, 60.0, {"pretrained": "m.pth"}, "a machine"
    )


@pytest.mark.parametrize("data", PARTS)
def test_every_two_parts_are_told_apart_whatever_pairs_of_them_do(data):
    of_parts, free = experiments.masks(data)
    masks = [*of_parts.values(), *free]
    columns = {mask: [experiments.is_on(mask, run) for run in range(PART_RUNS)] for mask in masks}
    assert len(columns) == PART_RUNS - 1 and all(sum(column) == PART_RUNS / 2 for column in columns.values())
    for a, b in combinations(columns.values(), 2):
        assert sum(x and y for x, y in zip(a, b, strict=True)) == PART_RUNS / 4
    pairs = {a ^ b for a, b in combinations(of_parts.values(), 2)}  # what two do together, a column of its own
    assert pairs <= set(free) and tuple(of_parts) == PARTS[data]


def test_the_flags_of_every_run_are_ones_that_train_takes(monkeypatch, place):
    for data in PARTS:
        finished(place, of_recipe(data, RECIPE)[0])
    monkeypatch.setattr(results, "known_speedup", lambda *_: 4.0)
    every = experiments.every()
    assert len({run.name for run in every}) == len(every)
    for run in every:
        monkeypatch.setattr("sys.argv", ["train.py", *train_flags(run, place)])
        settings, _ = parse(TrainSettings, "")
        assert settings.seed == run.seed and settings.name == run.name
        assert settings.epochs == (2 if run.pace == "theirs" else {1.0: None, 0.5: 10, 1 / 3: 7}[run.length])
        assert settings.augmentation  # which names that do not exist would raise in


@pytest.mark.parametrize("part", sorted({part for parts in PARTS.values() for part in parts}, key=lambda p: p.title))
def test_what_the_page_calls_a_default_is_one(monkeypatch, part):
    monkeypatch.setattr("sys.argv", ["train.py"])
    usual, _ = parse(TrainSettings, "")
    monkeypatch.setattr("sys.argv", ["train.py", *part.on])
    with_it, given = parse(TrainSettings, "")
    [name] = given
    if name == "freeze":  # which is fitted to the data
        assert part.default and usual.freeze is None
    else:
        same = (with_it.augmentation, with_it.ema) == (usual.augmentation, usual.ema)
        assert same == part.default


def test_runs_are_chosen_by_name_or_by_what_they_share():
    assert [run.name for run in chosen(["balloon_plain", "bccd_recipe_1"])] == [
        *(f"balloon_plain_{seed}" for seed in experiments.SEEDS),
        "bccd_recipe_1",
    ]
    assert chosen(None) == experiments.every()
    with pytest.raises(UsageError, match=r"unknown run 'ballon_plain_0'.*balloon_plain_0"):
        chosen(["ballon_plain_0"])


def test_data_is_where_the_user_says_or_else_where_it_is_downloaded(place, tmp_path):
    assert place.flags_of(BALLOON) == ["--data", "balloon", "--data-root", str(tmp_path / "data" / "balloon")]
    assert place.flags_of(BCCD) == ["--data", str(tmp_path / "data" / "bccd")]
    usual = Place(None, tmp_path, tmp_path, "auto", "cpu", "a machine")
    assert usual.flags_of(BALLOON) == ["--data", "balloon"]
    assert usual.flags_of(BCCD) == ["--data", str(datasets_folder() / "bccd")]
    for data in PARTS:
        with pytest.raises(
            DataError, match=rf"{data}.*--data-root is the folder in which .*{data} is to be had at https"
        ):
            place.prepare(data)  # before hours of work


def test_a_run_is_made_once_and_then_scored_on_both_splits(place, programs):
    make(FIRST, place)
    [trained, *scored] = programs
    assert trained[:3] == ["train.py", "--data", str(place.data_root / BCCD)]
    model = str(place.output_dir / FIRST.name / "best.safetensors")
    for line, split in zip(scored, ("val", "test"), strict=True):
        assert line[:3] == ["evaluate.py", "--model", model] and "--intervals" in line
        assert line[line.index("--split") + 1] == line[line.index("--name") + 1] == split
    done = read(FIRST, place)
    assert (done.epochs, done.seconds, done.machine) == (2, 5.5, "a machine")
    assert done.metrics["test"]["bbox"]["AP"] == 0.5
    same = {"pretrained": "auto", "epochs": 20, "imgsz": 400, "aug": "light", "preset": done.settings["preset"]}
    assert done.settings == {"data": "bccd", **same}, "no places of a machine"
    assert done.settings["preset"]["jitter"] == [0.8, 1.25]
    programs.clear()
    make(FIRST, place)
    shutil.rmtree(place.output_dir)
    make(FIRST, place)  # the record is enough, as in a copy of the project
    assert not programs and read(FIRST, place) == done


def test_a_run_that_was_stopped_goes_on_and_one_that_kept_nothing_begins_anew(place, programs):
    folder = finished(place, FIRST, scored=True)
    (folder / "curves.png").unlink()
    with pytest.raises(FileExistsError):  # the stand-in makes the folder, which is still there
        make(FIRST, place)
    assert programs == [["train.py", "--resume", str(folder)]]
    programs.clear()
    (folder / "last_state.pt").unlink()
    make(FIRST, place)
    assert [line[0] for line in programs] == ["train.py", "evaluate.py", "evaluate.py"]
    assert "--resume" not in programs[0] and sorted(p.name for p in folder.glob("t*")) == ["test"]


def test_a_score_that_was_not_finished_is_found_anew(place, programs):
    folder = finished(place, FIRST, scored=True)
    (folder / "test" / "metrics.json").unlink()
    (folder / "test" / "left").touch()
    assert read(FIRST, place) is None
    make(FIRST, place)
    assert [line[0] for line in programs] == ["evaluate.py"] and read(FIRST, place)
    assert not (folder / "test" / "left").exists()


def test_runs_from_other_weights_do_not_come_to_stand_beside_these(place, programs):
    _, second, *_ = of_recipe(BCCD, RECIPE)
    kept(place, FIRST, pretrained="some/mine.pth")
    with pytest.raises(UsageError, match=r"bccd_recipe_0\.json is of a run with --pretrained mine\.pth"):
        make(second, place)
    check_weights(second, replace(place, pretrained="other/mine.pth"))  # wherever the file lies
    check_weights(of_models()[1], place)  # which has weights of its own
    finished(place, second)
    with pytest.raises(UsageError, match=r"bccd_recipe_1 was trained with --pretrained auto; take that, or delete it"):
        make(second, replace(place, pretrained="other/mine.pth"))
    assert not programs


@pytest.mark.parametrize("damaged", ["{", "[]", '{"metrics": {}}', '{"epochs": 3}'])
def test_a_record_that_is_none_is_named(place, damaged):
    path = kept(place, FIRST)
    path.write_text(damaged)
    with pytest.raises(DataError, match=r"bccd_recipe_0\.json is no record of a run; delete it"):
        read(FIRST, place)


def test_the_length_of_the_brief_run_needs_the_recipe_first(place):
    [run, *_] = of_recipe(BALLOON, BRIEF)
    with pytest.raises(UsageError, match="first --runs balloon_recipe_0"):
        train_flags(run, place)
    kept(place, of_recipe(BALLOON, RECIPE)[0])
    shutil.rmtree(place.output_dir)
    keep_speed(place, BALLOON)
    assert train_flags(run, place)[-6:-4] == ["--epochs", "2"]  # 20 / 3 / 3


def keep_speed(place: Place, data: str) -> None:
    """What ``benchmark.py train`` measured: 3, 2 and 10 times in three rounds."""
    rounds = {USUAL: [(30, 10), (60, 10), (20, 10)], REFERENCE: [(10, 10), (30, 10), (2, 10)]}
    runs = {way: [{"images": n, "seconds": s} for n, s in some] for way, some in rounds.items()}
    records.path_of(place.records, f"speed_{data}").write_text(json.dumps({"runs": {"mobilenet_v2": runs}}))


def test_the_speedup_is_taken_within_each_round_and_measured_once(monkeypatch, place):
    kept(place, of_recipe(BALLOON, RECIPE)[0])
    assert known_speedup(BALLOON, place) is None
    asked = []

    def pretend(program: str, *flags: str) -> None:
        asked.append((program, *flags))
        keep_speed(place, BALLOON)

    monkeypatch.setattr(results, "_python", pretend)
    assert speedup(BALLOON, place) == speedup(BALLOON, place) == known_speedup(BALLOON, place) == 3
    assert len(asked) == 1 and "320" in asked[0]


def test_a_program_that_fails_is_told(capfd):
    with pytest.raises(UsageError, match=r"doctor\.py ended with status 2"):
        results._python("doctor.py", "check", "nowhere")
    assert capfd.readouterr().err.startswith("error: ")


def test_a_stop_waits_for_the_program_to_end(tmp_path):
    """As a user stops it who has started it in the background: the program alone hears of it, not those it started."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import signal, sys, time\nfrom pathlib import Path\n"
        "def end(*_):\n    time.sleep(1)\n    Path(sys.argv[1]).write_text('kept')\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\nPath(sys.argv[1]).write_text('begun')\ntime.sleep(60)\n"
    )
    kept = tmp_path / "kept"
    start = (
        "import sys; from pathlib import Path\n"
        "from detect.benchmark import results; from detect.errors import exit_status\n"
        f"results._ROOT = Path({str(tmp_path)!r})\n"
        f"sys.exit(exit_status(lambda: results._python('slow.py', {str(kept)!r})))"
    )
    process = subprocess.Popen([sys.executable, "-c", start], cwd=Path(benchmark.__file__).parent)
    while not (kept.exists() and kept.read_text() == "begun"):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143 and kept.read_text() == "kept"


def test_the_command_writes_the_page_and_the_curves_of_what_is_finished(monkeypatch, place, tmp_path, capsys):
    kept(place, FIRST)
    monkeypatch.setattr(benchmark, "RESULTS", place.output_dir)
    monkeypatch.setattr(Place, "prepare", lambda *_: None)
    monkeypatch.setattr(results, "_python", lambda *_: (_ for _ in ()).throw(UsageError("train.py ended")))
    target = tmp_path / "docs" / "results.md"
    target.parent.mkdir()
    target.write_text("\n".join(markdown.markers(part_of("results"))), encoding="utf-8")
    line = ["benchmark.py", "results", "--write", str(target), "--runs", "bccd_recipe", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [*line, "--data-root", str(place.data_root), "--records", str(place.records)])
    assert exit_status(benchmark.main) == 2  # the second seed fails
    assert "train.py ended" in capsys.readouterr().err
    text = target.read_text(encoding="utf-8")
    assert "| train.py as it is | 1 | 2 | 50.0 |" in text and str(place.data_root) not in text
    assert (target.parent / "images" / "curves_bccd_recipe_0.png").read_text() == FIRST.name
    monkeypatch.setattr(sys, "argv", [*line, "--rounds", "3"])
    assert exit_status(benchmark.main) == 2
    assert "--rounds is for inference, train, data, decoding, serve, not for results" in capsys.readouterr().err


def test_the_page_of_what_is_not_finished_says_so():
    text = page({}, NO_SPEEDUP, "python benchmark.py results")
    assert text.count("not measured") > 10 and "±" not in text and "times as many" not in text and "![" not in text


def test_models_and_classes_have_their_intervals():
    done = {"balloon_recipe_0": result(0.6, 0.5), "bccd_recipe_0": result(0.4, 0.3, RBC=0.2, WBC=0.7)}
    assert "| `mobilenet_v2` | val | 60.0 [50.0, 65.0] | 80.0 [70.0, 85.0] |" in models(done)
    assert "| `resnet50` |  | not measured |" in models(done)
    assert "| RBC | 20.0 [20.0, 30.0] | - |" in classes(done)


def test_seeds_have_mean_and_spread():
    done = {run.name: result(ap, ap) for run, ap in zip(of_recipe(BCCD, PLAIN), (0.4, 0.5, 0.6), strict=True)}
    text = ways(done, BCCD, 2.5)
    assert (
        "| plain loop, a third of the steps, 320 px | 3 | 20 | 50.0 ± 10.0 | 70.0 ± 10.0 |" in text
        and "2.50 times" in text
    )
    assert machines(done) == "3 runs on a machine, from m.pth."


def test_an_effect_is_the_difference_of_the_means_of_two_halves():
    done = {}
    of_part, free = experiments.masks(BCCD)
    first, _, _, last = of_part.values()
    for number, run in enumerate(of_parts(BCCD)):
        value = 0.3 + 0.1 * experiments.is_on(first, number) - 0.02 * experiments.is_on(last, number)
        value += 0.03 * experiments.is_on(free[1], number)  # 3 / sqrt(3) = 1.7
        done[run.name] = result(value, value)
    text = effects(done, BCCD)
    titles = [part.title for part in PARTS[BCCD]]
    assert f"| {titles[0]} | +10.0 | +10.0 | on |" in text
    assert f"| {titles[1]} | +0.0 | +0.0 | off |" in text
    assert f"| {titles[3]} | -2.0 | -2.0 | off |" in text
    assert "| standard error of each | 1.7 | 1.7 |  |" in text
    done.popitem()
    assert effects(done, BCCD) == ""


def test_curves_of_the_first_runs_stand_beside_the_page(place, tmp_path):
    finished(place, FIRST)
    copy_curves([FIRST.name], place, tmp_path / "images")
    assert [path.name for path in (tmp_path / "images").iterdir()] == [f"curves_{FIRST.name}.png"]
