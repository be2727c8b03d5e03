"""Default of ``repeat_threshold``: how often images of rare classes are repeated."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from detect.text import counted
from detect.training.auto.fitted_default import FittedDefault

# LVIS calls a class frequent if more than 100 of its 100,000 images show it, a threshold of 0.001. In a small dataset
# every class is below 100 images; there a class is rare if far fewer images show it than a typical class.
_FREQUENT_IMAGES = 100
_FRACTION_OF_MEDIAN = 0.25


def fit_repeat_threshold(images_per_class: Mapping[str, int], num_images: int) -> FittedDefault[float]:
    """Return the threshold for ``detect.data.sampling.repeat_factors``; 0 if no class is rare.

    images_per_class: class name -> number of images that show it, out of ``num_images``. Classes with 0 images are
    ignored.
    """
    present = {name: n for name, n in images_per_class.items() if n > 0}
    if len(present) < 2:
        return FittedDefault(0.0, "there is only one class" if present else "there are no objects")
    median = float(np.median(list(present.values())))
    threshold = min(_FRACTION_OF_MEDIAN * median, _FREQUENT_IMAGES) / num_images
    rarest = min(present, key=lambda name: present[name])
    found = f"is on {present[rarest]} of {counted(num_images, 'image')}, the median class on {median:.0f}"
    if present[rarest] >= threshold * num_images:
        return FittedDefault(0.0, f"no class is rare: {rarest} {found}")
    times = math.sqrt(threshold * num_images / present[rarest])
    return FittedDefault(threshold, f"{rarest} {found}: its images are used {times:.1f} times per epoch")
