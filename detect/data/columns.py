"""Texts and masks in a few numpy buffers. A list of Python objects costs ten times the memory, and costs it again in
every loader process, since counting its references copies the pages it lies on."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from detect.structures.masks import Polygons, Rle

NONE, POLYGONS, RLE = range(3)  # what a mask is written as


@dataclass(frozen=True)
class StringColumn(Sequence[str]):
    """N texts. data: uint8, their UTF-8 one after another.  ends: int64 [N], where each ends."""

    data: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[str]) -> StringColumn:
        data, ends = bytearray(), array("q")
        for text in texts:
            data += text.encode("utf-8", "surrogatepass")  # JSON may hold half a letter
            ends.append(len(data))
        return cls(np.frombuffer(data, np.uint8), np.frombuffer(ends, np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> StringColumn: ...
    def __getitem__(self, index: int | slice) -> str | StringColumn:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = range(len(self))[index]  # which refuses one that is not there
        start = self.ends[row - 1] if row else 0
        return self.data[start : self.ends[row]].tobytes().decode("utf-8", "surrogatepass")

    def take(self, rows: np.ndarray) -> StringColumn:
        """Those at ``rows``, integers [n]."""
        return StringColumn.of(self[row] for row in rows.tolist())


@dataclass(frozen=True)
class Masks:
    """The masks of R objects, of which some may have none.

    kinds: uint8 [R], NONE, POLYGONS or RLE.
    polygon_ends: int64 [R], where the polygons of each object end among all polygons.
    point_ends: int64 [polygons], where the numbers of each polygon end in ``points``.
    points: float64, x, y, x, y, ... in pixels.
    rle_hw: int32 [R, 2], the size that a run-length code is for.  rle_counts: R compressed codes. 0 and "" for others.
    """

    kinds: np.ndarray
    polygon_ends: np.ndarray
    point_ends: np.ndarray
    points: np.ndarray
    rle_hw: np.ndarray
    rle_counts: StringColumn

    def __len__(self) -> int:
        return len(self.kinds)

    def __add__(self, other: Masks) -> Masks:
        """The masks of these objects, then those of ``other``."""
        counts, more = self.rle_counts, other.rle_counts
        return Masks(
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
        """The mask of one object, which has one, as COCO writes it; polygons are views of ``points``."""
        if self.kinds[row] == RLE:
            return {"size": self.rle_hw[row].tolist(), "counts": self.rle_counts[row].encode()}
        first, last = (self.polygon_ends[row - 1] if row else 0), self.polygon_ends[row]
        start, polygons = (self.point_ends[first - 1] if first else 0), []
        for end in self.point_ends[first:last]:
            polygons.append(self.points[start:end])
            start = end
        return polygons


class MaskBuilder:
    """Collects masks, one object after another, into ``Masks``."""

    def __init__(self) -> None:
        self._kinds = bytearray()
        self._polygon_ends, self._point_ends, self._points = array("q"), array("q"), array("d")
        self._rle_hw, self._rle_counts, self._count_ends = array("i"), bytearray(), array("q")

    def add(self, mask: Polygons | Rle | None) -> None:
        """One object's mask: polygons of numbers, a compressed RLE, or None."""
        hw: Sequence[int] = (0, 0)
        if isinstance(mask, list):
            for polygon in mask:
                self._points.extend(polygon)
                self._point_ends.append(len(self._points))
        elif isinstance(mask, dict):
            hw = mask["size"]
            self._rle_counts += mask["counts"]
        self._kinds.append(NONE if mask is None else POLYGONS if isinstance(mask, list) else RLE)
        self._polygon_ends.append(len(self._point_ends))
        self._rle_hw.extend(hw)
        self._count_ends.append(len(self._rle_counts))

    def finish(self) -> Masks:
        return Masks(
            kinds=np.frombuffer(self._kinds, np.uint8),
            polygon_ends=np.frombuffer(self._polygon_ends, np.int64),
            point_ends=np.frombuffer(self._point_ends, np.int64),
            points=np.frombuffer(self._points, np.float64),
            rle_hw=np.frombuffer(self._rle_hw, np.int32).reshape(-1, 2),
            rle_counts=StringColumn(np.frombuffer(self._rle_counts, np.uint8), np.frombuffer(self._count_ends, np.int64)),
        )
