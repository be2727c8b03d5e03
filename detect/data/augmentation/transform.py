"""Base class of the augmentations that change one image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from detect.data.augmentation.ground_truth import GroundTruth

Another = Callable[[], tuple[np.ndarray, GroundTruth]]
"""Returns another training image, chosen at random and scaled like every image, with its ground truth."""


class Transform:
    """Augmentation of one image. A subclass implements ``__call__``.

    strength: the value of the transform's field of ``detect.data.augmentation.Augmentation``.
    needs_masks: whether the ground truth must carry masks for the transform to work.
    """

    needs_masks: ClassVar[bool] = False

    def __init__(self, strength: Any) -> None:
        self.strength = strength

    def __call__(
        self, image: np.ndarray, ground_truth: GroundTruth, rng: np.random.Generator, another: Another | None
    ) -> tuple[np.ndarray, GroundTruth]:
        """Return the changed image, uint8 RGB [H, W, 3], and its ground truth; the arguments stay unchanged.

        rng: the only source of randomness. A transform that is switched off must not draw from it, so that adding a
            transform to the table does not change the images of existing runs.
        another: gives another training image; None if the dataset has no other, or if the image is a mosaic already.
        """
        raise NotImplementedError

    def note(self, *, has_masks: bool) -> str:
        """Return a remark for the line that training prints, such as ``not applied: no masks``; usually empty."""
        return ""
