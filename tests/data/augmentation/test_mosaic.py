"""Mosaic: four images fill an image of the size of the first one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from detect.data.augmentation import Augmentation, mosaic
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.augmentation.sample import Sample
from detect.structures.image_size import resized_hw

IMGSZ = 96
SHAPES = ((480, 640), (640, 480), (333, 333), (400, 900), (1200, 1600))


def plain(value: int, hw: tuple[int, int], asked: list[tuple[int, int]] | None = None) -> Sample:
    """Return a gray image without objects; the sizes at which it is read are appended to ``asked``."""

    def read(target_hw: tuple[int, int]) -> np.ndarray:
        if asked is not None:
            asked.append(target_hw)
        return np.full((*target_hw, 3), value, np.uint8)

    no_objects = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
    return Sample(read, hw, *no_objects, None)


def mosaic_of(samples: list[Sample], seed: int, jitter: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    others = iter(samples[1:])
    transform = TrainTransform(IMGSZ, Augmentation("none", jitter=jitter, mosaic=1))
    return transform(samples[0], np.random.default_rng(seed), lambda _: next(others), num_others=9)[0]


def test_quarters_fill_the_image_without_overlap():
    orders = set()
    for seed in range(40):
        covered = np.zeros((70, 120), int)
        quarters = mosaic.random_quarters(covered.shape, np.random.default_rng(seed))
        for x0, y0, x1, y1 in quarters:
            assert x1 - x0 >= 0.29 * 120 and y1 - y0 >= 0.29 * 70
            covered[y0:y1, x0:x1] += 1
        assert (covered == 1).all()
        orders.add(tuple((x0 == 0, y0 == 0) for x0, y0, _, _ in quarters))
    assert len(orders) > 15, "of 24 permutations"


@pytest.mark.parametrize("first", SHAPES)
def test_four_images_fill_the_size_of_the_first(first):
    for seed in range(10):
        samples = [plain(10 * i, hw) for i, hw in enumerate((first, *SHAPES), 1)]
        image = mosaic_of(samples, seed, (0.5, 2.0))
        assert image.shape[:2] == resized_hw(first, IMGSZ)
        values, counts = np.unique(image[..., 0], return_counts=True)
        assert values.tolist() == [10, 20, 30, 40] and counts.min() > 0.08 * counts.sum()


def test_very_long_image_is_not_enlarged_beyond_the_jitter_range():
    asked: list[tuple[int, int]] = []
    image = mosaic_of([plain(10, (480, 640)), *(plain(10, (20, 900), asked) for _ in range(3))], seed=0)
    assert set(np.unique(image)) == {10, mosaic.FILL}, "the rest of its quarter is gray"
    assert len(asked) == 3 and max(w for _, w in asked) <= 1.67 * (IMGSZ + 1)


def test_images_are_read_no_larger_than_jitter_or_quarter_require():
    for seed in range(20):
        asked: list[tuple[int, int]] = []
        mosaic_of([plain(10, (480, 640), asked) for _ in range(4)], seed)
        assert all(0.5 * IMGSZ <= h <= 0.75 * IMGSZ for h, _ in asked)


def test_objects_move_with_their_image_and_have_masks_if_all_images_do():
    def one(value: int, with_masks: bool) -> Sample:
        image = np.zeros((96, 96, 3), np.uint8)
        image[30:66, 30:66] = value
        square = [[30.0, 30.0, 66.0, 30.0, 66.0, 66.0, 30.0, 66.0]]
        return Sample(
            lambda hw: cv2.resize(image, hw[::-1], interpolation=cv2.INTER_NEAREST),
            (96, 96),
            np.float32([[30, 30, 66, 66]]),
            np.array([value]),
            np.array([value == 50]),
            [square] if with_masks else None,
        )

    found = set()
    for seed in range(20):
        for with_masks in (True, False):
            others = iter([one(value, with_masks) for value in (50, 60, 70)])
            transform = TrainTransform(IMGSZ, Augmentation("none", mosaic=1))
            image, ground_truth = transform(
                one(40, with_masks), np.random.default_rng(seed), lambda _, others=others: next(others), num_others=3
            )
            assert (ground_truth.masks is None) != with_masks and not ground_truth.complete
            for box, label, is_crowd in zip(
                ground_truth.boxes, ground_truth.labels, ground_truth.iscrowd, strict=True
            ):
                x, y = ((box[:2] + box[2:]) / 2).astype(int)
                assert (image[y, x] == label).all() and is_crowd == (label == 50)
            found |= set(ground_truth.labels.tolist())
    assert found == {40, 50, 60, 70}


def test_single_image_never_becomes_a_mosaic():
    image, _ = TrainTransform(IMGSZ, Augmentation("none", mosaic=1))(plain(10, (480, 640)), np.random.default_rng(0))
    assert set(np.unique(image)) == {10}


def test_last_fifth_of_the_epochs_has_no_mosaics():
    assert [mosaic.Mosaic(0.5).num_epochs(n) for n in (1, 2, 5, 20, 60)] == [0, 1, 4, 16, 48]
    assert mosaic.Mosaic(0.0).num_epochs(20) == 0
