"""Training batches: independent of the number of workers, different in every epoch, repeatable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset
from detect.data.loader import TrainLoader
from detect.structures.image_record import ImageRecord

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core

SIZES = [(60, 90), (90, 60), (60, 80), (64, 64), (90, 70), (60, 75), (85, 60)]  # (height, width)


@pytest.fixture
def dataset(tmp_path: Path) -> DetectionDataset:
    """Seven noise images with one object each and the image ids 100 to 106."""
    rng = np.random.default_rng(0)
    for i, hw in enumerate(SIZES):
        Image.fromarray(rng.integers(0, 256, (*hw, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    records = [
        ImageRecord(
            path=tmp_path / f"{i}.png",
            image_hw=hw,
            image_id=100 + i,
            boxes=np.float32([[5, 5, 40, 50]]),
            labels=np.array([1]),
            areas=np.array([1575.0]),
            iscrowd=np.zeros(1, bool),
            annotation_ids=np.array([i]),
        )
        for i, hw in enumerate(SIZES)
    ]
    return DetectionDataset(records, TrainTransform(64, Augmentation()), with_masks=False, seed=5)


def content(batches) -> list[list[tuple[int, bytes]]]:
    """Return the image id and the pixels of each item, batch by batch."""
    return [
        [(int(t["image_id"]), image.numpy().tobytes()) for image, t in zip(*batch, strict=True)] for batch in batches
    ]


def ids(batches) -> list[list[int]]:
    return [[image_id for image_id, _ in batch] for batch in content(batches)]


@pytest.mark.parametrize("workers", [0, 2])
def test_epoch_does_not_depend_on_earlier_epochs_or_workers(dataset, workers):
    loader = TrainLoader(dataset, 2, workers)
    in_order = [content(loader.epoch(epoch)) for epoch in (0, 1, 2)]
    assert content(loader.epoch(1)) == in_order[1], "repeated epoch"
    assert content(TrainLoader(dataset, 2, 0).epoch(2)) == in_order[2], "first epoch, without workers"
    assert len({str(one) for one in in_order}) == 3


def test_worker_processes_persist_between_epochs(dataset):
    loader = TrainLoader(dataset, 2, 2)
    seen = []
    for epoch in range(2):
        assert len(list(loader.epoch(epoch))) == 4
        seen.append([worker.pid for worker in loader._loader._iterator._workers])
    assert seen[0] == seen[1]


def test_epoch_abandoned_early_does_not_affect_the_next(dataset):
    loader = TrainLoader(dataset, 2, 2)
    expected = content(loader.epoch(1))
    next(iter(loader.epoch(0)))
    assert content(loader.epoch(1)) == expected


def test_length_is_the_number_of_batches(dataset):
    loader = TrainLoader(dataset, 3, 0, repeats=np.full(7, 2.0))
    assert len(TrainLoader(dataset, 3, 0).epoch(0)) == 3 and len(loader.epoch(0)) == 5


def test_repeated_image_is_augmented_differently_each_time(dataset):
    loader = TrainLoader(dataset, 2, 0, repeats=np.array([3.0, 1, 1, 1, 1, 1, 1]))
    items = [item for epoch in range(2) for batch in content(loader.epoch(epoch)) for item in batch]
    assert sorted(i for i, _ in items) == sorted([100] * 6 + [*range(101, 107)] * 2)
    assert len({pixels for _, pixels in items}) == len(items)


def test_landscapes_and_portraits_share_few_batches(dataset):
    mixed = 0
    for epoch in range(20):
        for images, _ in TrainLoader(dataset, 2, 0).epoch(epoch):
            mixed += len({image.shape[1] > image.shape[2] for image in images if image.shape[1] != image.shape[2]}) > 1
    assert mixed <= 20, "one of four batches; two at random"


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_divide_the_batches_that_one_process_would_accumulate(dataset, processes):
    alone = TrainLoader(dataset, 1, 0, accumulate=processes)
    loaders = [TrainLoader(dataset, 1, 0, rank=rank, world_size=processes) for rank in range(processes)]
    for epoch in range(3):
        shares = [content(loader.epoch(epoch)) for loader in loaders]
        in_turn = [batch for step in zip(*shares, strict=True) for batch in step]
        assert in_turn == content(alone.epoch(epoch))


def test_images_repeat_only_in_a_last_step_with_too_few_images(dataset):
    for processes, batch_size, twice in ((2, 3, 1), (4, 1, 1), (5, 1, 3), (7, 1, 0), (2, 2, 0)):
        loaders = [TrainLoader(dataset, batch_size, 0, rank=rank, world_size=processes) for rank in range(processes)]
        shares = [ids(loader.epoch(0)) for loader in loaders]
        assert len({len(share) for share in shares}) == 1
        seen = [i for share in shares for batch in share for i in batch]
        assert set(seen) == set(range(100, 107)) and len(seen) == 7 + twice


@pytest.mark.parametrize("done", [0, 2, 4, 6])
def test_epoch_continues_after_the_batches_done(dataset, done):
    for rank in range(2):
        loader = TrainLoader(dataset, 1, 0, rank=rank, world_size=2)
        assert content(loader.epoch(1, done)) == content(loader.epoch(1))[done // 2 :]


def test_sizes_are_known_without_reading_images(dataset):
    dataset.transform = TrainTransform(64, Augmentation("strong", copy_paste=0), epochs=3)
    for epoch in range(3):
        for i in range(7):
            for again in range(2):
                image, _ = dataset.item(i, epoch, again)
                assert image.shape[1:] == dataset.size_hw(i, epoch, again)


def test_empty_dataset_has_no_batches(dataset):
    empty = DetectionDataset([], dataset.transform, with_masks=False)
    assert len(TrainLoader(empty, 2, 0).epoch(0)) == 0 and list(TrainLoader(empty, 2, 0).epoch(0)) == []


def test_global_random_state_has_no_influence(dataset):
    before = content(TrainLoader(dataset, 2, 0).epoch(0))
    torch.manual_seed(99), np.random.seed(99)
    assert content(TrainLoader(dataset, 2, 0).epoch(0)) == before
