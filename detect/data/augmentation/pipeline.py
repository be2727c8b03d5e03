"""Training transform: from an image and its annotations to the tensor-ready image that a detector trains on.

Images are resized here and not in the model: torchvision's own transform would resize every image to the same size
again and undo the scale jitter (see ``detect.models.builder``).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence

import numpy as np

from detect.data.augmentation import Augmentation, as_text
from detect.data.augmentation.albumentations_step import AlbumentationsStep, AlbumentationsTransform
from detect.data.augmentation.ground_truth import GroundTruth
from detect.data.augmentation.jitter import Jitter
from detect.data.augmentation.mosaic import IMAGES, Mosaic
from detect.data.augmentation.sample import Sample, read_scaled
from detect.data.augmentation.transform import Transform
from detect.structures.image_size import resized_hw


class TrainTransform:
    """Applies scale jitter, mosaic and all other augmentations, in the order of the fields of ``Augmentation``.

    imgsz: short side in pixels at jitter factor 1. An enlarged image is cropped at random to its size at factor 1, so
        that zooming in costs the model no time (large-scale jitter, Ghiasi et al., https://arxiv.org/abs/2012.07177).
        A mosaic is as large as its first image at factor 1.
    augmentation: preset and strengths.
    epochs: number of epochs of the training; the last fifth has no mosaics. None: every epoch has mosaics.
    mosaic_epochs: number of epochs with mosaics, counted from the first.
    needs_masks: whether an active transform needs masks, even when the model does not.
    """

    def __init__(self, imgsz: int, augmentation: Augmentation, epochs: int | None = None) -> None:
        self.imgsz = imgsz
        strengths, off = augmentation.strengths(), Augmentation("none").strengths()
        self._active = {name: value for name, value in strengths.items() if value != off[name]}
        self._jitter, self._mosaic = Jitter(strengths.pop("jitter")), Mosaic(strengths.pop("mosaic"))
        self.mosaic_epochs = math.inf if epochs is None else self._mosaic.num_epochs(epochs)
        self._transforms = {name: _transform_class(name)(value) for name, value in strengths.items()}
        self._steps = _steps(list(self._transforms.values()))
        self.needs_masks = any(t.needs_masks for name, t in self._transforms.items() if name in self._active)

    def __call__(
        self,
        sample: Sample,
        rng: np.random.Generator,
        others: Callable[[int], Sample] | None = None,
        num_others: int = 0,
        epoch: int = 0,
    ) -> tuple[np.ndarray, GroundTruth]:
        """Return the augmented image, uint8 RGB [H, W, 3], and its ground truth, which includes crowds.

        rng: the only source of randomness, so that an item depends on its seed alone.
        others: returns the sample of an index below ``num_others``, for mosaics and copy-paste.
        epoch: number of the current epoch, from 0.
        """
        get = others if num_others else None
        is_mosaic, factor = self._first_draws(rng, epoch, has_others=get is not None)
        if get is not None and is_mosaic:
            samples = [sample, *(get(int(index)) for index in rng.integers(num_others, size=IMAGES - 1))]
            image, ground_truth = self._mosaic.combine(samples, self.imgsz, self._jitter, rng)
            another = None
        else:
            image, ground_truth = self._scaled(sample, factor, rng)
            another = None if get is None else lambda: self._another(get, num_others, rng)
        for step in self._steps:
            image, ground_truth = step(image, ground_truth, rng, another)
        return image, ground_truth

    def size_hw(
        self, image_hw: tuple[int, int], rng: np.random.Generator, epoch: int = 0, *, has_others: bool = False
    ) -> tuple[int, int]:
        """Return the (height, width) of the image that a call would return, without reading the image.

        image_hw: size of the original image.  rng: in the same state as for the call.
        A loader uses this to batch images of similar size.
        """
        is_mosaic, factor = self._first_draws(rng, epoch, has_others=has_others)
        return resized_hw(image_hw, self.imgsz if is_mosaic else min(self.imgsz, round(self.imgsz * factor)))

    def describe(self, *, has_masks: bool) -> str:
        """Return one line with the active transforms, such as ``jitter 0.6 1.25, flip 0.5``.

        has_masks: whether the training data has masks.
        """
        notes = {name: transform.note(has_masks=has_masks) for name, transform in self._transforms.items()}
        if self.mosaic_epochs < math.inf:
            notes["mosaic"] = f"until epoch {self.mosaic_epochs}"
        parts = []
        for name, value in self._active.items():
            note = notes.get(name)
            parts.append(f"{name.replace('_', '-')} {as_text(value)}" + (f" ({note})" if note else ""))
        return ", ".join(parts) or "none"

    def _first_draws(self, rng: np.random.Generator, epoch: int, *, has_others: bool) -> tuple[bool, float]:
        """Return whether an image becomes a mosaic, and its jitter factor otherwise."""
        probability = self._mosaic.probability if has_others and epoch < self.mosaic_epochs else 0.0
        return rng.random() < probability, self._jitter.factor(rng)

    def _scaled(self, sample: Sample, factor: float, rng: np.random.Generator) -> tuple[np.ndarray, GroundTruth]:
        """Return a sample scaled by ``factor`` and cropped to its size at factor 1."""
        target_hw = resized_hw(sample.image_hw, round(self.imgsz * factor))
        return read_scaled(sample, target_hw, resized_hw(sample.image_hw, self.imgsz), rng)

    def _another(
        self, get: Callable[[int], Sample], num_others: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, GroundTruth]:
        """Return a random other sample with a jitter factor of its own."""
        return self._scaled(get(int(rng.integers(num_others))), self._jitter.factor(rng), rng)


def _transform_class(name: str) -> type[Transform]:
    """Return the class of the augmentation ``name``: for ``noise_jpeg``, the class NoiseJpeg in noise_jpeg.py."""
    module = importlib.import_module(f"detect.data.augmentation.{name}")
    return getattr(module, name.title().replace("_", ""))


def _steps(transforms: Sequence[Transform]) -> list[Transform]:
    """Return the transforms in order of application, with one step for all of albumentations."""
    parts = [transform for transform in transforms if isinstance(transform, AlbumentationsTransform)]
    steps: list[Transform] = []
    for transform in transforms:
        if transform not in parts:
            steps.append(transform)
        elif transform is parts[0]:
            steps.append(AlbumentationsStep(parts))
    return steps
