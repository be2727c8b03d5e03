"""How often in an epoch each image is trained on, and which images share a batch."""

from __future__ import annotations

import numpy as np

_MOST_LISTS_A_POOL = 64


def repeat_factors(images: np.ndarray, labels: np.ndarray, count: int, threshold: float) -> np.ndarray:
    """How often each image should come in an epoch so that rare classes are seen more, float64 [count] from 1.

    images, labels: int [M], the image 0..count-1 and the class of each object.
    threshold: the share of all images, 0..1, below which a class is rare; 0 repeats nothing.

    A class on a share f of the images asks for sqrt(threshold / f), at least 1, and an image gets what its rarest
    class asks for, one without objects 1 (repeat-factor sampling: Gupta et al., LVIS, arXiv 1908.03195).
    """
    seen = np.unique(np.column_stack([images, labels]).astype(np.int64), axis=0)
    share = np.maximum(np.bincount(seen[:, 1]), 1) / max(1, count)  # a label that nothing has divides nothing by 0
    factors = np.ones(count)
    np.maximum.at(factors, seen[:, 0], np.sqrt(threshold / share)[seen[:, 1]])
    return factors


def sample_epoch(count: int, rng: np.random.Generator, repeats: np.ndarray | None = None) -> np.ndarray:
    """The images of one epoch in random order, int64 [E].

    repeats: float64 [count] from 1, how often each comes, the fraction by chance anew in each epoch; None: once.
    The second time that image i comes its number is ``count + i``, then ``2 * count + i``, so that each time it can
    be augmented in another way.
    """
    if repeats is None:
        return rng.permutation(count)
    whole = np.floor(repeats).astype(np.int64)
    times = whole + (rng.random(count) < repeats - whole)
    again = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    return rng.permutation(np.repeat(np.arange(count), times) + count * again)


def similar_size_batches(numbers: np.ndarray, sizes_hw: np.ndarray, size: int, rng: np.random.Generator) -> list[list[int]]:
    """``numbers``, int64 [E] in random order, in lists of ``size`` and a last one of what is left.

    sizes_hw: float [E, 2], (height, width) of each in training. A batch is padded to its largest sides, so images
        of like size share one, but not always the same ones: a pool of up to a third of all is sorted at a time.
    """
    full = len(numbers) - len(numbers) % size
    a_pool = size * min(max(2, len(numbers) // 3 // size), _MOST_LISTS_A_POOL)
    # From large portraits down to small images and up to large landscapes: neighbours differ little in either side.
    place = sizes_hw.prod(axis=1) * np.where(sizes_hw[:, 0] > sizes_hw[:, 1], -1, 1)
    lists: list[list[int]] = []
    for start in range(0, full, a_pool):
        pool = np.arange(start, min(start + a_pool, full))
        lists += numbers[pool[np.argsort(place[pool], kind="stable")]].reshape(-1, size).tolist()
    lists = [lists[i] for i in rng.permutation(len(lists))]
    return [*lists, *([numbers[full:].tolist()] if full < len(numbers) else [])]
