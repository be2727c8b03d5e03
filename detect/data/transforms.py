"""From a picture and its truth to what a detector trains on.

Scale jitter must reach the backbone: torchvision's own transform would resize every picture to the same side
again, so the resizing happens here and the model is told not to (``detect.models.detectors``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for a newer version at import
import albumentations as A

from detect import masks as mask_codes
from detect.data.compose import Truth, cut, paste_objects
from detect.masks import Polygons, Rle
from detect.sizes import resized_hw


def resize_masks(
    masks: Sequence[Polygons | Rle], image_hw: tuple[int, int], target_hw: tuple[int, int]
) -> list[np.ndarray]:
    """Each mask as a uint8 0/1 bitmap of ``target_hw``. Polygons are scaled before they are filled, which costs
    as much as the target is large, not as the original."""
    scale_y, scale_x = target_hw[0] / image_hw[0], target_hw[1] / image_hw[1]
    bitmaps = []
    for mask in masks:
        if isinstance(mask, list):
            scaled = [(np.asarray(p).reshape(-1, 2) * (scale_x, scale_y)).ravel().tolist() for p in mask]
            bitmaps.append(mask_codes.to_bitmap(mask_codes.from_polygons(scaled, target_hw)))
        else:
            bitmap = mask_codes.to_bitmap(mask_codes.from_coco(mask, image_hw))
            bitmaps.append(cv2.resize(bitmap, target_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
    return bitmaps


# What happens to colours. `strong` gives a thing any hue or none, for classes that colour does not tell apart.
COLOURS = {
    "default": lambda: [A.HueSaturationValue(10, 30, 10, p=0.4), A.ToGray(p=0.03)],
    "strong": lambda: [A.HueSaturationValue(90, 60, 20, p=0.6), A.ToGray(p=0.15)],
}


@dataclass(frozen=True)
class Sample:
    """A picture that is still to be read, with its boxes, labels and masks (polygons or RLE, or None) on its pixels.

    read: gives it resized to a (height, width), uint8 RGB [H, W, 3].  image_hw: the size that it has itself.
    complete: as in ``Truth``.
    """

    read: Callable[[tuple[int, int]], np.ndarray]
    image_hw: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    masks: Sequence[Polygons | Rle] | None
    complete: bool = True


class TrainTransform:
    """Scale jitter, objects from another picture, horizontal flip, and what light and lens do to a picture.

    imgsz: the short side in pixels around which the jitter draws.
    jitter: the range of the factor on ``imgsz``, drawn evenly on a logarithmic scale. A picture that grew keeps a
        random window of the size it has at factor 1, so that zooming in costs the model no more (large-scale jitter,
        Ghiasi et al., https://arxiv.org/abs/2012.07177).
    copy_paste: how often (0..1) objects of a second picture are pasted in; needs masks.
    colours: a name in COLOURS.
    """

    def __init__(self, imgsz: int, jitter: Sequence[float], copy_paste: float = 0.0, colours: str = "default") -> None:
        self.imgsz = imgsz
        self.jitter = jitter
        self.copy_paste = copy_paste
        self.augment = A.Compose(
            [
                A.HorizontalFlip(p=0.5),
                *COLOURS[colours](),
                A.RandomBrightnessContrast(0.25, 0.25, p=0.5),
                A.RandomGamma((75, 130), p=0.2),
                A.GaussianBlur(blur_limit=(3, 5), p=0.1),
            ],
            # Only an index travels with the boxes: labels would come back as floats, and masks of boxes that
            # were dropped would stay behind. Boxes that clipping or shrinking leaves nothing of raise unless filtered.
            bbox_params=A.BboxParams(
                format="pascal_voc", label_fields=["index"], clip=True, filter_invalid_bboxes=True, min_area=1.0
            ),
        )

    def __call__(
        self, sample: Sample, rng: np.random.Generator, another: Callable[[int], Sample] | None = None, of: int = 0
    ) -> tuple[np.ndarray, Truth]:
        """The augmented picture, uint8 RGB, and its truth.

        another: gives the sample of any number below ``of``, of which one may lend objects.
        Everything random comes from ``rng``, so that an item depends on its seed alone.
        """
        image, truth = self._scaled(sample, rng)
        if another and of and truth.masks is not None and rng.random() < self.copy_paste:
            image, truth = paste_objects(image, truth, *self._scaled(another(int(rng.integers(of))), rng), rng)

        self.augment.set_random_seed(int(rng.integers(2**31)))
        # An empty mask *array* raises in albumentations 2.0.8, an empty list is left out of the call altogether.
        with_masks = {"masks": truth.masks} if truth.masks else {}
        out = self.augment(image=image, bboxes=truth.boxes, index=np.arange(len(truth.boxes)), **with_masks)
        kept = np.asarray(out["index"], dtype=np.int64)
        masks = [np.asarray(out["masks"][i]) for i in kept] if truth.masks else truth.masks
        return out["image"], Truth(np.asarray(out["bboxes"], np.float32).reshape(-1, 4), truth.labels[kept], masks)

    def _scaled(self, sample: Sample, rng: np.random.Generator) -> tuple[np.ndarray, Truth]:
        """The picture at a random scale, cut to a random window where it is larger than at factor 1."""
        image_hw = sample.image_hw
        factor = math.exp(rng.uniform(*np.log(self.jitter)))
        target_hw = resized_hw(image_hw, round(self.imgsz * factor))
        image = sample.read(target_hw)
        scale = np.array([target_hw[1] / image_hw[1], target_hw[0] / image_hw[0]] * 2, np.float32)
        masks = None if sample.masks is None else resize_masks(sample.masks, image_hw, target_hw)
        truth = Truth(sample.boxes * scale, sample.labels, masks, sample.complete)
        window_hw = resized_hw(image_hw, self.imgsz)
        if factor <= 1 or window_hw == target_hw:
            return image, truth
        y, x = (int(rng.integers(max(1, all_ - kept + 1))) for all_, kept in zip(target_hw, window_hw, strict=True))
        return cut(image, truth, (x, y, x + window_hw[1], y + window_hw[0]))
