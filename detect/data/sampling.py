"""How often each image is used in an epoch, and which images share a batch."""

from __future__ import annotations

import numpy as np

_MAX_POOL_BATCHES = 64


def repeat_factors(images: np.ndarray, labels: np.ndarray, count: int, threshold: float) -> np.ndarray:
    """Return how often each image should be used per epoch so that rare classes are seen more often.

    images, labels: int [M], image index 0..count-1 and class label of each object.
    count: number of images.
    threshold: fraction of all images, 0..1. Classes on fewer images are rare; 0 repeats nothing.
    Returns float64 [count], at least 1.

    A class on a fraction f of the images has the factor max(1, sqrt(threshold / f)). The factor of an image is the
    largest of its classes, 1 without objects (repeat factor sampling: Gupta et al., LVIS, arXiv 1908.03195).
    """
    pairs = np.unique(np.column_stack([images, labels]).astype(np.int64), axis=0)
    images_with_class = np.maximum(np.bincount(pairs[:, 1]), 1)  # at least 1: unused labels must not divide by 0
    fraction = images_with_class / max(count, 1)
    factors = np.ones(count)
    np.maximum.at(factors, pairs[:, 0], np.sqrt(threshold / fraction)[pairs[:, 1]])
    return factors


def limit_backgrounds(repeats: np.ndarray | None, images: np.ndarray, count: int, ratio: float) -> np.ndarray:
    """Return how often each image is used per epoch, so that at most ``ratio`` backgrounds are used per other image.

    repeats: float64 [count], how often each image is used so far; None for once each.
    images: int [M], image index 0..count-1 of each object. Images without objects are backgrounds.
    Returns float64 [count]. Below 1 it is the probability that an image is used in an epoch.
    """
    repeats = np.ones(count) if repeats is None else repeats.copy()
    is_background = np.bincount(images, minlength=count) == 0
    expected, limit = repeats[is_background].sum(), ratio * repeats[~is_background].sum()
    if expected > limit:
        repeats[is_background] *= limit / expected
    return repeats


def sample_epoch(count: int, rng: np.random.Generator, repeats: np.ndarray | None = None) -> np.ndarray:
    """Return the images of one epoch in random order as sample numbers, int64 [E].

    The first use of image i has the number i, its second use ``count + i``, its third ``2 * count + i``, so that each
    use can be augmented differently.

    repeats: float64 [count], at least 0, how often each image is used. The fractional part is the probability of one
        more use, drawn again in each epoch. None uses each image once.
    """
    if repeats is None:
        return rng.permutation(count)
    whole = np.floor(repeats).astype(np.int64)
    times = whole + (rng.random(count) < repeats - whole)
    repetition = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    return rng.permutation(np.repeat(np.arange(count), times) + count * repetition)


def similar_size_batches(
    numbers: np.ndarray, sizes_hw: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[list[int]]:
    """Return ``numbers`` in batches of images of similar size, in random order; the last batch may be smaller.

    A batch is padded to its largest height and width, so similar sizes waste less. The images of a batch vary between
    epochs, because only a pool of at most a third of all images is sorted by size at a time.

    numbers: int64 [E], sample numbers in random order.
    sizes_hw: float [E, 2], (height, width) of each sample in training.
    """
    full = len(numbers) - len(numbers) % batch_size
    pool_size = batch_size * min(max(2, len(numbers) // 3 // batch_size), _MAX_POOL_BATCHES)
    # Order from large portraits over small images to large landscapes: neighbors differ little in height and width.
    rank = sizes_hw.prod(axis=1) * np.where(sizes_hw[:, 0] > sizes_hw[:, 1], -1, 1)
    batches: list[list[int]] = []
    for start in range(0, full, pool_size):
        pool = np.arange(start, min(start + pool_size, full))
        batches += numbers[pool[np.argsort(rank[pool], kind="stable")]].reshape(-1, batch_size).tolist()
    batches = [batches[i] for i in rng.permutation(len(batches))]
    return [*batches, *([numbers[full:].tolist()] if full < len(numbers) else [])]
