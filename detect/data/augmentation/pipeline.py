"""From an image and its ground truth to what a detector trains on.

Scale jitter must reach the backbone: torchvision's own transform would resize every image to the same side
again, so the resizing happens here and the model is told not to (``detect.models.builder``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from detect.data.augmentation import mosaic
from detect.data.augmentation.copy_paste import GroundTruth, cut, paste_objects
from detect.data.augmentation.cutout import cut_out
from detect.data.augmentation.photometric import Photometric
from detect.data.augmentation.presets import Augmentation
from detect.structures import masks as mask_codes
from detect.structures.image_size import resized_hw
from detect.structures.masks import Polygons, Rle


def resize_masks(
    masks: Sequence[Polygons | Rle], image_hw: tuple[int, int], target_hw: tuple[int, int]
) -> list[np.ndarray]:
    """Each mask as a uint8 0/1 bitmap of ``target_hw``. Polygons are scaled before they are filled, which costs
    as much as the target is large, not as the original. What is too thin to cover the middle of a pixel has those that
    it touches."""
    scale_y, scale_x = target_hw[0] / image_hw[0], target_hw[1] / image_hw[1]
    bitmaps = []
    for mask in masks:
        if isinstance(mask, list):
            scaled = [(np.asarray(p).reshape(-1, 2) * (scale_x, scale_y)).ravel().tolist() for p in mask]
            bitmap = mask_codes.to_bitmap(mask_codes.from_polygons(scaled, target_hw))
        else:
            whole = mask_codes.to_bitmap(mask_codes.from_coco(mask, image_hw))
            bitmap = cv2.resize(whole, target_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        bitmaps.append(bitmap if bitmap.any() else _touched(mask, image_hw, target_hw))
    return bitmaps


def _touched(mask: Polygons | Rle, image_hw: tuple[int, int], target_hw: tuple[int, int]) -> np.ndarray:
    """The pixels of ``target_hw`` in which a pixel of the mask has its middle."""
    bitmap = np.zeros(target_hw, np.uint8)
    y, x = np.nonzero(mask_codes.to_bitmap(mask_codes.from_coco(mask, image_hw)))
    bitmap[(2 * y + 1) * target_hw[0] // (2 * image_hw[0]), (2 * x + 1) * target_hw[1] // (2 * image_hw[1])] = 1
    return bitmap


@dataclass(frozen=True)
class Sample:
    """An image that is still to be read, with its boxes, labels, crowd flags and masks (polygons or RLE, or None) on
    its pixels.

    read: gives it resized to a (height, width), uint8 RGB [H, W, 3].  image_hw: the size that it has itself.
    """

    read: Callable[[tuple[int, int]], np.ndarray]
    image_hw: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    iscrowd: np.ndarray
    masks: Sequence[Polygons | Rle] | None


class TrainTransform:
    """Scale jitter, mosaic, objects from another image, cut-out, mirror, and what light and lens do to an image.

    imgsz: the short side in pixels around which the jitter draws. An image that grew keeps a random window of the
        size it has at factor 1, so that zooming in costs the model no more (large-scale jitter, Ghiasi et al.,
        https://arxiv.org/abs/2012.07177); a mosaic is as large as its first image at factor 1.
    augmentation: how strongly.
    epochs: how many there will be, of which the last ones have no mosaics; None: all have.
    """

    def __init__(self, imgsz: int, augmentation: Augmentation, epochs: int | None = None) -> None:
        self.imgsz = imgsz
        self.augmentation = augmentation
        self.mosaic_epochs = math.inf if epochs is None else augmentation.mosaic_epochs(epochs)
        self._photometric = Photometric(augmentation)

    def __call__(
        self,
        sample: Sample,
        rng: np.random.Generator,
        another: Callable[[int], Sample] | None = None,
        of: int = 0,
        epoch: int = 0,
    ) -> tuple[np.ndarray, GroundTruth]:
        """The augmented image, uint8 RGB, and its ground truth, with crowds.

        another: gives the sample of any number below ``of``, which may lend objects or be part of a mosaic.
        epoch: the number of this one, from 0.
        Everything random comes from ``rng``, so that an item depends on its seed alone.
        """
        strength = self.augmentation
        others = another if of else None
        is_mosaic, factor = self._first_draws(rng, epoch, bool(others))
        if others and is_mosaic:
            drawn = [others(int(number)) for number in rng.integers(of, size=mosaic.IMAGES - 1)]
            image, ground_truth = self._mosaic([sample, *drawn], rng)
        else:
            image, ground_truth = self._scaled(sample, factor, rng)
            if others and ground_truth.masks is not None and rng.random() < strength.copy_paste:
                lender = self._scaled(others(int(rng.integers(of))), self._factor(rng), rng)
                image, ground_truth = paste_objects(image, ground_truth, *lender, rng)
        if rng.random() < strength.cutout:
            image, ground_truth = cut_out(image, ground_truth, rng)
        return self._photometric(image, ground_truth, rng)

    def size_hw(
        self, image_hw: tuple[int, int], rng: np.random.Generator, epoch: int = 0, *, has_others: bool = False
    ) -> tuple[int, int]:
        """The (height, width) of what a call makes of an image of ``image_hw``, with ``rng`` as it gets it; so a
        loader knows which images will be of like size."""
        is_mosaic, factor = self._first_draws(rng, epoch, has_others)
        return resized_hw(image_hw, self.imgsz if is_mosaic else min(self.imgsz, round(self.imgsz * factor)))

    def _first_draws(self, rng: np.random.Generator, epoch: int, has_others: bool) -> tuple[bool, float]:
        """Whether an image becomes part of a mosaic, and its factor otherwise."""
        chance = self.augmentation.mosaic if has_others and epoch < self.mosaic_epochs else 0.0
        return rng.random() < chance, self._factor(rng)

    def _scaled(self, sample: Sample, factor: float, rng: np.random.Generator) -> tuple[np.ndarray, GroundTruth]:
        """The image at a scale, cut to a random window where it is larger than at factor 1."""
        target_hw = resized_hw(sample.image_hw, round(self.imgsz * factor))
        return _read(sample, target_hw, resized_hw(sample.image_hw, self.imgsz), rng)

    def _mosaic(self, samples: Sequence[Sample], rng: np.random.Generator) -> tuple[np.ndarray, GroundTruth]:
        """A random window of each of four images, at half of a random scale or as large as fills its quarter."""
        hw = resized_hw(samples[0].image_hw, self.imgsz)
        places, parts = mosaic.quarters(hw, rng), []
        for sample, (x0, y0, x1, y1) in zip(samples, places, strict=True):
            height, width = resized_hw(sample.image_hw, self.imgsz)
            # A pixel more, since sizes are rounded down. An odd shape is not enlarged beyond the jitter's range.
            filling = min(max((y1 - y0 + 1) / height, (x1 - x0 + 1) / width), self.augmentation.jitter[1])
            factor = max(filling, self._factor(rng) / 2)
            target_hw = resized_hw(sample.image_hw, math.ceil(self.imgsz * factor))
            parts.append(_read(sample, target_hw, (y1 - y0, x1 - x0), rng))
        return mosaic.join(hw, parts, places)

    def _factor(self, rng: np.random.Generator) -> float:
        """On ``imgsz``, drawn from the jitter's range."""
        return math.exp(rng.uniform(*np.log(self.augmentation.jitter)))


def _read(
    sample: Sample, target_hw: tuple[int, int], most_hw: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, GroundTruth]:
    """The sample resized to ``target_hw``, and of that a random window of no more than ``most_hw``."""
    image = sample.read(target_hw)
    height, width = (min(pair) for pair in zip(target_hw, most_hw, strict=True))
    y, x = int(rng.integers(target_hw[0] - height + 1)), int(rng.integers(target_hw[1] - width + 1))
    scale = np.array([target_hw[1] / sample.image_hw[1], target_hw[0] / sample.image_hw[0]] * 2, np.float32)
    boxes = sample.boxes * scale
    inside = np.flatnonzero((boxes[:, 2:] > (x, y)).all(axis=1) & (boxes[:, :2] < (x + width, y + height)).all(axis=1))
    masks = None
    if sample.masks is not None:  # to fill one costs as much as the image is large
        masks = resize_masks([sample.masks[i] for i in inside.tolist()], sample.image_hw, target_hw)
    ground_truth = GroundTruth(
        boxes[inside], sample.labels[inside], sample.iscrowd[inside], masks, not sample.iscrowd.any()
    )
    if (height, width) == target_hw:
        return image, ground_truth
    return cut(image, ground_truth, (x, y, x + width, y + height))
