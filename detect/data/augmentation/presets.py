"""How strongly training images are changed: every strength, and three sets of them that fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

COLORS = (
    "none",
    "mild",
    "strong",
)  # the keys of detect.data.augmentation.photometric's table, which takes seconds to import
# The last epochs see images as they are, since no mosaic is ever looked at later (as YOLOX does, Ge et al.,
# https://arxiv.org/abs/2107.08430).
MOSAIC_EPOCHS = 0.8  # of all


@dataclass(frozen=True)
class Augmentation:
    """Strengths of what ``detect.data.augmentation.pipeline.TrainTransform`` does; with none given it only resizes.

    Chances are 0..1, of an image.
    jitter: the range of the factor on the size, drawn evenly on a logarithmic scale.
    flip: chance to be mirrored, left to right.
    mosaic: chance to be one of four in one image, in the first epochs.
    copy_paste: chance to be given objects of another image, where there are masks to cut along.
    cutout: chance that rectangles of noise hide parts of it.
    colors: how far hue and saturation go, one of COLOURS; ``strong`` gives a thing any hue or none, for classes that
        color does not tell apart.
    light: how far brightness (a share of its range) and contrast (a share of itself) go, in every other image.
    gamma, blur: chance of either.
    wear: chance of grain, or of what a low JPEG quality leaves behind.
    """

    jitter: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    mosaic: float = 0.0
    copy_paste: float = 0.0
    cutout: float = 0.0
    color: str = "none"
    light: float = 0.0
    gamma: float = 0.0
    blur: float = 0.0
    wear: float = 0.0

    def mosaic_epochs(self, epochs: int) -> int:
        """In how many of so many epochs there are mosaics, the first ones."""
        return int(MOSAIC_EPOCHS * epochs) if self.mosaic else 0

    def in_words(self, epochs: int, *, has_masks: bool) -> str:
        """One line: what training for so many epochs, on data with or without masks, sees of it."""
        parts = [f"sizes x{self.jitter[0]:g} to x{self.jitter[1]:g}", f"flip {self.flip:g}"]
        if first := self.mosaic_epochs(epochs):
            parts.append(f"mosaic {self.mosaic:g} (epochs 1 to {first})")
        if self.copy_paste:
            parts.append(f"copy-paste {self.copy_paste:g}" if has_masks else "no copy-paste (there are no masks)")
        if self.cutout:
            parts.append(f"cut-out {self.cutout:g}")
        return ", ".join([*parts, f"colors {self.color}"])


PRESETS: Mapping[str, Augmentation] = {
    "light": Augmentation((0.8, 1.25), flip=0.5, light=0.1),
    # Colors as they are: changing them helped on neither dataset of docs/results.md.
    "default": Augmentation((0.6, 1.25), flip=0.5, light=0.1),
    # No further in brightness, since light grounds would drown in white.
    "strong": Augmentation(
        (0.5, 2.0), flip=0.5, mosaic=0.5, copy_paste=0.5, cutout=0.5,
        color="strong", light=0.25, gamma=0.2, blur=0.15, wear=0.15,
    ),
}  # fmt: skip
