"""Horizontal flip."""

from __future__ import annotations

from detect.data.augmentation.albumentations_step import A, AlbumentationsTransform


class Flip(AlbumentationsTransform):
    """Left-right flip with the probability ``strength``."""

    def transforms(self) -> list[A.BasicTransform]:
        return [A.HorizontalFlip(p=self.strength)]
