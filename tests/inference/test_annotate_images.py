"""Many images: order, memory, runs that end early and are continued, and images that several processes share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_predictor import FakePredictor, files
from helpers.folders import ROOT

from detect.errors import DiskError, UsageError
from detect.inference import annotate_images as module
from detect.inference.annotate_images import AnnotatedImage, SkippedImage, UnreadableImage, annotate_images
from detect.inference.finished_images import RECORD, FinishedImages
from detect.inference.writers import FORMATS
from detect.io.locks import lock_file
from detect.media.images import read_image, write_image

EVERY = list(FORMATS)
DOCUMENTS = ("detections.json", "detections.csv", "detections_coco.json")


@pytest.fixture
def many(tmp_path) -> list[Path]:
    """Thirty images of different sizes in two folders with equal names; two of them are broken."""
    paths = []
    for folder in ("one", "two"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        for number in range(15):
            path = tmp_path / "in" / folder / f"{number:02}.png"
            write_image(path, np.full((20 + number, 30, 3), 9 * number, np.uint8))
            paths.append(path)
    for broken in (paths[3], paths[22]):
        broken.write_bytes(b"junk")
    return paths


@pytest.fixture
def out(tmp_path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def run(paths, out, predictor=None, **options):
    return list(annotate_images(predictor or FakePredictor(), paths, out, **options))


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def expected_of(many, tmp_path, **options) -> dict[str, bytes]:
    """Return the output of a run without interruption."""
    folder = tmp_path / "expected"
    folder.mkdir()
    run(many, folder, **options)
    return contents(folder)


@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_one_result_per_image_in_the_order_of_the_input(many, out, batch_size):
    order = many[::-1]
    results = run(order, out, batch_size=batch_size, formats=["json", "csv"])
    assert [result.path for result in results] == order
    assert [i for i, one in enumerate(results) if isinstance(one, UnreadableImage)] == [7, 26]
    rows = json.loads((out / "detections.json").read_text())["images"]
    assert [row["source"] for row in rows] == [str(path) for path in order if path not in (many[3], many[22])]
    assert all(row["annotated_file"] for row in rows)
    for result in results:
        if isinstance(result, AnnotatedImage):
            assert (
                read_image(result.output).shape[:2] == result.detections.image_hw == read_image(result.path).shape[:2]
            )


def test_few_images_are_in_memory_at_a_time(many, out, monkeypatch):
    monkeypatch.setattr(module, "available_cores", lambda: 2)
    alive, most = [0], []

    class Watching(FakePredictor):
        def predict_batch(self, images, labels=None, threshold=None):
            for image in images:
                alive[0] += 1
                weakref.finalize(image, lambda: alive.__setitem__(0, alive[0] - 1))
            most.append(alive[0])
            return super().predict_batch(images, labels, threshold)

    run(many, out, Watching(), formats=EVERY)
    assert len(most) == 28 and max(most) <= 5


def test_without_annotated_copies_only_the_other_files_are_written(many, out):
    results = run(many, out, annotated=False, formats=["json"])
    assert files(out) == ["detections.json"]
    assert all(one.output is None for one in results if isinstance(one, AnnotatedImage))
    assert {row["annotated_file"] for row in json.loads((out / "detections.json").read_text())["images"]} == {None}


def test_files_that_exist_in_the_folder_are_not_overwritten(tmp_path):
    """Not even the input, if the output folder is its folder."""
    path = tmp_path / "x.png"
    write_image(path, np.full((40, 60, 3), 90, np.uint8))
    before = path.read_bytes()
    (result,) = run([path], tmp_path)
    assert result.output.name == "x_2.png" and path.read_bytes() == before
    (again,) = run([path], tmp_path)
    assert again.output.name == "x_3.png"


def test_an_image_that_vanishes_while_it_is_processed_is_not_fatal(many, out):
    class Deleting(FakePredictor):
        def predict_batch(self, *arguments):
            many[0].unlink(missing_ok=True)
            return super().predict_batch(*arguments)

    first, *others = run(many[:3], out, Deleting(), formats=["labels_yolo", "json"])
    assert isinstance(first, UnreadableImage) and "00.png" in first.reason
    assert all(isinstance(one, AnnotatedImage) for one in others)
    assert len(json.loads((out / "detections.json").read_text())["images"]) == 2


# Runs that are continued


def test_every_image_is_processed_once_if_a_run_is_continued(many, out, tmp_path):
    expected = expected_of(many, tmp_path, formats=EVERY)
    first = FakePredictor()
    first.interrupt_at = 10
    with pytest.raises(KeyboardInterrupt):
        run(many, out, first, formats=EVERY)
    rows = json.loads((out / "detections.json").read_text())["images"]
    assert len(rows) == 9
    second = FakePredictor()
    results = run(many, out, second, formats=EVERY, skip_existing=True)
    assert [one.path for one in results if isinstance(one, SkippedImage)] == [Path(row["source"]) for row in rows]
    assert len(second.batches) == 28 - 9
    assert contents(out) == expected
    third = FakePredictor()
    results = run(many, out, third, formats=EVERY, skip_existing=True)
    assert third.batches == [] and sum(isinstance(one, UnreadableImage) for one in results) == 2
    assert contents(out) == expected


def killed_run(many: list[Path], out: Path, at: int, **options) -> None:
    """Run in a process of its own that is killed when the model gets image number ``at``."""
    code = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from helpers.fake_predictor import FakePredictor
from detect.inference.annotate_images import annotate_images
class Killed(FakePredictor):
    def predict_batch(self, *arguments):
        if len(self.batches) == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict_batch(*arguments)
list(annotate_images(Killed(), [Path(p) for p in {[str(p) for p in many]}], Path({str(out)!r}), **{options}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_run_is_completed_as_if_it_had_not_been_killed(many, out, tmp_path):
    expected = expected_of(many, tmp_path, formats=EVERY)
    killed_run(many, out, 12, formats=EVERY)
    assert not (out / "detections.json").exists()
    record = (out / RECORD).read_bytes()
    (out / RECORD).write_bytes(record + record.splitlines()[-1][:50])  # a kill while a line is written
    rest = FakePredictor()
    run(many, out, rest, skip_existing=True)  # in the formats of the first run
    assert 28 - 12 <= len(rest.batches) <= 28 - 12 + 4
    assert contents(out) == expected


def test_new_images_are_added_in_the_order_of_the_input(many, out, tmp_path):
    expected = expected_of(many, tmp_path, formats=["json", "csv", "coco"])
    run(many[10:20], out, formats=["json", "csv", "coco"])
    run(many, out, skip_existing=True)
    for name in ("detections.csv", "detections_coco.json"):
        assert (out / name).read_bytes() == expected[name]
    copies = [row["annotated_file"] for row in json.loads((out / "detections.json").read_text())["images"]]
    assert len(set(copies)) == 28 and sorted([*copies, *DOCUMENTS]) == files(out)


def test_images_that_are_no_longer_given_stay_in_the_documents(many, out):
    run(many[:5], out, formats=["json"])
    run(many[5:8], out, skip_existing=True)
    rows = json.loads((out / "detections.json").read_text())["images"]
    assert [row["source"] for row in rows] == [str(path) for path in many[:8] if path != many[3]]


def test_a_new_document_is_written_for_images_that_are_finished(many, out, tmp_path):
    expected = expected_of(many, tmp_path, formats=["csv", "coco", "json"])
    run(many, out, formats=["csv"])
    again = FakePredictor()
    run(many, out, again, formats=["coco", "json"], skip_existing=True)
    assert again.batches == [] and contents(out) == expected


def test_an_image_without_a_file_that_is_wanted_now_is_processed_again(many, out, tmp_path):
    expected = expected_of(many, tmp_path, formats=["json", "crops"])
    run(many, out, formats=["json"])
    (out / "07.png").unlink()
    again = FakePredictor()
    run(many, out, again, formats=["json"], skip_existing=True)
    assert again.batches == [1]
    run(many, out, formats=["crops"], skip_existing=True)
    assert contents(out) == expected


def test_labels_that_a_person_has_corrected_are_kept(many, out):
    run(many[:2], out, formats=["labels_labelme", "labels_yolo"])
    corrected = out / "labels_labelme" / "train" / "00.json"
    corrected.write_text("corrected")
    run(many[:6], out, skip_existing=True)
    assert corrected.read_text() == "corrected"
    assert len(list((out / "labels_labelme" / "train").glob("*.json"))) == 5
    assert len(list((out / "labels_yolo" / "labels" / "train").iterdir())) == 5


def changed(name, value) -> FakePredictor:
    predictor = FakePredictor()
    setattr(predictor, name, value)
    return predictor


@pytest.mark.parametrize(
    ("predictor", "options", "named"),
    [
        (changed("class_thresholds", {"balloon": 0.7, "kite": 0.7}), {}, "`threshold`"),
        (changed("name", "other"), {}, "`model` fake, not other"),
        (changed("imgsz", 320), {}, "`imgsz` 480, not 320"),
        (changed("precision", "bf16"), {}, "`precision`.*fp32"),
        (changed("max_detections", 5), {}, "`max_detections` 100, not 5"),
        (FakePredictor(), {"classes": ["kite"]}, "`classes`"),
        (FakePredictor(), {"rescale_16bit": (0, 4095)}, "`rescale_16bit`"),
    ],
)
def test_a_run_is_not_continued_with_other_settings(many, out, predictor, options, named):
    run(many[:2], out, formats=["json"])
    before = contents(out)
    with pytest.raises(UsageError, match=f"processed with {named}.*choose another `name`"):
        run(many, out, predictor, skip_existing=True, **options)
    assert contents(out) == before


def test_a_folder_of_other_files_is_not_continued(many, out):
    (out / "notes.txt").touch()
    with pytest.raises(UsageError, match="no record of finished images"):
        run(many, out, skip_existing=True)
    assert files(out) == ["notes.txt"]


def test_a_run_into_an_empty_folder_can_be_continued(many, out):
    assert len(run(many, out, skip_existing=True, formats=["json"])) == 30
    assert len(json.loads((out / "detections.json").read_text())["images"]) == 28


def test_two_runs_do_not_write_into_one_folder_at_the_same_time(many, out):
    with closing(annotate_images(FakePredictor(), many, out)) as results:
        next(results)
        with pytest.raises(UsageError, match="another process writes to"):
            run(many, out, skip_existing=True)
    with lock_file(out / ".lock", "held"):
        pass


@pytest.mark.parametrize("formats", [["crops"], ["json"], []])
def test_a_run_that_failed_at_its_first_image_can_be_continued(many, out, tmp_path, monkeypatch, formats):
    """Its files, such as annotated copies and a document without detections, do not make the folder a foreign one."""
    expected = expected_of(many, tmp_path, formats=formats)

    def full(self, *_):
        raise DiskError("cannot write it: No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(FinishedImages, "append", full)
        with pytest.raises(DiskError, match=r"0 of 30 images are finished.*`skip_existing` continues"):
            run(many, out, formats=formats)
    assert files(out)
    run(many, out, formats=formats, skip_existing=True)
    assert contents(out) == expected


def test_a_full_disk_is_one_error_and_the_run_can_be_continued(many, out, tmp_path, monkeypatch):
    expected = expected_of(many, tmp_path, formats=["json", "csv"])
    from detect.media import images

    def full(path, content):
        if len(files(out)) >= 10:
            raise DiskError(f"cannot write {path}: No space left on device")
        path.write_bytes(content)

    with monkeypatch.context() as disk:
        disk.setattr(images, "write_bytes", full)
        with pytest.raises(DiskError, match=r"No space left on device; (\d+) of 30 images are finished") as error:
            run(many, out, formats=["json", "csv"])
    assert "`skip_existing` continues" in str(error.value)
    kept = json.loads((out / "detections.json").read_text())["images"]
    assert f"{len(kept)} of 30" in str(error.value) and 8 <= len(kept) <= 12
    run(many, out, skip_existing=True)
    assert contents(out) == expected
