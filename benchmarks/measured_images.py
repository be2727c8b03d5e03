"""Images on which ``benchmark.py inference`` times detectors, and those that calibrate an export in 8 bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.pooled_ap import scored_splits
from detect.data.dataset import read_record
from detect.data.image_problems import UnreadableImageError
from detect.data.spec import DatasetSpec
from detect.deployment import CALIBRATION_IMAGES
from detect.deployment.calibration import evenly_spaced_images
from detect.errors import DataError
from detect.media.images import read_image

SAMPLES = Path(__file__).resolve().parents[1] / "input"


def timed_images(spec: DatasetSpec | None, count: int) -> list[np.ndarray]:
    """Return at most ``count`` images, uint8 RGB [H, W, 3]: of the first scored split, or without a dataset samples.

    Raises DataError if none can be read.
    """
    if spec is None:
        return [read_image(path) for path in sorted(SAMPLES.glob("*.jpg"))[:count]]
    split = scored_splits(spec)[0]
    images = list(_evenly_spaced(spec, split, count))
    if not images:
        raise DataError(f"dataset '{spec.name}': no image of the split '{split}' can be read")
    return images


def calibration_images(spec: DatasetSpec | None) -> Sequence[np.ndarray]:
    """Return images of the train split, or of another if there is none; without a dataset the samples."""
    if spec is None:
        return timed_images(None, CALIBRATION_IMAGES)
    split = "train" if "train" in spec.splits else scored_splits(spec)[0]
    return evenly_spaced_images(spec, split, CALIBRATION_IMAGES)


def _evenly_spaced(spec: DatasetSpec, split: str, count: int) -> Iterator[np.ndarray]:
    """Yield the readable ones of ``count`` images that are evenly spaced over a split."""
    _, records = spec.read(split)
    for i in np.unique(np.linspace(0, len(records) - 1, count).astype(int)):
        with suppress(UnreadableImageError):
            yield read_record(records[i])
