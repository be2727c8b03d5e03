"""Training transform: image sizes, boxes and masks that stay on their objects, and randomness from the seed only."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest
import torch
from torchvision.models.detection.transform import _resize_image_and_masks

from detect.data.augmentation import COLORS, Augmentation
from detect.data.augmentation.ground_truth import GroundTruth
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.augmentation.sample import Sample, resize_masks
from detect.structures import masks
from detect.structures.image_size import max_long_side, resized_hw

HW = (90, 140)
# Two white objects on black that do not overlap after a flip: (label, box).
OBJECTS = ((5, (8, 10, 48, 40)), (2, (70, 50, 120, 80)))


def polygon(box: tuple[float, ...]) -> list[list[float]]:
    x0, y0, x1, y1 = box
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def rle(box: tuple[float, ...]) -> masks.Rle:
    return masks.from_polygons(polygon(box), HW)


def scene(mask_of=polygon):
    """Return the image of ``OBJECTS``, boxes, labels and masks."""
    image = np.zeros((*HW, 3), np.uint8)
    for _, (x0, y0, x1, y1) in OBJECTS:
        image[y0:y1, x0:x1] = 255
    boxes = np.float32([box for _, box in OBJECTS])
    return image, boxes, np.array([label for label, _ in OBJECTS]), [mask_of(box) for _, box in OBJECTS]


def sample(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, polygons: list | None) -> Sample:
    """Return a sample without crowds that resizes ``image`` instead of reading a file."""

    def read(hw: tuple[int, int]) -> np.ndarray:
        return cv2.resize(image, hw[::-1], interpolation=cv2.INTER_LINEAR)

    return Sample(read, image.shape[:2], boxes, labels, np.zeros(len(boxes), bool), polygons)


def default_transform(imgsz: int, jitter: tuple[float, float], **parts: str) -> TrainTransform:
    """Return the default augmentation with another jitter."""
    return TrainTransform(imgsz, Augmentation(jitter=list(jitter), **parts))


def transformed(seed: int, *, imgsz: int = 96, mask_of=polygon) -> tuple[np.ndarray, GroundTruth]:
    return default_transform(imgsz, (0.6, 1.0))(sample(*scene(mask_of)), np.random.default_rng(seed))


def box_of(bitmap: np.ndarray) -> np.ndarray:
    return masks.box(masks.from_bitmap(bitmap))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return np.logical_and(a, b).sum() / np.logical_or(a, b).sum()


# Sizes


def test_resized_size_equals_torchvisions():
    rng = np.random.default_rng(0)
    sizes = [(480, 640), (427, 640), (20, 900), (900, 20), (333, 333), *rng.integers(20, 900, (60, 2)).tolist()]
    for hw in sizes:
        for short in (100, 333, 480):
            resized, _ = _resize_image_and_masks(torch.zeros(1, *hw), short, max_long_side(short))
            assert resized_hw(hw, short) == tuple(resized.shape[1:]), (hw, short)


def test_jitter_changes_the_image_size():
    """torchvision's own transform would resize every image to the same size and undo the jitter."""
    sides = [min(transformed(seed, imgsz=100)[0].shape[:2]) for seed in range(60)]
    assert 60 <= min(sides) < 65 and 95 < max(sides) <= 100 and len(set(sides)) > 20


def test_enlarged_image_is_cropped_to_its_size_without_jitter():
    transform = default_transform(72, (2, 2))
    results = [transform(sample(*scene()), np.random.default_rng(seed)) for seed in range(20)]
    assert {image.shape for image, _ in results} == {(72, 112, 3)}
    widths = [
        box[2] - box[0] for _, ground_truth in results for box in ground_truth.boxes if box[0] > 0 and box[2] < 112
    ]
    assert widths and all(abs(w / 40 - 2 * 0.8) < 0.1 or abs(w / 50 - 2 * 0.8) < 0.1 for w in widths)
    assert len({as_bytes(result) for result in results}) > 15


def test_image_without_jitter_has_the_size_imgsz():
    transform = default_transform(72, (1, 1))
    sizes = {transform(sample(*scene()), np.random.default_rng(seed))[0].shape for seed in range(5)}
    assert sizes == {(72, 112, 3)}


# Ground truth


@pytest.mark.parametrize("mask_of", [polygon, rle])
def test_pixels_box_and_mask_of_an_object_agree(mask_of):
    for seed in range(40):
        image, ground_truth = transformed(seed, mask_of=mask_of)
        assert ground_truth.labels.tolist() == [5, 2] and len(ground_truth.masks) == 2
        gray = image.mean(axis=2)
        bright = gray > (gray.min() + gray.max()) / 2  # at any brightness
        assert iou(bright, np.any(ground_truth.masks, axis=0)) > 0.93, seed
        for box, bitmap in zip(ground_truth.boxes, ground_truth.masks, strict=True):
            assert bitmap.shape == image.shape[:2] and bitmap.dtype == np.uint8 and bitmap.max() == 1
            np.testing.assert_allclose(box_of(bitmap), box, atol=1.0)


def test_half_of_the_images_are_flipped():
    left = [transformed(seed)[1].boxes[0, 0] < transformed(seed)[1].boxes[1, 0] for seed in range(40)]
    assert 10 <= sum(left) <= 30


def test_resized_polygons_agree_with_resized_rle_masks():
    """OpenCV's INTER_NEAREST would shift RLE masks by up to half a pixel to the right and down."""
    rng = np.random.default_rng(0)
    for target_hw in ((45, 70), (120, 150), (300, 466)):
        turns = np.sort(rng.uniform(0, 2 * np.pi, 40))
        radii = rng.uniform(25, 42, 40)
        blob = [np.stack([70 + radii * np.cos(turns), 45 + radii * np.sin(turns)], axis=1).ravel().tolist()]
        scaled, resized = resize_masks([blob, masks.from_polygons(blob, HW)], HW, target_hw)
        assert scaled.shape == resized.shape == target_hw and scaled.dtype == resized.dtype == np.uint8
        assert iou(scaled, resized) > 0.95


@pytest.mark.parametrize("is_rle", [False, True])
def test_mask_thinner_than_a_pixel_keeps_its_pixels(is_rle):
    thin = [[70, 10, 71, 10, 71, 40, 70, 40]]
    mask = masks.from_polygons(thin, HW) if is_rle else thin
    for target_hw in ((12, 20), (30, 47), (33, 51), (45, 70)):
        (bitmap,) = resize_masks([mask], HW, target_hw)
        scale = target_hw[1] / HW[1], target_hw[0] / HW[0]
        assert bitmap.shape == target_hw and bitmap.max() == 1
        np.testing.assert_allclose(box_of(bitmap), np.array([70, 10, 71, 40]) * (scale * 2), atol=1.0)


def test_ground_truth_has_the_types_torchvision_expects():
    image, ground_truth = transformed(3)
    assert image.dtype == np.uint8 and image.shape[2] == 3
    assert ground_truth.boxes.dtype == np.float32 and ground_truth.labels.dtype == np.int64
    height, width = image.shape[:2]
    assert (ground_truth.boxes >= 0).all() and (ground_truth.boxes <= [width, height, width, height]).all()


VANISHING = {
    "beyond the right edge": (150, 10, 190, 40),
    "touching the left edge": (-30, 10, 0, 40),
    "smaller than a pixel": (60, 20, 60.4, 20.4),
    "thinner than any float32": (60, 20, np.nextafter(np.float32(60), np.float32(61)), 40),
}


@pytest.mark.parametrize("box", VANISHING.values(), ids=VANISHING.keys())
@pytest.mark.parametrize("position", [0, 1, 2])
def test_vanishing_box_is_removed_with_its_label_and_mask(box, position):
    image, boxes, labels, polygons = scene()
    boxes = np.insert(boxes, position, box, axis=0).astype(np.float32)
    labels = np.insert(labels, position, 9)
    polygons.insert(position, polygon(tuple(map(float, box))))
    for seed in range(6):
        _, ground_truth = default_transform(96, (0.6, 1.0))(
            sample(image, boxes, labels, polygons), np.random.default_rng(seed)
        )
        assert ground_truth.labels.tolist() == [5, 2] and len(ground_truth.masks) == 2
        for kept, bitmap in zip(ground_truth.boxes, ground_truth.masks, strict=True):
            np.testing.assert_allclose(box_of(bitmap), kept, atol=1.0)


def test_box_is_clipped_to_the_image():
    image, *_ = scene()
    boxes = np.float32([[-50, -50, 70, 45], [100, 60, 500, 500]])
    polygons = [polygon(tuple(map(float, box))) for box in boxes]
    for seed in range(6):
        image_out, ground_truth = default_transform(96, (0.6, 1.0))(
            sample(image, boxes, np.array([1, 2]), polygons), np.random.default_rng(seed)
        )
        height, width = image_out.shape[:2]
        assert (
            ground_truth.boxes.min() >= 0
            and ground_truth.boxes[:, 2].max() <= width
            and ground_truth.boxes[:, 3].max() <= height
        )
        for box, bitmap in zip(ground_truth.boxes, ground_truth.masks, strict=True):
            np.testing.assert_allclose(box_of(bitmap), box, atol=1.0)


@pytest.mark.parametrize("polygons", [[], None])
def test_image_without_objects_is_allowed(polygons):
    no_objects = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    _, ground_truth = default_transform(96, (0.6, 1.0))(
        sample(scene()[0], *no_objects, polygons), np.random.default_rng(0)
    )
    assert ground_truth.boxes.shape == (0, 4) and ground_truth.boxes.dtype == np.float32
    assert ground_truth.labels.shape == (0,) and ground_truth.labels.dtype == np.int64
    assert ground_truth.masks == polygons


def test_data_without_masks_gives_no_masks():
    image, boxes, labels, _ = scene()
    _, ground_truth = default_transform(96, (0.6, 1.0))(sample(image, boxes, labels, None), np.random.default_rng(0))
    assert ground_truth.masks is None and ground_truth.labels.tolist() == [5, 2]


def test_given_arrays_stay_unchanged():
    image, boxes, labels, polygons = scene()
    default_transform(96, (0.6, 1.0))(sample(image, boxes, labels, polygons), np.random.default_rng(0))
    for before, after in zip(scene(), (image, boxes, labels, polygons), strict=True):
        np.testing.assert_array_equal(before, after)


# Randomness


def as_bytes(result: tuple[np.ndarray, GroundTruth]) -> bytes:
    image, ground_truth = result
    return b"".join(part.tobytes() for part in (image, ground_truth.boxes, ground_truth.labels, *ground_truth.masks))


def test_result_depends_on_the_seed_only():
    """Otherwise forked workers would draw the same values, and every epoch those of the previous one."""
    noisy = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
    used, results = default_transform(300, (0.6, 1.6)), []
    for seed in range(12):
        fresh = default_transform(300, (0.6, 1.6))(sample(noisy, *scene()[1:]), np.random.default_rng(seed))
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        again = used(sample(noisy, *scene()[1:]), np.random.default_rng(seed))
        assert as_bytes(fresh) == as_bytes(again)
        results.append(as_bytes(again))
    assert len(set(results)) == 12


@pytest.mark.parametrize("color", COLORS)
def test_strong_color_reaches_every_hue_and_grayscale(color):
    red = np.zeros((32, 32, 3), np.uint8)
    red[...] = (200, 40, 40)
    no_objects = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), None
    transform = default_transform(32, (1, 1), color=color)
    drawn = [
        transform(sample(red, *no_objects), np.random.default_rng(seed))[0][16, 16].astype(int) for seed in range(300)
    ]
    strongest = {int(np.argmax(rgb)) for rgb in drawn if np.ptp(rgb) > 30}
    gray = sum(np.ptp(rgb) <= 2 for rgb in drawn)
    if color == "strong":
        assert strongest == {0, 1, 2} and gray > 20
    else:
        assert strongest == {0} and (0 < gray < 30) == (color == "mild")
