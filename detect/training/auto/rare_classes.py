"""From which share of the images on a class is not rare any more."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from detect.training.auto.facts import Choice

# LVIS calls a class frequent on over 100 of its 100,000 images, which is its threshold of 0.001. Of a small set that
# would be all; there a class is rare that is on far fewer images than most are.
_FREQUENT = 100
_OF_TYPICAL = 0.25


def repeat_threshold(images_with: Mapping[str, int], images: int) -> Choice[float]:
    """The threshold of ``detect.data.sampling.repeat_factors``; 0 where no class is rare.

    images_with: on how many of ``images`` each class is; classes on none are left out.
    """
    present = {name: n for name, n in images_with.items() if n > 0}
    if len(present) < 2:
        return Choice(0.0, "there is but one class" if present else "there are no objects")
    typical = float(np.median(list(present.values())))
    threshold = min(_OF_TYPICAL * typical, _FREQUENT) / images
    rarest = min(present, key=lambda name: present[name])
    where = f"{rarest}, the rarest class, is on {present[rarest]} of {images} images"
    if present[rarest] >= threshold * images:
        return Choice(0.0, f"{where}, which is not rare beside a typical one, on {typical:.0f}")
    times = math.sqrt(threshold * images / present[rarest])
    return Choice(threshold, f"{where}, a typical one on {typical:.0f}: its images come {times:.1f} times an epoch")
