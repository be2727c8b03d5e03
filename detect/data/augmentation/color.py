"""Hue and saturation."""

from __future__ import annotations

from detect.data.augmentation.albumentations_step import A, AlbumentationsTransform


class Color(AlbumentationsTransform):
    """Change of hue and saturation, and grayscale images; ``strength``: "none", "mild" or "strong"."""

    def transforms(self) -> list[A.BasicTransform]:
        if self.strength == "mild":
            return [A.HueSaturationValue(10, 30, 10, p=0.4), A.ToGray(p=0.03)]
        if self.strength == "strong":
            return [A.HueSaturationValue(90, 60, 20, p=0.6), A.ToGray(p=0.15)]
        return []
