"""Full and read-only disks, and killed processes: former files stay, and one line reports the error."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folders import ROOT
from helpers.web_server import BODY

from detect.cli.exit_status import exit_status
from detect.errors import DetectError, DiskError, FetchError
from detect.inference.writers.annotated_images import write_annotated_image
from detect.inference.writers.base import Source
from detect.inference.writers.files import DetectionFiles
from detect.io import files
from detect.io.downloads import fetch
from detect.io.files import (
    append_line,
    remove_temporary_files,
    remove_temporary_files_below,
    write_bytes,
    write_text,
)
from detect.media.images import write_image
from detect.models import checkpoint
from detect.models.checkpoint import Checkpoint
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

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
def test_interrupted_write_leaves_the_former_file_and_nothing_else(tmp_path, name, size):
    path = tmp_path / name
    path.write_bytes(b"former")
    with largest_file(size), pytest.raises(DiskError) as error:
        WRITES[name](path, 20_000)
    assert said(error) == f"cannot write {path}: File too large"
    assert path.read_bytes() == b"former" and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("name", WRITES)
def test_full_disk_leaves_the_former_file_and_nothing_else(disk, name):
    path = disk / name
    WRITES[name](path, 200_000)
    former = path.read_bytes()
    with pytest.raises(DiskError) as error:
        WRITES[name](path, 400_000)
    assert said(error) == f"cannot write {path}: No space left on device"
    assert path.read_bytes() == former and [*disk.iterdir()] == [path]


@pytest.mark.parametrize("name", WRITES)
def test_read_only_disk_is_a_disk_error(disk, name):
    WRITES[name](disk / name, 1000)
    former = (disk / name).read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(DiskError) as error:
        WRITES[name](disk / name, 1000)
    assert said(error) == f"cannot write {disk / name}: Read-only file system"
    assert (disk / name).read_bytes() == former


@pytest.mark.parametrize("name", WRITES)
def test_missing_folder_is_a_disk_error(tmp_path, name):
    with pytest.raises(DiskError) as error:
        WRITES[name](tmp_path / "none" / name, 1000)
    assert said(error) == f"cannot write {tmp_path / 'none' / name}: No such file or directory"


def test_content_is_flushed_before_the_file_is_renamed(tmp_path, monkeypatch):
    """Or a power cut could leave an empty file under the name of the former one."""
    done: list[str] = []
    monkeypatch.setattr(files.os, "fsync", lambda number: done.append("sync"))
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: done.append("rename") or rename(self, target))
    write_bytes(tmp_path / "x", b"new")
    assert done[:2] == ["sync", "rename"]


def test_error_at_the_final_flush_is_a_disk_error(tmp_path, monkeypatch):
    """As disks on the network do."""
    write_bytes(tmp_path / "x", b"former")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DiskError, match="No space left on device"):
        write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"former" and len([*tmp_path.iterdir()]) == 1


def test_longest_file_names_can_be_written(tmp_path):
    for name in (f"{'x' * 251}.txt", f"{'ü' * 125}.txt"):
        write_text(tmp_path / name, "x")
    assert len([*tmp_path.iterdir()]) == 2


def test_line_is_appended_completely_or_not_at_all(tmp_path):
    path = tmp_path / "x.jsonl"
    append_line(path, "one")
    with largest_file(7), pytest.raises(DiskError, match=r"x\.jsonl: File too large"):
        append_line(path, "two and more")
    assert path.read_text() == "one\n"
    append_line(path, "three")
    assert path.read_text() == "one\nthree\n"


def test_only_temporary_files_of_dead_processes_are_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    running = os.getppid()
    kept = {f".best.{running}.safetensors", ".best.notes.safetensors", ".best.1.txt", "best.1.safetensors", ".best"}
    for name in {f".best.{ended.pid}.safetensors", f".best.{os.getpid()}.safetensors", *kept}:
        (tmp_path / name).touch()
    remove_temporary_files(tmp_path / "best.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_temporary_files_of_dead_processes_are_removed_from_a_folder(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "deep").mkdir()
    kept = {f".x.{os.getppid()}.png", ".detections.jsonl", ".detections_1.jsonl", "x.1.png", ".x.png", ".lock"}
    for name in {f".x.{ended.pid}.png", f".a.b.{ended.pid}.txt", f".x.{os.getpid()}", *kept}:
        (tmp_path / "deep" / name).touch()
    remove_temporary_files_below(tmp_path)
    assert {path.name for path in (tmp_path / "deep").iterdir()} == kept


def test_temporary_file_of_a_killed_process_is_recognized(tmp_path):
    code = (
        "import os, sys, signal; from pathlib import Path; from detect.io.files import atomic_replacement\n"
        "with atomic_replacement(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os._exit(9)"
    )
    path = tmp_path / f"{'x' * 100}.txt"
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert len([*tmp_path.iterdir()]) == 1
    remove_temporary_files(path)
    assert not [*tmp_path.iterdir()]


# Results


def test_json_lines_end_with_a_complete_line(tmp_path):
    path = tmp_path / "x.jsonl"
    with pytest.raises(DiskError) as error, DetectionFiles(tmp_path, NAMES, ["json"], "x") as files:
        files.write(Source("x.mp4", NOISE, 0, 0.0), FOUND)
        with largest_file(path.stat().st_size + 20):
            files.write(Source("x.mp4", NOISE, 1, 0.1), FOUND)
    assert said(error) == f"cannot write {path}: File too large"
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["frame"] == 0 and path.read_text().endswith("\n")


def test_detections_that_cannot_be_written_are_an_error_with_the_file(tmp_path):
    with largest_file(10), pytest.raises(DetectError) as error, DetectionFiles(tmp_path, NAMES, ["json"]) as files:
        files.write(Source("x.png", NOISE[:40, :60]), FOUND)
    assert f"cannot write {tmp_path}" in said(error) and "File too large" in said(error)
    assert not [*tmp_path.iterdir()]


def test_annotated_image_that_cannot_be_written_is_an_error_with_the_file(tmp_path):
    with largest_file(10), pytest.raises(DetectError) as error:
        write_annotated_image(tmp_path, "x", "x.png", NOISE[:40, :60], FOUND, NAMES)
    assert f"cannot write {tmp_path}" in said(error) and "File too large" in said(error)
    assert not [*tmp_path.iterdir()]


def test_image_name_need_not_be_utf8(tmp_path):
    with DetectionFiles(tmp_path, NAMES, ["json"]) as files:
        files.write(Source("in/\udcff.jpg", NOISE), FOUND)
    assert json.loads((tmp_path / "detections.json").read_text())["images"][0]["source"] == "in/\udcff.jpg"


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_image_on_a_full_disk_is_a_disk_error(disk, suffix):
    fill(disk, left=40_000)
    with pytest.raises(DetectError) as error:
        write_image(disk / f"x{suffix}", NOISE)
    assert said(error) == f"cannot write {disk / f'x{suffix}'}: No space left on device"
    assert [path.name for path in disk.iterdir()] == ["other"]


def test_library_that_fills_the_disk_is_a_user_error(capsys):
    def main() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")

    assert exit_status(main) == 2
    assert capsys.readouterr().err == "error: cannot write /tmp/x: No space left on device\n"
    with pytest.raises(PermissionError):
        exit_status(lambda: (_ for _ in ()).throw(PermissionError(errno.EACCES, "Permission denied")))


# Downloads


def test_download_continues_after_a_full_disk(disk, server):
    server.body = BODY * 3
    other = fill(disk, left=300_000)
    with pytest.raises(FetchError) as error:
        fetch(server.url("model.bin"), disk)
    assert said(error).endswith(
        "No space left on device; the next try continues this download; "
        f"the folder {disk} must be writable and have free space"
    )
    kept = (disk / "model.bin.partial").stat().st_size
    other.unlink()
    path = fetch(server.url("model.bin"), disk, sha256=hashlib.sha256(server.body).hexdigest())
    assert server.ranges == [None, f"bytes={kept}-"]
    assert {*disk.iterdir()} == {path, disk / "model.bin.lock"}


def test_download_to_a_read_only_disk_is_an_error(disk, server, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(disk))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(FetchError, match=r"Read-only file system.*\(TORCH_HOME=DIR selects another\) must be"):
        fetch(server.url("model.bin"))
    assert not server.ranges


def test_download_keeps_received_bytes_after_a_disk_error(tmp_path, server):
    with (
        largest_file(200_000),
        pytest.raises(FetchError, match="File too large; the next try continues this download"),
    ):
        fetch(server.url("model.bin"), tmp_path)
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges == [None, "bytes=200000-"]
