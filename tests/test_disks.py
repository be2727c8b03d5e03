"""Disks that are full or read-only, and processes killed while they write: what was good stays, and one line tells."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import render_shapes
from tiny_run import SCORES, resume, tiny_run, train
from web_server import BODY, Server

import train as train_script
from detect import checkpoint, downloads, engine, files, runtime
from detect.checkpoint import Checkpoint
from detect.downloads import fetch
from detect.errors import DetectError, DiskError, FetchError, exit_status
from detect.files import append_line, remove_leftovers, write_bytes, write_text
from detect.media.images import write_image
from detect.run import BEST, FILES, LAST, LOG, STATE, TrainingRun
from detect.runlog import MetricsLog
from detect.types import ClassNames, Detections
from detect.writers import ImageWriter, JsonLinesWriter, JsonWriter

ROOT = Path(__file__).parent.parent
NAMES = ClassNames(("kite",))
FOUND = Detections((40, 60), np.array([[1, 2, 30, 20]], np.float32), np.ones(1, np.float32), np.ones(1, np.int64))
NOISE = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)


def state(numbers: int) -> dict[str, torch.Tensor]:
    return {f"{i}.weight": torch.rand(numbers // 4) for i in range(4)}


def save(path: Path, numbers: int) -> None:
    checkpoint.save(Checkpoint(state(numbers), {}, NAMES), path)


def save_state(path: Path, numbers: int) -> None:
    checkpoint.save_training_state({"epoch": 1, "model": state(numbers)}, path)


WRITES: dict[str, Callable[[Path, int], None]] = {
    "x.safetensors": save,
    "x.pt": save_state,
    "x.json": lambda path, numbers: write_text(path, "x" * 4 * numbers),
}  # fmt: skip


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing fails behind the first ``size`` bytes of any file, with a reason of its own but as on a full disk."""
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A real disk of two megabytes."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root of a Linux may mount a disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, left: int = 0) -> Path:
    """Take all of the disk's room but for ``left`` bytes; the file that has it."""
    path = disk / "other"
    with path.open("wb") as file:
        while True:
            try:
                os.write(file.fileno(), bytes(4096))
            except OSError:
                break
        file.truncate(max(0, file.tell() - left))
    return path


def said(error: pytest.ExceptionInfo[BaseException]) -> str:
    """The message, which is one line."""
    assert isinstance(error.value, DetectError) and "\n" not in str(error.value)
    return str(error.value)


# Files


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("size", [0, 100, 50_000, 79_900])
def test_a_write_that_breaks_off_anywhere_leaves_the_former_file_and_nothing_else(tmp_path, name, size):
    path = tmp_path / name
    path.write_bytes(b"former")
    with largest_file(size), pytest.raises(DiskError) as error:
        WRITES[name](path, 20_000)
    assert said(error) == f"cannot write {path}: File too large"
    assert path.read_bytes() == b"former" and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("name", WRITES)
def test_a_full_disk_leaves_the_former_file_and_nothing_else(disk, name):
    path = disk / name
    WRITES[name](path, 200_000)
    former = path.read_bytes()
    with pytest.raises(DiskError) as error:
        WRITES[name](path, 400_000)
    assert said(error) == f"cannot write {path}: No space left on device"
    assert path.read_bytes() == former and [*disk.iterdir()] == [path]


@pytest.mark.parametrize("name", WRITES)
def test_a_read_only_disk_is_told(disk, name):
    WRITES[name](disk / name, 1000)
    former = (disk / name).read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(DiskError) as error:
        WRITES[name](disk / name, 1000)
    assert said(error) == f"cannot write {disk / name}: Read-only file system"
    assert (disk / name).read_bytes() == former


@pytest.mark.parametrize("name", WRITES)
def test_a_folder_that_is_not_there_is_told(tmp_path, name):
    with pytest.raises(DiskError) as error:
        WRITES[name](tmp_path / "none" / name, 1000)
    assert said(error) == f"cannot write {tmp_path / 'none' / name}: No such file or directory"


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """Or a power cut could leave an empty file under the name of the former one."""
    done: list[str] = []
    monkeypatch.setattr(files.os, "fsync", lambda number: done.append("sync"))
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: done.append("rename") or rename(self, target))
    write_bytes(tmp_path / "x", b"new")
    assert done[:2] == ["sync", "rename"]


def test_a_disk_that_tells_only_at_the_end_that_it_is_full_is_heard(tmp_path, monkeypatch):
    """As disks on the network do."""
    write_bytes(tmp_path / "x", b"former")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DiskError, match="No space left on device"):
        write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"former" and len([*tmp_path.iterdir()]) == 1


def test_the_longest_names_can_be_written(tmp_path):
    for name in (f"{'x' * 251}.txt", f"{'ü' * 125}.txt"):
        write_text(tmp_path / name, "x")
    assert len([*tmp_path.iterdir()]) == 2


def test_a_line_is_appended_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.jsonl"
    append_line(path, "one")
    with largest_file(7), pytest.raises(DiskError, match=r"x\.jsonl: File too large"):
        append_line(path, "two and more")
    assert path.read_text() == "one\n"
    append_line(path, "three")
    assert path.read_text() == "one\nthree\n"


def test_leftovers_of_killed_processes_are_removed_and_no_others(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    running = os.getppid()
    kept = {f".best.{running}.safetensors", ".best.notes.safetensors", ".best.1.txt", "best.1.safetensors", ".best"}
    for name in {f".best.{ended.pid}.safetensors", f".best.{os.getpid()}.safetensors", *kept}:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "best.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_what_a_killed_process_leaves_is_known_as_such(tmp_path):
    code = (
        "import os, sys, signal; from pathlib import Path; from detect.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os._exit(9)"
    )
    path = tmp_path / f"{'x' * 100}.txt"
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert len([*tmp_path.iterdir()]) == 1
    remove_leftovers(path)
    assert not [*tmp_path.iterdir()]


# Results


def test_json_lines_end_with_a_whole_line(tmp_path):
    path = tmp_path / "x.jsonl"
    with pytest.raises(DiskError) as error, JsonLinesWriter(path, NAMES) as writer:
        writer.write(0, 0.0, FOUND)
        with largest_file(path.stat().st_size + 20):
            writer.write(1, 0.1, FOUND)
    assert said(error) == f"cannot write {path}: File too large"
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["frame"] == 0 and path.read_text().endswith("\n")


@pytest.mark.parametrize("writer", [JsonWriter, ImageWriter])
def test_results_that_cannot_be_written_are_told(tmp_path, writer):
    with largest_file(10), pytest.raises(DetectError) as error, writer(tmp_path, NAMES) as opened:
        opened.write(Path("x.png"), NOISE[:40, :60], FOUND)
    assert f"cannot write {tmp_path}" in said(error) and "File too large" in said(error)
    assert not [*tmp_path.iterdir()]


def test_the_name_of_a_picture_may_be_no_text(tmp_path):
    with JsonWriter(tmp_path, NAMES) as writer:
        writer.write(Path("in/\udcff.jpg"), NOISE, FOUND)
    assert json.loads((tmp_path / "detections.json").read_text())[0]["source"] == "in/\udcff.jpg"


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_on_a_full_disk_is_told(disk, suffix):
    fill(disk, left=40_000)
    with pytest.raises(DetectError) as error:
        write_image(disk / f"x{suffix}", NOISE)
    assert said(error) == f"cannot write {disk / f'x{suffix}'}: No space left on device"
    assert [path.name for path in disk.iterdir()] == ["other"]


def test_a_write_of_a_library_on_a_full_disk_is_no_bug(capsys):
    def main() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")

    assert exit_status(main) == 2
    assert capsys.readouterr().err == "error: cannot write /tmp/x: No space left on device\n"
    with pytest.raises(PermissionError):
        exit_status(lambda: (_ for _ in ()).throw(PermissionError(errno.EACCES, "Permission denied")))


# Downloads


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server().running() as server:
        yield server


def test_a_download_that_fills_the_disk_goes_on_when_there_is_room(disk, server):
    server.body = BODY * 3
    other = fill(disk, left=300_000)
    with pytest.raises(FetchError) as error:
        fetch(server.url("model.bin"), disk)
    assert said(error).endswith(
        "No space left on device; what came so far is kept for the next try; "
        f"the folder {disk} must have room and let you write"
    )
    kept = (disk / "model.bin.partial").stat().st_size
    other.unlink()
    path = fetch(server.url("model.bin"), disk, sha256=hashlib.sha256(server.body).hexdigest())
    assert server.ranges == [None, f"bytes={kept}-"] and [*disk.iterdir()] == [path]


def test_a_download_to_a_read_only_disk_is_told(disk, server, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(disk))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(FetchError, match=r"Read-only file system.*\(TORCH_HOME=DIR names another\) must have room"):
        fetch(server.url("model.bin"))
    assert not server.ranges


def test_a_download_that_breaks_off_for_the_disk_keeps_what_came(tmp_path, server, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.0)
    with largest_file(200_000), pytest.raises(FetchError, match="File too large; what came so far is kept"):
        fetch(server.url("model.bin"), tmp_path)
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges == [None, "bytes=200000-"]


# Training


def rows(folder: Path) -> list[dict]:
    lines = (folder / LOG).read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def assert_as_whole(folder: Path, whole: Path) -> None:
    """The same files to the last bit, but for the seconds."""
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()} == set(FILES[:-1])
    for name in (BEST, LAST, STATE):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert rows(folder) == rows(whole)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills copies of a process")
def test_a_run_killed_at_any_touch_of_the_disk_ends_as_if_it_had_not_been(tmp_path):
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "tiny_run.py"), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert not done.stderr
    resumed_after = [int(line) for line in done.stdout.split()]
    assert resumed_after == sorted(resumed_after) and set(resumed_after) == {0, 1, 2, 3}
    assert len(resumed_after) > 20
    for touch in range(1, len(resumed_after) + 1):
        assert_as_whole(tmp_path / str(touch), tmp_path / "whole")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    train(tiny_run(folder))
    return folder


@pytest.mark.parametrize(
    ("name", "epoch"), [(LAST, 2), (LAST, 3), (STATE, 2), (STATE, 3), (LOG, 2), (LOG, 3), (BEST, 2)]
)
def test_an_epoch_that_cannot_be_written_down_is_had_again(tmp_path, whole, monkeypatch, name, epoch):
    times = 0

    def full(path: Path, *_: object) -> None:
        nonlocal times
        times += path.name == name
        if times == epoch:
            raise DiskError(f"cannot write {path}: No space left on device")

    with monkeypatch.context() as patch:
        for module, function in ((checkpoint, "save"), (checkpoint, "save_training_state"), (MetricsLog, "write")):
            former = getattr(module, function)
            patch.setattr(module, function, lambda *a, former=former: (full(where(a)), former(*a)))
        with pytest.raises(DiskError):
            train(run := tiny_run(tmp_path))
    finished = epoch if name == BEST else epoch - 1
    assert run.epoch == TrainingRun.saved_state(tmp_path)["epoch"] == finished
    assert checkpoint.load(tmp_path / BEST).training["epoch"] == min(epoch - 1, 2)
    assert resume(tmp_path) == finished
    assert_as_whole(tmp_path, whole)


def where(arguments: tuple) -> Path:
    """The file that a call writes."""
    return arguments[0].path if isinstance(arguments[0], MetricsLog) else arguments[1]


def test_a_state_from_before_best_epochs_were_noted_is_taken(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    old = TrainingRun.saved_state(tmp_path)
    del old["best_epoch"]
    checkpoint.save_training_state(old, tmp_path / STATE)
    assert resume(tmp_path) == len(SCORES)


def test_weights_that_were_deleted_are_no_reason_not_to_go_on(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    checkpoint.save_training_state(TrainingRun.saved_state(tmp_path) | {"best_epoch": len(SCORES)}, tmp_path / STATE)
    (tmp_path / BEST).unlink()
    (tmp_path / LAST).unlink()
    assert resume(tmp_path) == len(SCORES)


@pytest.fixture
def script(monkeypatch, tmp_path) -> Callable[..., int]:
    """train.py in this process on a few pictures, with epochs that cost nothing; its exit status."""
    data = render_shapes(tmp_path, {"train": 2, "val": 2})
    monkeypatch.setattr(runtime.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(engine, "train_one_epoch", lambda *_, **__: {"loss": 1.0})
    monkeypatch.setattr(engine, "evaluate", lambda *_, **__: {"bbox": {"AP": 0.5, "AP50": 0.5}})
    fresh = ["--data", data, "--pretrained", "none", "--head", "fasterrcnn", "--name", "x y", "--output-dir", tmp_path]
    few = ["--fpn-channels", 8, "--imgsz", 64, "--epochs", 3]

    def call(*flags: object) -> int:
        line = ["train.py", *(flags or (*fresh, *few)), "--workers", 0, "--device", "cpu", "--quiet"]
        monkeypatch.setattr(sys, "argv", list(map(str, line)))
        return exit_status(train_script.main)

    return call


@pytest.mark.parametrize("failing", [1, 2])
def test_training_on_a_full_disk_says_how_to_go_on(script, tmp_path, monkeypatch, capsys, failing):
    state_of, left = torch.save, iter(range(failing - 1))

    def full(values, file) -> None:
        state_of(values, file)
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        assert script() == 2
    folder = tmp_path / "x y"
    how = f"go on with: python train.py --resume '{folder}'" if failing > 1 else "there is nothing to go on with"
    assert capsys.readouterr().err == (
        f"error: cannot write {folder / STATE}: No space left on device; "
        f"stopped after {failing - 1} finished epochs; {how}\n"
    )
    assert not [path for path in folder.iterdir() if path.name[0] == "."]
    assert script("--resume", folder) == (0 if failing > 1 else 2)
    if failing > 1:
        assert [row["epoch"] for row in rows(folder)] == [1, 2, 3]


def test_ctrl_c_while_the_first_epoch_is_written_promises_nothing(script, monkeypatch, capsys):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_training_state", stop)
    assert script() == 130
    assert capsys.readouterr().err == "stopped after 0 finished epochs; there is nothing to go on with\n"


KILL = """
import os, runpy, signal, sys
name, times = sys.argv[1], int(sys.argv[2])
sys.argv[:] = sys.argv[3:]
left = iter(range(times - 1))
def watch(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(name) and next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_real_script_killed_while_it_writes_goes_on_to_the_same_weights(tmp_path):
    data = render_shapes(tmp_path, {"train": 4, "val": 2})
    flags = ["train.py", "--data", data, "--pretrained", "none", "--head", "fasterrcnn", "--epochs", 3, "--imgsz", 64]
    flags += ["--lr", 0.001, "--workers", 0, "--device", "cpu", "--quiet", "--output-dir", tmp_path, "--ema", 0.9]

    def call(*command: object) -> int:
        return subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=False).returncode

    assert call(*flags, "--name", "whole") == 0
    for name, times in ((LAST, 2), (STATE, 2), (BEST, 1)):
        folder = tmp_path / f"killed_{name}"
        assert call("-c", KILL, name, times, *flags, "--name", folder.name) == -9
        assert call("train.py", "--resume", folder, "--device", "cpu", "--quiet") == 0
        assert {path.name for path in folder.iterdir()} == set(FILES)
        for file in (BEST, LAST):
            ours, theirs = (checkpoint.load(run / file) for run in (folder, tmp_path / "whole"))
            assert all(torch.equal(ours.state[k], theirs.state[k]) for k in theirs.state)
            assert ours.training["epoch"] == theirs.training["epoch"] and ours.metrics == theirs.metrics
        assert rows(folder) == rows(tmp_path / "whole")
