"""Sensor noise and JPEG artefacts."""

from __future__ import annotations

from detect.data.augmentation.albumentations_step import A, AlbumentationsTransform


class NoiseJpeg(AlbumentationsTransform):
    """Gaussian noise or JPEG compression, one of the two, with the probability ``strength``."""

    def transforms(self) -> list[A.BasicTransform]:
        return [
            A.OneOf(
                [
                    A.ImageCompression(quality_range=(30, 80)),
                    # The same noise in all three channels: independent noise takes three times as long.
                    A.GaussNoise(std_range=(0.01, 0.04), per_channel=False),
                ],
                p=self.strength,
            )
        ]
