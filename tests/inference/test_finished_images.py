"""The record of the finished images: every number is kept, and a line that was partly written is dropped."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from detect.errors import DataError
from detect.inference.finished_images import RECORD, FinishedImage, FinishedImages
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

NAMES = ClassNames(("кот", "dog", "7"), (17, 0, 3))
HW = (40, 60)


def image(name: str) -> FinishedImage:
    return FinishedImage(f"/in/{name}", name, name, f"{name}.jpg", ("crops",))


def random_detections(seed: int, *, with_masks: bool = False, with_keypoints: bool = False) -> Detections:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 5)) if seed else 0
    corners = rng.uniform(0, 30, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.1, 10, (count, 2))], axis=1).astype(np.float32)
    scores = np.sort(rng.uniform(0, 1, count).astype(np.float32))[::-1].copy()
    rles = [masks.from_bitmap(rng.random(HW) > 0.5) for _ in range(count)] if with_masks and count else None
    points = rng.normal(size=(count, 17, 3)).astype(np.float32) if with_keypoints and count else None
    labels = rng.integers(1, 4, count)
    return Detections(HW, boxes, scores, labels, rles, points, NAMES, limit_reached=bool(seed % 2))


def read(finished: FinishedImages) -> list[tuple[FinishedImage, Detections]]:
    return list(finished.read([place for place, _ in finished.images()], NAMES))


def same(one: Detections, other: Detections) -> bool:
    arrays = ("boxes", "scores", "labels", "keypoints")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays) and (
        one.masks,
        one.image_hw,
        one.limit_reached,
    ) == (other.masks, other.image_hw, other.limit_reached)


@pytest.mark.parametrize("parts", [{}, {"with_masks": True}, {"with_keypoints": True}])
def test_what_is_recorded_is_read_back_equal(tmp_path, parts):
    expected = {image(f"{seed} ü\udcff"): random_detections(seed, **parts) for seed in range(6)}
    finished = FinishedImages(tmp_path)
    finished.open({"threshold": 0.5})
    for one, detections in expected.items():
        finished.append(one, detections, NAMES)
    finished.close()
    found = read(FinishedImages(tmp_path))
    assert [one for one, _ in found] == list(expected)
    assert all(same(detections, expected[one]) for one, detections in found)
    assert FinishedImages(tmp_path).settings() == [{"threshold": 0.5}]


@pytest.mark.parametrize("torn", [b'{"image": ["/in/b', b'{"settings": {', b"x" * 200_000])
def test_a_partly_written_line_is_dropped_and_the_record_goes_on(tmp_path, torn):
    for name in ("a", "b"):
        finished = FinishedImages(tmp_path)
        finished.open({})
        finished.append(image(name), random_detections(3), NAMES)
        finished.close()
        with (tmp_path / RECORD).open("ab") as file:
            file.write(torn)
        assert [one.source for _, one in finished.images()] == ["a", "b"][: "ab".index(name) + 1]


def test_threads_and_processes_record_into_one_folder(tmp_path):
    def work(finished: FinishedImages, name: str) -> None:
        for number in range(20):
            finished.append(image(f"{name}{number}"), random_detections(number), NAMES)

    processes = [FinishedImages(tmp_path, process) for process in range(3)]
    for finished in processes:
        finished.open({})
    threads = [threading.Thread(target=work, args=(f, f"{i}_{j}_")) for i, f in enumerate(processes) for j in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for finished in processes:
        finished.close()
    before = {one for _, one in processes[0].images()}
    assert len(before) == 180
    processes[0].merge()
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]
    assert {one for _, one in processes[0].images()} == before and len(read(processes[0])) == 180


def test_a_record_without_images_is_kept_only_beside_other_files(tmp_path):
    finished = FinishedImages(tmp_path)
    finished.open({})
    finished.close()
    (tmp_path / "a.jpg").touch()
    finished.delete_if_unused()
    assert finished.settings() == [{}] and read(finished) == []
    (tmp_path / "a.jpg").unlink()
    finished.delete_if_unused()
    assert not list(tmp_path.iterdir()) and finished.settings() == [] and read(finished) == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"image": 5, "hw": 3}',
        b'{"image": ["/a", "a", "a", null, []], "hw": [1]}',
        b'{"image": [',
        b'{"image": ["/\xff", "a", "a", null, []]}',
        b'{"settings": {"threshold": 0.5}',
        b'{"settings": {"model": "\xff"}}',
        b'{"settings": 5}',
    ],
)
def test_a_damaged_line_is_an_error_that_names_the_file(tmp_path, line):
    (tmp_path / RECORD).write_bytes(line + b"\n")
    finished = FinishedImages(tmp_path)
    with pytest.raises(DataError, match=r"\.detections\.jsonl is damaged at byte 0; delete it"):
        if line.startswith(b'{"settings"'):
            finished.settings()
        else:
            read(finished)
