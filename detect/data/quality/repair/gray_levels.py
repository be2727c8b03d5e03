"""Scaling of 16-bit gray images to all levels of 8 bits, with the same constants for the whole dataset.

Constants per image would show more of each image, but equal objects would then look different in different images, and
a detector could not be used on single images of another brightness as it was trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from detect import progress
from detect.data.convert import copy_image
from detect.data.table import Table
from detect.errors import UsageError
from detect.media.color import GrayRange, range_of_histogram
from detect.media.images import decode, gray_histogram, read_header, write_image


def dataset_gray_range(tables: Iterable[Table]) -> tuple[GrayRange, int]:
    """Return the range of gray values that holds 99 % of the pixels of all 16-bit gray images, and their number.

    Half a percent of the pixels is darker, and as many are brighter. Raises UsageError without such images.
    """
    counts, images = np.zeros(65536, np.int64), 0
    paths = [table.path(i) for table in tables for i in range(len(table))]
    for path in progress.bar(paths, desc="measuring gray levels"):
        if read_header(path).bits == 16 and (histogram := gray_histogram(path)) is not None:
            counts += histogram
            images += 1
    if not images:
        raise UsageError("`rescale_16bit`: the dataset has no 16-bit gray images")
    low, high = range_of_histogram(counts)
    return (low, max(high, low + 1)), images


def copy_rescaled(source: Path, target: Path, gray_range: GrayRange) -> None:
    """Write an image as 8 bits, upright, if it is a 16-bit gray image; copy other files unchanged."""
    if read_header(source).bits == 16 and gray_histogram(source) is not None:
        decoded = decode(source, gray_range=gray_range)
        write_image(target, decoded.upright(decoded.rgb))
    else:
        copy_image(source, target)


def rescaling_copy(gray_range: GrayRange) -> partial[None]:
    """Return the function for ``detect.data.convert.convert`` that copies images with this range."""
    return partial(copy_rescaled, gray_range=gray_range)
