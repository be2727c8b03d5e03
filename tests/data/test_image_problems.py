"""Images that are damaged or vanish while they are used: other images take their place, and each is counted once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset, read_record
from detect.data.image_problems import ImageProblems, UnreadableImageError
from detect.data.load import SplitDataset
from detect.data.loader import TrainLoader
from detect.errors import DataError
from detect.structures.class_names import ClassNames
from detect.structures.image_record import ImageRecord

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core

HW = (64, 96)
COUNT = 8


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        Image.fromarray(rng.integers(0, 256, (*HW, 3), dtype=np.uint8)).save(tmp_path / f"{i}.jpg")
    return [
        ImageRecord(
            path=tmp_path / f"{i}.jpg",
            image_hw=HW,
            image_id=i,
            boxes=np.float32([[5, 5, 60, 50]]),
            labels=np.array([1]),
            areas=np.array([100.0]),
            iscrowd=np.zeros(1, bool),
            annotation_ids=np.array([i]),
        )
        for i in range(COUNT)
    ]


def loader(records: list[ImageRecord], workers: int = 0, batch_size: int = 3, **settings) -> TrainLoader:
    transform = TrainTransform(64, Augmentation("default", **settings), epochs=10)
    return TrainLoader(DetectionDataset(records, transform, with_masks=False, seed=3), batch_size, workers)


def content(batches) -> list[list[tuple[int, bytes]]]:
    return [
        [(int(t["image_id"]), image.numpy().tobytes()) for image, t in zip(*batch, strict=True)] for batch in batches
    ]


def _delete(path: Path) -> None:
    path.unlink()


def _resize(path: Path) -> None:
    Image.new("RGB", (50, 50)).save(path)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN = [_delete, _resize, _empty, _replace_by_folder, _halve]


@pytest.mark.parametrize("spoil", BROKEN)
@pytest.mark.parametrize("workers", [0, 2])
def test_another_image_takes_the_place_of_one_that_cannot_be_read(records, spoil, workers):
    whole = content(loader(records).epoch(0))
    spoil(records[4].path)
    epochs = loader(records, workers)
    batches = content(epochs.epoch(0))
    assert [len(batch) for batch in batches] == [len(batch) for batch in whole]
    pairs = [pair for both in zip(batches, whole, strict=True) for pair in zip(*both, strict=True)]
    assert [before[0] for after, before in pairs if after != before] == [4], "all other items are unchanged"
    assert 4 not in [image_id for batch in batches for image_id, _ in batch]
    assert batches == content(loader(records).epoch(0)), "the substitute depends on the seed only"
    problems = epochs.problems.take()
    assert list(problems.unreadable) == [str(records[4].path)] and not problems.truncated
    (line,) = problems.lines("replaced")
    assert "1 image cannot be read and is replaced" in line and "4.jpg" in line and "doctor.py check" in line
    assert not epochs.problems.unreadable


def test_images_of_a_folder_that_is_gone_are_not_to_be_removed(records, tmp_path):
    moved = tmp_path.rename(tmp_path.parent / "elsewhere")
    with pytest.raises(DataError) as error:
        read_record(records[0])
    moved.rename(tmp_path)
    assert str(error.value).endswith("0.jpg; its folder is gone: is the disk or network folder connected?")
    problems = ImageProblems()
    problems.add_unreadable(records[0].path, error.value)
    assert "doctor.py" not in next(problems.lines("replaced"))
    with pytest.raises(DataError) as error:
        problems.check(1, "images")
    assert "doctor.py" not in str(error.value)


@pytest.mark.parametrize("augmentation", [{"mosaic": 1.0}, {"copy_paste": 1.0}])
def test_images_of_mosaics_are_replaced_too(records, augmentation):
    _delete(records[2].path)
    epochs = loader(records, **augmentation)
    assert sum(map(len, content(epochs.epoch(0)))) == COUNT
    assert list(epochs.problems.unreadable) == [str(records[2].path)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_truncated_jpeg_is_trained_on_and_counted(records, workers):
    for number in (1, 6):
        _cut(records[number].path)
    epochs = loader(records, workers)
    assert sorted(image_id for batch in content(epochs.epoch(0)) for image_id, _ in batch) == list(range(COUNT))
    (line,) = epochs.problems.lines("replaced")
    assert "2 images are truncated" in line and "1.jpg" in line and "6.jpg" in line


def test_an_epoch_stops_once_more_than_half_of_the_images_cannot_be_read(records):
    for record in records[:5]:
        _delete(record.path)
    with pytest.raises(DataError, match=r"5 of 8 training images cannot be read: no such file: .*doctor\.py check"):
        content(loader(records, batch_size=1).epoch(0))


def test_an_epoch_stops_if_no_image_can_be_read(records):
    for record in records:
        _delete(record.path)
    with pytest.raises(DataError, match="no such file"):
        content(loader(records).epoch(0))


def test_a_half_of_the_images_is_enough(records):
    for record in records[: COUNT // 2]:
        _delete(record.path)
    epochs = loader(records)
    assert sum(map(len, content(epochs.epoch(0)))) == COUNT
    assert len(epochs.problems.unreadable) == COUNT // 2


def test_a_single_item_that_cannot_be_read_is_an_error(records):
    _delete(records[0].path)
    with pytest.raises(UnreadableImageError, match=r"0\.jpg.*doctor\.py fix"):
        loader(records).dataset[0]


def test_known_problems_are_not_reported_again():
    problems = ImageProblems({"a.jpg", "b.jpg"}, {"c.jpg": "no such file: c.jpg"})
    assert not list(problems.without(problems).lines("left out"))
    new = problems.without(ImageProblems({"a.jpg"}, {"x.jpg": ""}))
    assert new == ImageProblems({"b.jpg"}, problems.unreadable)
    assert len(list(new.lines("left out"))) == 2


def test_a_loaded_dataset_gives_truncated_images_with_one_warning(records, capsys):
    _cut(records[0].path)
    dataset = SplitDataset(records, ClassNames(("kite",)))
    assert dataset[0][0].shape == dataset[0][0].shape == (3, *HW)
    assert capsys.readouterr().err.count("0.jpg is truncated") == 1
