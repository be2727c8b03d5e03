"""Gaussian blur."""

from __future__ import annotations

from detect.data.augmentation.albumentations_step import A, AlbumentationsTransform


class Blur(AlbumentationsTransform):
    """Gaussian blur with a kernel of 3 or 5 pixels, with the probability ``strength``."""

    def transforms(self) -> list[A.BasicTransform]:
        return [A.GaussianBlur(blur_limit=(3, 5), p=self.strength)]
