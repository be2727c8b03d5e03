"""Near-duplicate images: re-encoded, resized or brightened copies, and similar video frames.

Each image is reduced to a thumbnail of 16 x 16 pixels; two images are compared by the correlation of their thumbnails.
On 598 photographs of three datasets, copies at JPEG quality 30, at half the size, 20 % brighter or with noise
correlate by at least 0.952 (all but five of 2,392 by at least 0.98). No pair of photographs of different scenes
exceeds 0.835. A slow test in tests/data/test_splits.py verifies these numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from detect.media.fingerprint import SIDE, Fingerprint

_THRESHOLDS = (0.95, 0.98, 0.99, 0.995, 0.999)  # minimum correlation of near-duplicates, tried in turn
_CHUNK = 256  # rows compared with all other images at a time


def signatures(thumbnails: np.ndarray) -> np.ndarray:
    """Return one vector per thumbnail, float32 [N, D]; the dot product of two is their correlation.

    thumbnails: uint8 RGB [N, 16, 16, 3]. The mean of each channel is subtracted, so that brightened copies correlate.
        An image of a single color correlates with no other image.
    """
    pixels = thumbnails.reshape(len(thumbnails), SIDE * SIDE, 3).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    flat = pixels.reshape(len(pixels), 3 * SIDE * SIDE)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1.0)


def fingerprint_signatures(fingerprints: Sequence[Fingerprint]) -> np.ndarray:
    """Return one vector per image as ``signatures`` does; zeros for an image that could not be read."""
    blank = np.zeros((SIDE, SIDE, 3), np.uint8)
    thumbnails = [blank if one.thumbnail is None else one.thumbnail for one in fingerprints]
    return signatures(np.array(thumbnails, np.uint8).reshape(-1, SIDE, SIDE, 3))


def group_near_duplicates(signatures: np.ndarray, max_fraction: float = 0.15) -> tuple[np.ndarray, float]:
    """Return a group number per image, int64 [N], equal for near-duplicates, and the correlation threshold used.

    signatures: float [N, D], one row per image.
    max_fraction: largest fraction of all images in one group. All images of a fixed camera correlate; the threshold is
    raised until the groups are small enough.
    """
    groups, threshold = np.arange(len(signatures)), _THRESHOLDS[0]
    for threshold in _THRESHOLDS:
        groups = _groups(signatures, threshold)
        if np.bincount(groups).max(initial=0) <= max(max_fraction * len(groups), 2):
            break
    return groups, threshold


def _groups(signatures: np.ndarray, threshold: float) -> np.ndarray:
    groups = np.arange(len(signatures))
    for rows, correlations in _chunks(signatures, signatures):
        # Only the maximum per group counts, so that thousands of similar images soon collapse into one column.
        order = np.argsort(groups, kind="stable")
        first = np.flatnonzero(np.diff(groups[order], prepend=-1))
        one, other = np.nonzero(np.maximum.reduceat(correlations[:, order], first, axis=1) >= threshold)
        edges = coo_matrix((np.ones(len(one), bool), (groups[rows][one], other)), shape=(len(first),) * 2)
        groups = connected_components(edges, directed=False)[1][groups]
    return groups


def merge_groups(*groupings: np.ndarray) -> np.ndarray:
    """Return group numbers from 0, int64 [N], equal for images that a chain of groups connects.

    groupings: int [N] each; equal numbers mark images of one group.
    """
    count = len(groupings[0])
    firsts = []
    for groups in groupings:
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        firsts.append(first[group])
    columns = np.concatenate(firsts)
    edges = coo_matrix(
        (np.ones(len(columns), bool), (np.tile(np.arange(count), len(groupings)), columns)), shape=(count,) * 2
    )
    return connected_components(edges, directed=False)[1]


def nearest(signatures: np.ndarray, others: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return for each image the index of the most similar of ``others``, int64 [N], and their correlation, float32
    [N].

    others: signatures [M, D]; None compares each image with the images before it.
    The index is -1 and the correlation 0 where no image correlates positively.
    """
    best, score = np.full(len(signatures), -1), np.zeros(len(signatures), np.float32)
    if others is None or len(others):
        for rows, correlations in _chunks(signatures, signatures if others is None else others):
            if others is None:
                correlations[np.arange(len(signatures)) >= np.arange(rows.start, rows.stop)[:, None]] = -1
            best[rows], score[rows] = correlations.argmax(axis=1), correlations.max(axis=1)
    best[score <= 0], score[score <= 0] = -1, 0
    return best, score


def _chunks(signatures: np.ndarray, others: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of rows with their correlations to all ``others``, float32 [rows, M]."""
    for start in range(0, len(signatures), _CHUNK):
        rows = slice(start, min(start + _CHUNK, len(signatures)))
        yield rows, signatures[rows] @ others.T
