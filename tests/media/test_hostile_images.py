"""A folder of unusual and hostile images: each is read correctly or refused in one line, alone and in a run."""

from __future__ import annotations

import json
import os
import random
import re
import stat
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.folders import ROOT
from helpers.hostile_images import lay_out, odd_images
from helpers.tiny_models import as_checkpoint, random_model
from helpers.unusual_images import LOSSY, Odd, scene

from detect.errors import MediaError
from detect.media.image_paths import find_images
from detect.media.images import image_hw, read_image
from detect.media.quiet import silence_codecs
from detect.media.scaled_decoding import read_resized
from detect.models import checkpoint

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")  # as detect.media.images itself does, outside of pytest

MAX_MIB = 1500  # of the whole run, PyTorch and the model included; the bombs would want 10 GiB and more
# In the folder too, and none of a run's business.
PASSED_OVER = {
    "notes.txt": b"x",
    "boxes.json": b"{}",
    "film.mp4": b"\0\0\0\x18ftypisom" + bytes(99),
    "LICENSE": b"Apache",
    "CARS": b"BMW, Audi and others, in words alone",
    ".hidden.jpg": b"x",
}


class Hostile:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        odds = odd_images(scene())
        self.readable = [odd for odd in odds if odd.image is not None]
        not_files = lay_out(folder, odds)
        self.refused = [odd for odd in odds if odd.image is None]
        self.refused += [Odd(name, b"", words=words) for name, words in not_files.items()]
        for name, content in PASSED_OVER.items():
            (folder / name).write_bytes(content)
        (folder / "folder.jpg").mkdir()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Hostile:
    return Hostile(tmp_path_factory.mktemp("hostile"))


def outcome(read, path: Path):
    """What ``read`` gives, or the message of its MediaError."""
    try:
        return read(path)
    except MediaError as error:
        return str(error)


def test_folder_holds_many_unusual_images(hostile):
    assert len(hostile.readable) >= 100 and len(hostile.refused) >= 50
    assert len({odd.name.lower() for odd in hostile.readable + hostile.refused}) >= 150


def test_every_supported_image_is_read_upright(hostile, capfd):
    wrong = {}
    for odd in hostile.readable:
        found = outcome(read_image, hostile.folder / odd.name)
        if isinstance(found, str) or found.shape != odd.image.shape:
            wrong[odd.name] = found if isinstance(found, str) else found.shape
        elif (apart := np.abs(found.astype(int) - odd.image).max()) > odd.within:
            wrong[odd.name] = f"{apart} away"
        elif found.dtype != np.uint8 or not (found.flags.c_contiguous and found.flags.writeable):
            wrong[odd.name] = found.flags
    assert not wrong
    assert capfd.readouterr() == ("", "")


def test_every_supported_image_is_read_correctly_at_reduced_size(hostile, capfd):
    wrong = {}
    for odd in hostile.readable:
        small = tuple(max(1, side // 4) for side in odd.image.shape[:2])
        found = outcome(lambda path, hw=small: read_resized(path, hw), hostile.folder / odd.name)
        expected = cv2.resize(odd.image, small[::-1], interpolation=cv2.INTER_AREA)
        if isinstance(found, str) or found[1] != odd.image.shape[:2] or found[0].shape != expected.shape:
            wrong[odd.name] = found
        elif (apart := np.abs(found[0].astype(int) - expected).mean()) > LOSSY:
            wrong[odd.name] = f"{apart} away"
    assert not wrong
    assert capfd.readouterr() == ("", "")


def test_header_gives_the_size_of_the_decoded_image(hostile):
    sizes = {odd.name: outcome(image_hw, hostile.folder / odd.name) for odd in hostile.readable}
    assert sizes == {odd.name: odd.image.shape[:2] for odd in hostile.readable}


def test_every_unsupported_file_is_refused_with_its_reason(hostile, capfd):
    silence_codecs()  # as programs do
    wrong = {}
    for odd in hostile.refused:
        found = outcome(read_image, hostile.folder / odd.name)
        if not isinstance(found, str) or odd.words not in found or odd.name not in found or "\n" in found:
            wrong[odd.name] = found
        elif (small := outcome(lambda path: read_resized(path, (9, 9)), hostile.folder / odd.name)) != found:
            wrong[odd.name] = small
        elif odd.in_header and (said := outcome(image_hw, hostile.folder / odd.name)) != found:
            wrong[odd.name] = said
    assert not wrong
    assert capfd.readouterr() == ("", ""), "Pillow and libtiff say nothing of their own"


def test_damaged_file_is_a_media_error_or_an_image_of_the_stated_size(hostile, tmp_path, capfd):
    silence_codecs()  # as programs do
    rng, path = random.Random(0), tmp_path / "x"
    for odd in hostile.readable:
        content = bytearray(odd.content)
        if len(content) > 100_000:
            continue
        for _ in range(3):
            at = rng.randrange(min(200, len(content)) if rng.random() < 0.7 else len(content))
            content[at] = rng.choice((0, 1, 127, 128, 255))
            path.write_bytes(content)
            found, size = outcome(read_image, path), outcome(image_hw, path)
            assert isinstance(found, str) or found.shape[:2] == size, odd.name
    assert capfd.readouterr() == ("", "")


def test_folder_lists_its_images_and_unsupported_image_files(hostile):
    expected = {odd.name for odd in hostile.readable + hostile.refused}
    assert {path.name for path in find_images(str(hostile.folder))} == expected
    assert {path.name for path in find_images(f"{hostile.folder}/*")} == expected


@pytest.fixture(scope="module")
def run(hostile, tmp_path_factory) -> tuple[Path, int, list[str], list[str], str]:
    """One run of the real script over the whole folder: output folder, status, stdout, stderr, /proc/self/status."""
    folder = tmp_path_factory.mktemp("run")
    model = folder / "tiny.safetensors"
    checkpoint.save(as_checkpoint(random_model()), model)
    script = """
import atexit, os, pathlib, runpy, shutil
if pathlib.Path("/proc/self/status").exists():
    atexit.register(shutil.copyfile, "/proc/self/status", os.environ["ITS_STATUS"])
runpy.run_path("detect_image.py", run_name="__main__")
"""
    command = [sys.executable, "-c", script, "--input", hostile.folder, "--model", model, "--output-dir", folder]
    command += ["--name", "out", "--imgsz", "64", "--threshold", "0.9", "--batch-size", "4", "--save-json"]
    outputs = folder / "stdout", folder / "stderr"
    with outputs[0].open("wb") as out, outputs[1].open("wb") as err:
        ascii_terminal = os.environ | {
            "PYTHONIOENCODING": "ascii",
            "ITS_STATUS": str(folder / "status"),
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(command, cwd=ROOT, stdout=out, stderr=err, env=ascii_terminal, check=False)
    lines = [path.read_text("ascii").splitlines() for path in outputs]
    memory = (folder / "status").read_text() if (folder / "status").exists() else ""
    return folder / "out", done.returncode, *lines, memory


@pytest.mark.slow
def test_run_draws_every_readable_image(hostile, run):
    out, _, printed, _, _ = run
    rows = json.loads((out / "detections.json").read_text("utf-8"))["images"]
    documents = {Path(row["source"]).name: row for row in rows}
    assert list(documents) == sorted(odd.name for odd in hostile.readable)
    images = {p.name for p in out.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png")}
    assert images == {row["annotated_file"] for row in documents.values()} and len(images) == len(hostile.readable)
    assert printed[-1].startswith(f"{len(hostile.readable)} images, ")
    for odd in hostile.readable:
        assert (documents[odd.name]["height"], documents[odd.name]["width"]) == odd.image.shape[:2]
        found = read_image(out / documents[odd.name]["annotated_file"])
        assert found.shape == odd.image.shape, odd.name
        assert np.abs(found.astype(int) - odd.image).mean() < LOSSY, odd.name


def test_run_lists_unreadable_images_and_exits_with_2(hostile, run):
    _, status, _, printed, _ = run
    assert status == 2
    errors = [line for line in printed if not line.startswith("warning: ")]  # of readable images
    count = len(hostile.refused)
    assert errors[0] == f"error: {count} of {count + len(hostile.readable)} images could not be read:"
    assert len(errors) == 1 + count, "one line for each file"
    for odd in hostile.refused:
        assert any(odd.name in line and odd.words in line for line in errors[1:]), odd.name


def test_run_over_decompression_bombs_needs_little_memory(run):
    if not run[4]:
        pytest.skip("only Linux reports the peak memory of a process (getrusage includes the parent process)")
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", run[4])
    assert 100 < int(peak) / 1024 < MAX_MIB


def test_file_name_that_is_not_utf8_is_escaped_in_messages(hostile, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    try:
        path.write_bytes(hostile.readable[0].content[:100])
    except OSError:
        pytest.skip("this file system takes text only")
    with pytest.raises(MediaError, match=r"caf\\udce9\.jpg"):
        read_image(path)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
def test_tiff_is_read_without_a_stderr(hostile):
    """A service may close stderr; its descriptor may then belong to the image file."""
    tiffs = [str(hostile.folder / odd.name) for odd in hostile.readable if odd.name.endswith(".tif")][:3]
    code = "import sys; from pathlib import Path; from detect.media.images import read_image as read\n"
    code += "print([read(Path(p)).shape for p in sys.argv[1:]])"
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", code, *tiffs]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert tiffs and said.returncode == 0 and said.stdout.count("(") == len(tiffs)


def test_pipe_is_refused_at_once(hostile):
    (path,) = find_images(str(hostile.folder / "pipe.jpg"))
    assert stat.S_ISFIFO(path.stat().st_mode)
    with pytest.raises(MediaError, match="pipe or a device"):
        read_image(path)
