"""detect_image.py in several processes, and killed while it runs: the output is that of a single run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.fake_predictor import files
from helpers.folders import ROOT
from helpers.tiny_models import make_image
from helpers.torchrun import torchrun

from detect.inference.finished_images import RECORD
from detect.media.images import write_image

FLAGS = ("--model", "balloon", "--imgsz", 64, "--threshold", 0.02, "--device", "cpu")
OUTPUTS = ("--save-json", "--save-csv", "--save-coco", "--save-crops", "--save-labels", "coco")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twenty images, of which two are broken."""
    (tmp_path / "in").mkdir()
    for number in range(20):
        write_image(tmp_path / "in" / f"{number:02}.jpg", make_image((60 + number, 80), number))
    for number in (4, 11):
        (tmp_path / "in" / f"{number:02}.jpg").write_bytes(b"junk")
    return tmp_path


def command(folder: Path, name: str, *more: object, source: str = "in") -> list[str]:
    words = ["detect_image.py", "--input", folder / source, *FLAGS, "--output-dir", folder, "--name", name, *more]
    return list(map(str, words))


def run(folder: Path, name: str, *more: object, source: str = "in") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *command(folder, name, *more, source=source)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


@pytest.mark.slow
def test_two_processes_write_what_one_process_writes(folder):
    one = run(folder, "one", *OUTPUTS)
    two = torchrun(*command(folder, "two", *OUTPUTS))
    assert one.returncode == 2 and two.returncode != 0  # two images cannot be read
    for done in (one, two):
        (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert error == "error: 2 of 20 images could not be read:"
        assert "04.jpg is not an image" in done.stderr and "11.jpg is not an image" in done.stderr
        model, summary = done.stdout.splitlines()
        assert model.startswith("model: ") and summary.startswith("18 images, ")
    assert one.stdout.splitlines()[-1].split(", ")[1] == two.stdout.splitlines()[-1].split(", ")[1]  # objects
    assert contents(folder / "one") == contents(folder / "two") and len(contents(folder / "one")) > 40
    assert [path.name for path in (folder / "two").glob(".*")] == [RECORD]


@pytest.mark.slow
def test_error_before_the_first_image_is_printed_by_one_process(folder):
    done = torchrun(*command(folder, "two", "--classes", "baloon"))
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "unknown class 'baloon': did you mean balloon" in error
    assert not (folder / "two").exists()


@pytest.mark.slow
def test_after_a_disk_error_of_one_process_the_images_of_all_are_kept(folder):
    limit = ("--max-detections", 2)
    run(folder, "expected", *OUTPUTS, *limit)
    run(folder, "two", *limit, source="in/05.jpg")
    copy = folder / "two" / "05.jpg"
    copy.unlink()
    copy.mkdir()  # the second process cannot write this file
    done = torchrun(*command(folder, "two", *OUTPUTS, *limit, "--skip-existing"))
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    rows = json.loads((folder / "two" / "detections.json").read_text())["images"]
    assert str(copy) in error and f"; {len(rows)} of 20 images are finished and kept" in error
    assert len(rows) >= 9 + 1  # all images of the first process, and that of the run before
    (warning,) = [line for line in done.stderr.splitlines() if "reached the limit" in line]
    assert int(warning.split()[3]) > 9  # of both processes
    copy.rmdir()
    torchrun(*command(folder, "two", *OUTPUTS, *limit, "--skip-existing"))
    assert contents(folder / "two") == contents(folder / "expected")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_run_is_completed_by_two_processes(folder):
    run(folder, "expected", *OUTPUTS)
    words = [sys.executable, *command(folder, "killed", *OUTPUTS)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        record, end = folder / "killed" / RECORD, time.monotonic() + 300
        while time.monotonic() < end and not (record.exists() and record.read_bytes().count(b"\n") > 4):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    count = record.read_bytes().count(b"\n") - 1
    assert count >= 4 and not (folder / "killed" / "detections.json").exists()
    done = torchrun(*command(folder, "killed", *OUTPUTS, "--skip-existing"))
    assert f"{count} images finished before" in done.stdout, done.stderr
    assert contents(folder / "killed") == contents(folder / "expected")
