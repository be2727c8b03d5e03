"""The boundary of a bitmap as closed loops along the edges of its pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Loop(NamedTuple):
    """A simple closed polygon: no vertex occurs twice.

    points: int64 [n, 2], x and y of the vertices, beginning with the left one of the uppermost; the edges are
        horizontal and vertical by turns.
    is_outer: whether the loop surrounds pixels of the bitmap; otherwise it surrounds a hole.
    """

    points: np.ndarray
    is_outer: bool


def boundary_loops(bitmap: np.ndarray) -> list[Loop]:
    """Return the outer boundaries of all parts of ``bitmap``, bool [H, W], and the boundaries of their holes.

    Pixels that touch only at a corner belong to different parts.

    A grid point is a vertex if 1 or 3 of its four pixels are set. If exactly two diagonal pixels are set, the point
    counts as two vertices. In each row, horizontal edges join vertices 1 and 2, 3 and 4, and so on. In each column,
    vertical edges do the same.
    """
    padded = np.pad(bitmap, 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    is_diagonal = (a == d) & (b == c) & (a != b)
    y, x = np.nonzero(a ^ b ^ c ^ d | is_diagonal)
    count = np.where(is_diagonal[y, x], 2, 1)
    y, x = np.repeat(y, count), np.repeat(x, count)
    which = np.arange(len(y)) - np.repeat(np.cumsum(count) - count, count)  # 1 for the second of two vertices
    # The boundary turns around each of the two pixels. With b and c set, the first vertex is that of the edges to the
    # left and down; otherwise that of the edges to the left and up.
    which_in_column = which ^ (is_diagonal & b)[y, x]
    rows, columns = _neighbors(np.lexsort((which, x, y))), _neighbors(np.lexsort((which_in_column, y, x)))
    points, keys = np.stack([x, y], axis=1), (y * (padded.shape[1] + 1) + x).tolist()
    loops = []
    for ring in _cycles(rows, columns):
        for loop in _simple_loops(ring, keys):
            first = min(range(len(loop)), key=lambda position: keys[loop[position]])
            loop = loop[first:] + loop[:first]
            loops.append(Loop(points[loop], bool(d[y[loop[0]], x[loop[0]]])))
    return loops


def _neighbors(order: np.ndarray) -> list[int]:
    """Return for each vertex the one at the other end of its edge. order: vertices, those of an edge one by one."""
    pairs = order.reshape(-1, 2)
    neighbors = np.empty(len(order), np.int64)
    neighbors[pairs] = pairs[:, ::-1]
    return neighbors.tolist()


def _cycles(rows: list[int], columns: list[int]) -> list[list[int]]:
    """Return the closed rings of vertices that horizontal and vertical edges form by turns."""
    is_used, rings = [False] * len(rows), []
    for start in range(len(rows)):
        ring, vertex = [], start
        while not is_used[vertex]:
            other = rows[vertex]
            is_used[vertex] = is_used[other] = True
            ring += [vertex, other]
            vertex = columns[other]
        if ring:
            rings.append(ring)
    return rings


def _simple_loops(ring: list[int], keys: list[int]) -> list[list[int]]:
    """Split a ring where it touches itself. keys: position of each vertex as one number."""
    loops, open_loop = [], list[int]()
    index_of: dict[int, int] = {}  # in open_loop, by position
    for vertex in ring:
        if (index := index_of.get(keys[vertex])) is not None:
            loops.append(open_loop[index:])
            for closed in open_loop[index:]:
                del index_of[keys[closed]]
            del open_loop[index:]
        index_of[keys[vertex]] = len(open_loop)
        open_loop.append(vertex)
    return [*loops, open_loop]
