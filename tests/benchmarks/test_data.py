"""benchmark.py data: the generated file is like COCO's, and time and memory are measured right."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.benchmarking import error_line, run_benchmark
from helpers.folders import ROOT
from pycocotools.coco import COCO

from benchmarks import data
from benchmarks.coco_file import generate, generated
from benchmarks.loading import Load
from benchmarks.processes import in_new_process
from detect.data.readers.coco import parse
from detect.data.validation.annotations import check_objects
from detect.errors import DiskError, UsageError
from detect.structures import masks

IMAGES, OBJECTS = 50, 300
SMALL = ("--images", IMAGES, "--objects", OBJECTS, "--rounds", 1, "--quiet")


@pytest.fixture
def run(monkeypatch):
    return partial(run_benchmark, monkeypatch)


@pytest.fixture
def temporary(monkeypatch, tmp_path) -> Path:
    """Return a folder that is used for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


# The file


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "instances.json"
    generate(path, IMAGES, 2000)
    return path


def test_both_readers_read_equal_annotations(file):
    coco, split = COCO(file), parse(file.parent, file)
    ids = np.array([0, *split.ids])
    assert len(split.table) == len(coco.imgs) == IMAGES and not split.skipped
    assert split.ids == tuple(coco.getCatIds()) and len(split.ids) == 80
    seen = 0
    for record in split.table:
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


def test_file_resembles_cocos(file):
    content = json.loads(file.read_text())
    assert set(content["images"][0]) == {
        *("license", "file_name", "coco_url", "height", "width", "date_captured", "flickr_url", "id")
    }
    objects = content["annotations"]
    polygons = [one["segmentation"] for one in objects if not one["iscrowd"]]
    points = [sum(len(part) // 2 for part in parts) for parts in polygons]
    assert 20 < np.mean(points) < 28 and min(points) >= 3 and any(len(parts) > 1 for parts in polygons)
    numbers = re.findall(r"[\d.]+", json.dumps(polygons))
    assert max(len(number.partition(".")[2]) for number in numbers) == 2
    crowds = [one["segmentation"]["counts"] for one in objects if one["iscrowd"]]
    assert 0.003 < len(crowds) / len(objects) < 0.03 and all(isinstance(counts, list) for counts in crowds)
    for ids in ([one["image_id"] for one in objects], [one["id"] for one in objects]):
        assert ids != sorted(ids)


def test_file_has_no_invalid_annotation(file):
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


def test_equal_counts_give_equal_files(file, tmp_path):
    generate(tmp_path / "again.json", IMAGES, 2000)
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("objects", [1, 20_001])
def test_any_number_of_annotations_can_be_generated(tmp_path, objects):
    generate(tmp_path / "x.json", 1, objects)
    content = json.loads((tmp_path / "x.json").read_bytes())
    assert len({one["id"] for one in content["annotations"]}) == objects and len(content["images"]) == 1


def test_file_is_deleted_after_an_error(temporary):
    with pytest.raises(ZeroDivisionError), generated(2, 3) as path:
        assert path.is_relative_to(temporary) and path.is_file()
        1 / 0  # noqa: B018
    assert not [*temporary.glob("benchmark_*")]


def test_full_disk_is_one_line_and_leaves_no_file(run, capsys, temporary):
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, former[1]))
    try:
        status = run("data", *SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert status == 2 and "instances.json: File too large (the environment variable TMPDIR" in error_line(capsys)
    assert not [*temporary.glob("benchmark_*")]


def test_missing_temporary_folder_is_a_disk_error(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(DiskError, match="cannot make a temporary folder: No such file"), generated(2, 3):
        pass


# The measurement


def test_table_and_json_hold_what_was_measured(run, capsys, tmp_path, temporary):
    figures = tmp_path / "new" / "figures.json"
    assert run("data", *SMALL, "--json", figures) == 0
    printed = capsys.readouterr()
    assert printed.err == "" and not [*temporary.glob("benchmark_*")]
    assert f"{IMAGES} images, {OBJECTS} annotations, " in printed.out and "Medians of 1 round." in printed.out
    assert re.search(r"^\| pycocotools \|.* 1\.00 \|.* 1\.00 \|", printed.out, re.MULTILINE)
    assert all(f"| {title} |" in printed.out for title in data.TITLES.values())

    facts = json.loads(figures.read_text())
    assert (facts["images"], facts["objects"]) == (IMAGES, OBJECTS) and facts["file_bytes"] > 100 * OBJECTS
    assert [*facts["loads"]] == [*data.TITLES]
    for (one,) in facts["loads"].values():
        assert one["objects"] == OBJECTS and one["faults"] == 0 and one["seconds"] > 0 and one["cpu_seconds"] > 0
        if sys.platform == "linux":
            assert 0 < one["base_bytes"] <= one["peak_bytes"] < 200e6
            assert 0 < one["alone_bytes"] < one["workers_bytes"] and one["alone_bytes"] <= one["peak_bytes"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not report it")
def test_memory_that_workers_copy_counts_and_shared_memory_does_not():
    """In a new process, since the threads of pytest must not be forked."""
    code = """if True:
        import os
        from benchmarks.loading import proportional_set_size, with_workers
        held = bytearray(b"1") * 40_000_000
        def read(): return held.count(b"2")
        def write(): held[::4096] = b"2" * len(held[::4096])
        print(proportional_set_size(os.getpid()), with_workers(read, 3), with_workers(write, 3))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    alone, reading, writing = (int(n) / 40e6 for n in done.stdout.split())
    assert reading < alone + 0.7 and alone + 2.9 < writing < alone + 3.7


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
def test_killed_worker_is_reported(tmp_path):
    code = """if True:
        import os, signal, sys
        from concurrent.futures.process import BrokenProcessPool
        from benchmarks.loading import with_workers
        def walk():
            try:
                os.mkdir(sys.argv[1])
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            with_workers(walk, 3)
        except BrokenProcessPool:
            print("no memory")
    """
    command = [sys.executable, "-c", code, str(tmp_path / "first")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "no memory\n" and not done.stderr


def load(seconds: float, peak: float | None, workers: float | None) -> Load:
    return Load(seconds, seconds, None if peak is None else 5e6, peak, workers, workers, OBJECTS, 0)


def test_ratios_are_of_medians_and_unknown_memory_is_stated():
    theirs, ours = load(10, 3e9, None), load(5, 1e9, None)
    loads = {"pycocotools": [theirs] * 3, "read": [ours] * 3, "checked": [replace(ours, seconds=99), ours, ours]}
    page = data.table(loads)
    assert page.count("| 5.0 | 0.50 | 5.0 | 1000 | 0.33 | not measured | not measured | not measured |") == 2
    assert "nan" not in page


@pytest.mark.parametrize(("function", "argument"), [(os._exit, 9), (bytearray, sys.maxsize)])
def test_process_that_is_killed_or_lacks_memory_is_a_usage_error(function, argument):
    with pytest.raises(UsageError, match="reading needs more memory than there is; lower `objects`"):
        in_new_process(function, argument, task="reading", lower="objects")


def test_error_of_a_new_process_is_raised_here():
    with pytest.raises(DiskError, match="nowhere"):
        in_new_process(generate, Path("/nowhere/x.json"), 1, 1, task="generating", lower="objects")


def test_reader_that_misses_annotations_is_an_error(file):
    with pytest.raises(RuntimeError, match="pycocotools read 2000 of 1999 annotations"):
        data.measure(file, 1999, 1)
