"""Gamma correction."""

from __future__ import annotations

from detect.data.augmentation.albumentations_step import A, AlbumentationsTransform


class Gamma(AlbumentationsTransform):
    """Gamma between 0.75 and 1.3 with the probability ``strength``."""

    def transforms(self) -> list[A.BasicTransform]:
        return [A.RandomGamma((75, 130), p=self.strength)]
