"""Columns of strings and of instance masks, each kept in a few numpy buffers.

A list of Python objects takes about ten times the memory. It takes that memory again in every DataLoader worker,
because updating an object's reference count copies the memory page that it lies on.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from detect.structures.masks import Polygons, Rle

NO_MASK, POLYGONS, RLE = range(3)  # values of MaskColumn.kinds


@dataclass(frozen=True)
class StringColumn(Sequence[str]):
    """N strings in two buffers.

    Attributes:
        data: uint8 [bytes], the UTF-8 encodings of all strings, concatenated.
        ends: int64 [N], the position in ``data`` after the last byte of each string.
    """

    data: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, strings: Iterable[str]) -> StringColumn:
        """Return a column with copies of ``strings``."""
        data, ends = bytearray(), array("q")
        for string in strings:
            data += string.encode("utf-8", "surrogatepass")  # JSON may hold unpaired surrogates
            ends.append(len(data))
        return cls(np.frombuffer(data, np.uint8), np.frombuffer(ends, np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> StringColumn: ...
    def __getitem__(self, index: int | slice) -> str | StringColumn:
        """Return one string, or a column with copies of the strings of a slice; negative indices count from the end.

        Raises IndexError for an integer that is out of range.
        """
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = range(len(self))[index]
        start = self.ends[row - 1] if row else 0
        return self.data[start : self.ends[row]].tobytes().decode("utf-8", "surrogatepass")

    def take(self, rows: np.ndarray) -> StringColumn:
        """Return the strings at ``rows``, int [n], in that order."""
        return StringColumn.of(self[row] for row in rows.tolist())


@dataclass(frozen=True)
class MaskColumn:
    """Masks of R objects in COCO's encodings; an object may have no mask.

    Attributes:
        kinds: uint8 [R], NO_MASK, POLYGONS or RLE.
        polygon_ends: int64 [R], the number of polygons up to and including those of each object.
        point_ends: int64 [polygons], the position in ``points`` after the last number of each polygon.
        points: float64 [numbers], x, y, x, y, ... in absolute pixels.
        rle_hw: int32 [R, 2], (height, width) that a run-length encoding is for; zeros for other kinds.
        rle_counts: R compressed run-length encodings; empty strings for other kinds.
    """

    kinds: np.ndarray
    polygon_ends: np.ndarray
    point_ends: np.ndarray
    points: np.ndarray
    rle_hw: np.ndarray
    rle_counts: StringColumn

    def __len__(self) -> int:
        return len(self.kinds)

    def __add__(self, other: MaskColumn) -> MaskColumn:
        """Return the masks of this column followed by those of ``other``."""
        counts, more = self.rle_counts, other.rle_counts
        return MaskColumn(
            kinds=np.concatenate([self.kinds, other.kinds]),
            polygon_ends=np.concatenate([self.polygon_ends, other.polygon_ends + len(self.point_ends)]),
            point_ends=np.concatenate([self.point_ends, other.point_ends + len(self.points)]),
            points=np.concatenate([self.points, other.points]),
            rle_hw=np.concatenate([self.rle_hw, other.rle_hw]),
            rle_counts=StringColumn(
                np.concatenate([counts.data, more.data]), np.concatenate([counts.ends, more.ends + len(counts.data)])
            ),
        )

    def __getitem__(self, row: int) -> Polygons | Rle:
        """Return the mask of one object as COCO encodes it. Polygons are views of ``points``.

        The object must have a mask: for kind NO_MASK the result is an empty list.
        """
        if self.kinds[row] == RLE:
            return {"size": self.rle_hw[row].tolist(), "counts": self.rle_counts[row].encode()}
        first, last = (self.polygon_ends[row - 1] if row else 0), self.polygon_ends[row]
        start, polygons = (self.point_ends[first - 1] if first else 0), []
        for end in self.point_ends[first:last]:
            polygons.append(self.points[start:end])
            start = end
        return polygons


class MaskBuilder:
    """Builds a ``MaskColumn`` from the masks of one object after another."""

    def __init__(self) -> None:
        self._kinds = bytearray()
        self._polygon_ends, self._point_ends, self._points = array("q"), array("q"), array("d")
        self._rle_hw, self._rle_counts, self._count_ends = array("i"), bytearray(), array("q")

    def add(self, mask: Polygons | Rle | None) -> None:
        """Append the mask of one object: a list of polygons, a compressed RLE, or None."""
        hw: Sequence[int] = (0, 0)
        if isinstance(mask, list):
            for polygon in mask:
                self._points.extend(polygon)
                self._point_ends.append(len(self._points))
        elif isinstance(mask, dict):
            hw = mask["size"]
            self._rle_counts += mask["counts"]
        self._kinds.append(NO_MASK if mask is None else POLYGONS if isinstance(mask, list) else RLE)
        self._polygon_ends.append(len(self._point_ends))
        self._rle_hw.extend(hw)
        self._count_ends.append(len(self._rle_counts))

    def finish(self) -> MaskColumn:
        """Return the column with all masks added so far."""
        return MaskColumn(
            kinds=np.frombuffer(self._kinds, np.uint8),
            polygon_ends=np.frombuffer(self._polygon_ends, np.int64),
            point_ends=np.frombuffer(self._point_ends, np.int64),
            points=np.frombuffer(self._points, np.float64),
            rle_hw=np.frombuffer(self._rle_hw, np.int32).reshape(-1, 2),
            rle_counts=StringColumn(
                np.frombuffer(self._rle_counts, np.uint8), np.frombuffer(self._count_ends, np.int64)
            ),
        )


def no_masks(count: int) -> MaskColumn:
    """Return a column of ``count`` objects without a mask."""
    builder = MaskBuilder()
    for _ in range(count):
        builder.add(None)
    return builder.finish()
