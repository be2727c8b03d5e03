"""benchmark.py data: the file is one that both readers read alike, and what is measured holds together."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import ROOT
from pycocotools.coco import COCO

import benchmark
from benchmarks import data, loading, markdown
from benchmarks.coco_file import render, rendered
from benchmarks.loading import Load
from benchmarks.output import part_of
from detect.cli.exit_status import exit_status
from detect.data.quality.checks.annotations import check_objects
from detect.data.readers.coco import parse
from detect.errors import DiskError, UsageError
from detect.structures import masks

IMAGES, OBJECTS = 50, 300
SMALL = ("--images", IMAGES, "--objects", OBJECTS, "--rounds", 1, "--quiet")
BEGIN, END = markdown.markers(part_of("data"))


@pytest.fixture
def run(monkeypatch):
    """Run benchmark.py's main in-process; its exit status."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, arguments)])
        return exit_status(benchmark.main)

    return call


@pytest.fixture
def temporary(monkeypatch, tmp_path) -> Path:
    """The folder for temporary things."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def error(capsys) -> str:
    """The one line on stderr."""
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    return text


# The file


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("rendered") / "instances.json"
    render(path, IMAGES, 2000)
    return path


def test_both_readers_find_the_same_in_the_file(file):
    coco, draft = COCO(file), parse(file.parent, file)
    ids = np.array([0, *draft.ids])
    assert len(draft.table) == len(coco.imgs) == IMAGES and not draft.skipped
    assert draft.ids == tuple(coco.getCatIds()) and len(draft.ids) == 80
    seen = 0
    for record in draft.table:
        image = coco.imgs[record.image_id]
        assert record.path.name == image["file_name"] and record.image_hw == (image["height"], image["width"])
        theirs = coco.imgToAnns[record.image_id]
        assert record.annotation_ids.tolist() == [one["id"] for one in theirs]
        assert ids[record.labels].tolist() == [one["category_id"] for one in theirs]
        assert record.iscrowd.tolist() == [one["iscrowd"] for one in theirs]
        assert record.areas.tolist() == [one["area"] for one in theirs]
        xywh = np.array([one["bbox"] for one in theirs]).reshape(-1, 4)
        np.testing.assert_allclose(record.boxes, np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]), rtol=1e-6)
        for mask, one in zip(record.masks, theirs, strict=True):
            if isinstance(mask, list):
                assert [polygon.tolist() for polygon in mask] == one["segmentation"]
            else:
                assert masks.to_json(mask) == masks.to_json(coco.annToRLE(one))
        seen += len(record)
    assert seen == 2000


def test_the_file_is_like_cocos(file):
    content = json.loads(file.read_text())
    assert set(content["images"][0]) == {
        *("license", "file_name", "coco_url", "height", "width", "date_captured", "flickr_url", "id")
    }
    objects = content["annotations"]
    outlines = [one["segmentation"] for one in objects if not one["iscrowd"]]
    points = [sum(len(part) // 2 for part in parts) for parts in outlines]
    assert 20 < np.mean(points) < 28 and min(points) >= 3 and any(len(parts) > 1 for parts in outlines)
    numbers = re.findall(r"[\d.]+", json.dumps(outlines))
    assert max(len(number.partition(".")[2]) for number in numbers) == 2
    crowds = [one["segmentation"]["counts"] for one in objects if one["iscrowd"]]
    assert 0.003 < len(crowds) / len(objects) < 0.03 and all(isinstance(counts, list) for counts in crowds)
    for ids in ([one["image_id"] for one in objects], [one["id"] for one in objects]):
        assert ids != sorted(ids)


def test_nothing_in_the_file_is_wrong(file):
    table = parse(file.parent, file).table
    assert table.has_masks and not [one.kind for one in check_objects(table) if len(one.rows)]
    content = COCO(file)
    for one in content.anns.values():
        x, y, w, h = one["bbox"]
        if not one["iscrowd"]:
            xy = np.concatenate([np.reshape(part, (-1, 2)) for part in one["segmentation"]])
            np.testing.assert_allclose([xy.min(0), np.ptp(xy, 0)], [[x, y], [w, h]], atol=1e-6)
        else:
            code = content.annToRLE(one)
            assert masks.area(code) == one["area"] and masks.box(code).tolist() == [x, y, x + w, y + h]


def test_the_file_is_the_same_every_time(file, tmp_path):
    render(tmp_path / "again.json", IMAGES, 2000)
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("objects", [1, 20_001])
def test_any_count_of_objects_can_be_rendered(tmp_path, objects):
    render(tmp_path / "x.json", 1, objects)
    content = json.loads((tmp_path / "x.json").read_bytes())
    assert len({one["id"] for one in content["annotations"]}) == objects and len(content["images"]) == 1


def test_the_file_goes_again_whatever_happens(temporary):
    with pytest.raises(ZeroDivisionError), rendered(2, 3) as path:
        assert path.is_relative_to(temporary) and path.is_file()
        1 / 0  # noqa: B018
    assert not [*temporary.glob("benchmark_*")]


def test_a_disk_without_room_is_one_line_and_nothing_stays(run, capsys, temporary):
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, former[1]))
    try:
        status = run("data", *SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert status == 2 and "instances.json: File too large (the environment variable TMPDIR" in error(capsys)
    assert not [*temporary.glob("benchmark_*")]


def test_no_folder_for_temporary_things_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(DiskError, match="cannot make a temporary folder: No such file"), rendered(2, 3):
        pass


# The measurement


def test_the_page_says_what_was_measured(run, capsys, tmp_path, temporary):
    page, figures = tmp_path / "page.md", tmp_path / "new" / "figures.json"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    assert run("data", *SMALL, "--write", page, "--json", figures) == 0
    text, said = page.read_text(), capsys.readouterr()
    assert said.err == "" and not [*temporary.glob("benchmark_*")]
    assert text.startswith(f"before\n{BEGIN}\n\nWritten by `python benchmark.py data ")
    assert text.endswith(f"\n\n{END}\nafter\n") and text.split("\n\n")[2] in said.out
    assert f"{IMAGES} images, {OBJECTS} objects, " in text and "Medians of 1 round;" in text
    assert re.search(r"^\| pycocotools \|.* 1\.00 \|.* 1\.00 \|", text, re.MULTILINE)
    for title in data.OURS.values():
        assert f"| {title} |" in text and re.search(rf"^- {title}: \*\*(met|missed)\*\*", text, re.MULTILINE)

    facts = json.loads(figures.read_text())
    assert (facts["images"], facts["objects"]) == (IMAGES, OBJECTS) and facts["file_bytes"] > 100 * OBJECTS
    assert [*facts["loads"]] == [data.THEIRS, *data.OURS]
    for (one,) in facts["loads"].values():
        assert one["objects"] == OBJECTS and one["faults"] == 0 and one["seconds"] > 0 and one["cpu_seconds"] > 0
        if sys.platform == "linux":
            assert 0 < one["base_bytes"] <= one["peak_bytes"] < 200e6
            assert 0 < one["alone_bytes"] < one["workers_bytes"] and one["alone_bytes"] <= one["peak_bytes"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_the_peak_is_that_of_the_process_alone():
    held = bytearray(os.urandom(1)) * 300_000_000
    code = "from benchmarks.loading import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 5e6 < int(done.stdout) < 150e6 and loading.peak_memory() > len(held)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_what_workers_copy_counts_and_what_they_share_does_not():
    """In a process of its own, since pytest's has threads, which are not to be forked."""
    code = """if True:
        import os
        from benchmarks.loading import _with_workers, proportional
        held = bytearray(b"1") * 40_000_000
        def read(): return held.count(b"2")
        def write(): held[::4096] = b"2" * len(held[::4096])
        print(proportional(os.getpid()), _with_workers(read, 3), _with_workers(write, 3))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    alone, reading, disk_errors_naming = (int(n) / 40e6 for n in done.stdout.split())
    assert reading < alone + 0.7 and alone + 2.9 < disk_errors_naming < alone + 3.7


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
def test_one_worker_that_was_killed_is_noticed(tmp_path):
    code = """if True:
        import os, signal, sys
        from benchmarks.loading import _with_workers
        def walk():
            try:
                os.mkdir(sys.argv[1])
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            _with_workers(walk, 3)
        except MemoryError:
            print("no memory")
    """
    command = [sys.executable, "-c", code, str(tmp_path / "first")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "no memory\n" and not done.stderr


def load(seconds: float, peak: float | None, workers: float | None) -> Load:
    return Load(seconds, seconds, None if peak is None else 5e6, peak, workers, workers, OBJECTS, 0)


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        (load(10, 1e9, 1e9), "**met**"),
        (load(10.1, 1e9, 1e9), "**missed** (time is 1.01)"),
        (load(5, 1.1e9, 2e9), "**missed** (peak memory is 0.37, memory with workers is 0.67)"),
        (load(5, 1e9, None), "**met** (memory with workers was not measured)"),
        (
            load(11, None, None),
            "**missed** (time is 1.10, peak memory was not measured, memory with workers was not me",
        ),
    ],
)
def test_whether_the_goal_is_met_is_computed(ours, words):
    theirs = load(10, None if ours.peak_bytes is None else 3e9, None if ours.workers_bytes is None else 3e9)
    loads = {data.THEIRS: [theirs] * 3, "read": [ours] * 3, "checked": [replace(ours, seconds=99), ours, ours]}
    page = data.page(loads, "small", "command", "machine")
    assert page.count(f": {words}") == 2 and "nan" not in page and "Medians of 3 rounds" in page
    assert ("not measured |" in page) == (ours.workers_bytes is None)


@pytest.mark.parametrize("code", [loading.NO_MEMORY, -9])
def test_a_process_without_memory_is_one_line(monkeypatch, file, code):
    ended = f"import os; os.kill(os.getpid(), {-code})" if code < 0 else f"raise SystemExit({code})"
    real = subprocess.run
    monkeypatch.setattr("subprocess.run", lambda command, **rest: real([sys.executable, "-c", ended], **rest))
    with pytest.raises(UsageError, match=r"loading 2000 objects \(pycocotools\) takes more memory than there is"):
        data.measure(file, 2000, 1)


def test_a_reader_that_misses_objects_is_no_result(file):
    with pytest.raises(RuntimeError, match="pycocotools read 2000 of 1999 objects"):
        data.measure(file, 1999, 1)


# The command line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("data --models v2", "--models is for inference, train, not for data"),
        ("data --objects 0", "--objects 0 must be at least 1"),
        ("inference --images 5", "--images is for data, not for inference"),
    ],
)
def test_flags_of_the_other_command_are_refused(run, capsys, line, words):
    assert run(*line.split()) == 2
    assert words in error(capsys)


def test_a_page_without_its_markers_is_one_line_before_any_work(run, capsys, tmp_path, temporary):
    (tmp_path / "page.md").write_text("")
    assert run("data", *SMALL, "--write", tmp_path / "page.md") == 2
    assert BEGIN in error(capsys) and not [*temporary.glob("benchmark_*")]


def test_the_page_of_this_repository_has_its_markers():
    markdown.check_part(ROOT / "docs" / "data.md", part_of("data"))
