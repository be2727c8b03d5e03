"""Invariants of every augmentation: pixels, box, label, mask and crowd flag of an object agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from detect.data.augmentation import PRESETS, Augmentation
from detect.data.augmentation.ground_truth import MIN_VISIBLE, GroundTruth
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.augmentation.sample import Sample
from detect.data.dataset import DetectionDataset
from detect.structures.image_record import ImageRecord

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core

IMGSZ = 96
BACKGROUND = 20
CELL = 50  # px; a cell holds at most one object
MIN_SIDE = 20
MAX_FACTOR = 2.0  # of the jitter

WIDE_JITTER = (0.5, MAX_FACTOR)
PARTS = {
    "nothing": Augmentation("none"),
    "flip": Augmentation("none", flip=1),
    "jitter": Augmentation("none", WIDE_JITTER),
    "mosaic": Augmentation("none", mosaic=1),
    "mosaic and jitter": Augmentation("none", WIDE_JITTER, mosaic=1),
    "copy-paste": Augmentation("none", copy_paste=1),
    "cut-out": Augmentation("none", cutout=1),
    "all": Augmentation("none", WIDE_JITTER, flip=0.5, mosaic=0.4, copy_paste=0.8, cutout=0.8),
}


@dataclass(frozen=True)
class Drawn:
    """A rectangle or ellipse inscribed in ``box`` (xyxy), with a color and a label of its own."""

    number: int
    box: tuple[int, int, int, int]
    is_ellipse: bool
    is_crowd: bool

    @property
    def label(self) -> int:
        return self.number + 1

    @property
    def color(self) -> tuple[int, int, int]:
        """Red and green add up to 255; no blend with the background does."""
        return 40 + 3 * self.number, 215 - 3 * self.number, self.number**2 * 17 % 251

    @property
    def polygon(self) -> np.ndarray:
        """Vertices, float64 [P, 2]."""
        x0, y0, x1, y1 = self.box
        turns = np.linspace(0, 2 * np.pi, 60)
        if self.is_ellipse:
            half = np.array([x1 - x0, y1 - y0]) / 2
            return (x0, y0) + half + half * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


@dataclass(frozen=True)
class Scene:
    """Objects on a gray background."""

    hw: tuple[int, int]
    objects: tuple[Drawn, ...]
    with_masks: bool

    def sample(self) -> Sample:
        image = np.full((*self.hw, 3), BACKGROUND, np.uint8)
        y, x = np.mgrid[: self.hw[0], : self.hw[1]] + 0.5
        for one in self.objects:
            x0, y0, x1, y1 = one.box
            if one.is_ellipse:
                image[((2 * x - x0 - x1) / (x1 - x0)) ** 2 + ((2 * y - y0 - y1) / (y1 - y0)) ** 2 <= 1] = one.color
            else:
                image[y0:y1, x0:x1] = one.color
        return Sample(
            lambda hw: cv2.resize(image, hw[::-1], interpolation=cv2.INTER_LINEAR),
            self.hw,
            np.array([one.box for one in self.objects], np.float32).reshape(-1, 4),
            np.array([one.label for one in self.objects], np.int64),
            np.array([one.is_crowd for one in self.objects], bool),
            [[one.polygon.ravel().tolist()] for one in self.objects] if self.with_masks else None,
        )


@st.composite
def scenes(draw: st.DrawFn, numbers: Iterator[int], *, with_masks: bool) -> Scene:
    """Draw rectangles (and ellipses if there are masks), each in its own cell."""
    rows, columns = draw(st.integers(2, 4)), draw(st.integers(2, 4))
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    objects = []
    for row, column in draw(st.lists(st.sampled_from(cells), max_size=5, unique=True)):
        w, h = draw(st.integers(MIN_SIDE, CELL - 2)), draw(st.integers(MIN_SIDE, CELL - 2))
        x = column * CELL + draw(st.integers(0, CELL - 2 - w))
        y = row * CELL + draw(st.integers(0, CELL - 2 - h))
        is_ellipse = with_masks and draw(st.booleans())
        objects.append(Drawn(next(numbers), (x, y, x + w, y + h), is_ellipse, draw(st.booleans())))
    return Scene((rows * CELL, columns * CELL), tuple(objects), with_masks)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True, phases=[Phase.generate, Phase.shrink])
@given(data=st.data(), seed=st.integers(0, 2**32))
@pytest.mark.parametrize("with_masks", [True, False])
@pytest.mark.parametrize("part", PARTS)
def test_pixels_box_mask_and_crowd_flag_of_an_object_agree(part, with_masks, data, seed):
    numbers = count()
    drawn = [data.draw(scenes(numbers, with_masks=with_masks)) for _ in range(5)]
    others = iter(drawn[1:])  # every sample is used once, so that labels and colors are unique
    transform = TrainTransform(IMGSZ, PARTS[part])
    image, ground_truth = transform(
        drawn[0].sample(), np.random.default_rng(seed), lambda _: next(others).sample(), num_others=4
    )

    assert (ground_truth.masks is not None) == with_masks
    assert (
        ground_truth.boxes.dtype == np.float32
        and ground_truth.labels.dtype == np.int64
        and ground_truth.iscrowd.dtype == bool
    )
    assert (
        len(set(ground_truth.labels.tolist()))
        == len(ground_truth.labels)
        == len(ground_truth.boxes)
        == len(ground_truth.iscrowd)
    )
    for scene in drawn:
        for one in scene.objects:
            enlarged = MAX_FACTOR * IMGSZ / min(scene.hw)
            assert_object_agrees(image, ground_truth, one, enlarged)


def assert_object_agrees(image: np.ndarray, ground_truth: GroundTruth, one: Drawn, enlarged: float) -> None:
    """enlarged: the largest factor by which the object can have been scaled."""
    seen = (image == one.color).all(axis=2)  # without its rim, which is blended
    rows = np.flatnonzero(ground_truth.labels == one.label)
    if len(rows) == 0:
        width, height = enlarged * np.subtract(one.box[2:], one.box[:2])
        assert seen.sum() <= (1 if one.is_crowd else MIN_VISIBLE * (width + 1) * (height + 1))
        return
    (row,) = rows
    assert ground_truth.iscrowd[row] == one.is_crowd
    x0, y0, x1, y1 = ground_truth.boxes[row]
    assert 0 <= x0 < x1 <= image.shape[1] and 0 <= y0 < y1 <= image.shape[0]
    y, x = np.nonzero(seen)
    assert ((x0 - 1 <= x) & (x + 1 <= x1 + 1) & (y0 - 1 <= y) & (y + 1 <= y1 + 1)).all()
    left, top, right, bottom = int(x0), int(y0), int(x1) + 1, int(y1) + 1
    y, x = np.nonzero((seen | is_rim(image, one))[top:bottom, left:right])
    if len(x) == 0:
        assert one.is_crowd and min(x1 - x0, y1 - y0) < 1, "a crowd is kept even if less than a pixel is visible"
        return
    shown = left + x.min(), top + y.min(), left + x.max() + 1, top + y.max() + 1
    np.testing.assert_allclose(shown, ground_truth.boxes[row], atol=1.5)
    if ground_truth.masks is not None:
        mask = ground_truth.masks[row]
        assert mask.shape == image.shape[:2] and mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1}
        by_one = np.ones((3, 3), np.uint8)
        inner = cv2.erode(mask, by_one, iterations=2, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        assert not (seen & ~cv2.dilate(mask, by_one).astype(bool)).any()
        assert not (inner.astype(bool) & ~seen).any()


def is_rim(image: np.ndarray, one: Drawn) -> np.ndarray:
    """Return bool [H, W]: where the color of the object is blended with the background."""
    away, whole = image.astype(float) - BACKGROUND, np.array(one.color, float) - BACKGROUND
    fraction = away @ whole / (whole @ whole)
    return (fraction > 0.1) & (np.abs(away - fraction[..., None] * whole).max(axis=2) < 1.5)


# Randomness


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    """Return six noise images with two objects and a crowd each; the last one is empty."""
    rng, found = np.random.default_rng(0), []
    boxes = np.float32([[5, 5, 40, 30], [50, 20, 85, 55], [0, 40, 45, 60]])
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        n = 0 if i == 5 else 3
        masks = [[[x0, y0, x1, y0, x1, y1, x0, y1]] for x0, y0, x1, y1 in boxes[:n].tolist()]
        found.append(
            ImageRecord(
                path=tmp_path / f"{i}.png",
                image_hw=(60, 90),
                image_id=i,
                boxes=boxes[:n],
                labels=np.array([3, 1, 2][:n]),
                areas=np.full(n, 100.0),
                iscrowd=np.array([False, False, True][:n], bool),
                annotation_ids=np.arange(n),
                masks=masks,
            )
        )
    return found


def strong(
    records: list[ImageRecord], *, seed: int = 0, epoch: int = 0, epochs: int | None = None
) -> DetectionDataset:
    dataset = DetectionDataset(records, TrainTransform(64, Augmentation("strong"), epochs), with_masks=True, seed=seed)
    dataset.epoch = epoch
    return dataset


def as_bytes(item: tuple) -> bytes:
    image, target = item
    return b"".join(part.numpy().tobytes() for part in (image, *(target[key] for key in sorted(target))))


@pytest.mark.parametrize("epoch", [0, 3])
def test_item_depends_neither_on_worker_nor_on_earlier_epochs(records, epoch):
    used = strong(records)
    for used.epoch in (2, 1, epoch):
        random_state = np.random.get_state()[1].tolist()
        alone = [as_bytes(used[i]) for i in range(6)]
        assert np.random.get_state()[1].tolist() == random_state
    for workers in (0, 1, 2):
        torch.manual_seed(workers)
        fresh = strong(records, epoch=epoch)
        assert [as_bytes(item) for item in DataLoader(fresh, batch_size=None, num_workers=workers)] == alone


def test_item_depends_on_seed_epoch_and_index(records):
    same = [records[0]] * 4
    made = [as_bytes(strong(same, seed=seed, epoch=epoch)[i]) for seed in (0, 1) for epoch in (0, 1) for i in range(4)]
    assert len(set(made)) == 16


def test_last_epochs_have_no_mosaics(records):
    def objects(epoch: int) -> int:
        alone = Augmentation("strong", mosaic=1.0, copy_paste=0.0)
        dataset = DetectionDataset(records, TrainTransform(64, alone, epochs=10), with_masks=True)
        dataset.epoch = epoch
        return max(len(dataset[i][1]["boxes"]) for i in range(5))

    assert all(objects(epoch) > 2 for epoch in (0, 7)) and all(objects(epoch) <= 2 for epoch in (8, 9))


def test_data_without_masks_has_mosaics_but_no_copy_paste(records):
    bare = [replace(record, masks=None) for record in records]
    dataset = DetectionDataset(bare, TrainTransform(64, Augmentation("strong", copy_paste=1.0)), with_masks=False)
    counts = [len(dataset[i][1]["boxes"]) for dataset.epoch in range(8) for i in range(6)]
    assert max(counts) > 2
    dataset.transform = TrainTransform(64, Augmentation("strong", copy_paste=1.0, mosaic=0.0))
    assert max(len(dataset[i][1]["boxes"]) for dataset.epoch in range(8) for i in range(6)) == 2


@pytest.mark.parametrize("name", PRESETS)
def test_no_target_contains_crowds(records, name):
    dataset = DetectionDataset(records, TrainTransform(64, Augmentation(name)), with_masks=True)
    for dataset.epoch in range(4):
        for i in range(6):
            image, target = dataset[i]
            assert not (target["labels"] == 2).any()
            assert len(target["boxes"]) == len(target["labels"]) == len(target["masks"])
            assert target["masks"].shape[1:] == image.shape[1:]
