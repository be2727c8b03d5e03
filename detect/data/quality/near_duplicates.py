"""Images that look alike: copies saved anew, made smaller or lighter, and frames of a film that hardly differ.

Each image is shrunk to 16 x 16 pixels, and two are compared by the correlation of these. On 598 photographs of
three datasets, copies at JPEG quality 30, at half the size, a fifth lighter or with noise correlate by 0.952 and
more, all but five of 2,392 by 0.98; of images that are not of the same thing no pair does by more than 0.835. (A
slow test in tests/data/test_splits.py says so.)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

_LEAST = (0.95, 0.98, 0.99, 0.995, 0.999)  # correlations of images that are alike, tried in turn
_ROWS = 256  # compared at a time with all others


def signatures(thumbnails: np.ndarray) -> np.ndarray:
    """float32 [N, D], whose products are the correlations of the thumbnails uint8 [N, 16, 16, 3].

    Each color has its mean taken away, so that lighter and darker copies are alike. An image of one color is like
    no other: there is nothing to tell it by.
    """
    pixels = thumbnails.reshape(len(thumbnails), -1, 3).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    flat = pixels.reshape(len(pixels), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1.0)


def groups_alike(signatures: np.ndarray, largest: float = 0.15) -> tuple[np.ndarray, float]:
    """A number for each image, int64 [N], the same for those that are alike, and the correlation that it took.

    largest: of all images, the part that one group may be. Images of one fixed camera are all alike; then it
    takes more to be of one group.
    """
    groups, least = np.arange(len(signatures)), _LEAST[0]
    for least in _LEAST:
        groups = _groups(signatures, least)
        if np.bincount(groups).max(initial=0) <= max(largest * len(groups), 2):
            break
    return groups, least


def _groups(signatures: np.ndarray, least: float) -> np.ndarray:
    groups = np.arange(len(signatures))
    for rows, likeness in _compared(signatures, signatures):
        # Of each group the likest, so that thousands of images that are all alike are soon one column.
        order = np.argsort(groups, kind="stable")
        first = np.flatnonzero(np.diff(groups[order], prepend=-1))
        one, other = np.nonzero(np.maximum.reduceat(likeness[:, order], first, axis=1) >= least)
        edges = coo_matrix((np.ones(len(one), bool), (groups[rows][one], other)), shape=(len(first),) * 2)
        groups = connected_components(edges, directed=False)[1][groups]
    return groups


def united(*groupings: np.ndarray) -> np.ndarray:
    """A number for each image from 0, int64 [N], the same for those that a chain of groups connects. groupings: int
    [N] each, the same number for images of one group."""
    count = len(groupings[0])
    firsts = []
    for groups in groupings:
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        firsts.append(first[group])
    there = np.concatenate(firsts)
    edges = coo_matrix(
        (np.ones(len(there), bool), (np.tile(np.arange(count), len(groupings)), there)), shape=(count,) * 2
    )
    return connected_components(edges, directed=False)[1]


def nearest(signatures: np.ndarray, others: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Of each image [N] the likest of ``others`` [M], int64 [N], and their correlation, float32 [N].

    Without ``others`` it is the likest of those before it. -1 and 0 where there is none, or none at all like it.
    """
    best, score = np.full(len(signatures), -1), np.zeros(len(signatures), np.float32)
    if others is None or len(others):
        for rows, likeness in _compared(signatures, signatures if others is None else others):
            if others is None:
                likeness[np.arange(len(signatures)) >= np.arange(rows.start, rows.stop)[:, None]] = -1
            best[rows], score[rows] = likeness.argmax(axis=1), likeness.max(axis=1)
    best[score <= 0], score[score <= 0] = -1, 0
    return best, score


def _compared(signatures: np.ndarray, others: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows, and their likeness to all others, float32 [rows, M]."""
    for start in range(0, len(signatures), _ROWS):
        rows = slice(start, min(start + _ROWS, len(signatures)))
        yield rows, signatures[rows] @ others.T
