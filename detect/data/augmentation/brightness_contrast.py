"""Brightness and contrast."""

from __future__ import annotations

from detect.data.augmentation.albumentations_step import A, AlbumentationsTransform


class BrightnessContrast(AlbumentationsTransform):
    """Brightness and contrast, each changed by up to ``strength`` (fraction of the range), in half of the images."""

    def transforms(self) -> list[A.BasicTransform]:
        return [A.RandomBrightnessContrast(self.strength, self.strength, p=0.5 if self.strength else 0)]
