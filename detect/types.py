"""The nouns: ClassNames, ImageRecord and Detections. Numpy only, so that every layer can speak them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from detect.errors import UsageError, unknown
from detect.masks import Polygons, Rle


@dataclass(frozen=True)
class ClassNames:
    """The classes of a data set or a model, in label order: label ``i`` (1..K) is ``names[i - 1]``.

    names: K distinct names.
    ids: the K category ids that the annotations used (sparse, 0-based, anything); 1..K when not given.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(str(n) for n in self.names))
        object.__setattr__(self, "ids", tuple(int(i) for i in self.ids) or tuple(range(1, len(self.names) + 1)))
        for what, values in (("class name", self.names), ("category id", self.ids)):
            doubled = sorted({str(v) for v in values if values.count(v) > 1})
            if doubled:
                raise ValueError(f"{what} given twice: {', '.join(doubled)}")
        if len(self.ids) != len(self.names):
            raise ValueError(f"{len(self.names)} class names but {len(self.ids)} category ids")

    def __len__(self) -> int:
        return len(self.names)

    def name(self, label: int) -> str:
        """The name of label 1..K."""
        return self.names[self._index(label)]

    def category_id(self, label: int) -> int:
        """The original category id of label 1..K."""
        return self.ids[self._index(label)]

    def label(self, name_or_id: str | int) -> int:
        """The label (1..K) of a class name or an original category id; UsageError names the near ones."""
        if isinstance(name_or_id, str) and name_or_id in self.names:
            return self.names.index(name_or_id) + 1
        try:
            return self.ids.index(int(name_or_id)) + 1
        except ValueError:
            raise UsageError(unknown("class", str(name_or_id), self.names)) from None

    def labels(self, names_or_ids: Iterable[str | int]) -> list[int]:
        """``label`` of each."""
        return [self.label(n) for n in names_or_ids]

    def _index(self, label: int) -> int:
        if not 1 <= label <= len(self.names):
            raise IndexError(f"label {label} is not in 1..{len(self.names)}")
        return int(label) - 1


@dataclass(frozen=True)
class ImageRecord:
    """One image and its truth, as every reader returns it. Boxes and masks are on the original pixels.

    boxes: float32 [N, 4] xyxy absolute pixels.  labels: int64 [N] in 1..K.
    masks: N masks, each polygons or RLE, or None where the data set has none.
    areas: float64 [N] px², as annotated (the mask's or the box's).  iscrowd: bool [N].
    annotation_ids: int64 [N].  image_id: the data set's own, unique in a split.
    """

    path: Path
    image_hw: tuple[int, int]
    image_id: int
    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    iscrowd: np.ndarray
    annotation_ids: np.ndarray
    masks: list[Polygons | Rle] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __post_init__(self) -> None:
        n = len(self.boxes)
        parts = ("labels", "areas", "iscrowd", "annotation_ids", *(() if self.masks is None else ("masks",)))
        for name in parts:
            if len(getattr(self, name)) != n:
                raise ValueError(f"{self.path}: {n} boxes but {len(getattr(self, name))} {name}")
        if self.boxes.shape != (n, 4) or self.boxes.dtype != np.float32:
            raise ValueError(f"{self.path}: boxes must be float32 [N, 4], not {self.boxes.dtype} {self.boxes.shape}")


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first.

    image_hw: (height, width) of the original image.
    boxes: float32 [N, 4] xyxy, absolute pixels of the original image.
    scores: float32 [N] in 0..1, descending.  labels: int64 [N] in 1..K.
    masks: N compressed RLEs of the image's size, or None from a model without masks.
    keypoints: float32 [N, P, 3], x and y in absolute pixels and the score of each point (the height of its heat map,
        a logit), or None from a model without keypoints.

    Raises ValueError when the parts do not fit together.
    """

    image_hw: tuple[int, int]
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    masks: list[Rle] | None = None
    keypoints: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.boxes.dtype != np.float32:
            raise ValueError(f"boxes must be float32 [N, 4], not {self.boxes.dtype} {self.boxes.shape}")
        if self.scores.shape != (n,) or self.scores.dtype != np.float32:
            raise ValueError(f"scores must be float32 [{n}], not {self.scores.dtype} {self.scores.shape}")
        if self.labels.shape != (n,) or self.labels.dtype != np.int64:
            raise ValueError(f"labels must be int64 [{n}], not {self.labels.dtype} {self.labels.shape}")
        if self.masks is not None and len(self.masks) != n:
            raise ValueError(f"{n} boxes but {len(self.masks)} masks")
        if self.keypoints is not None and (self.keypoints.ndim != 3 or self.keypoints.shape[::2] != (n, 3)):
            raise ValueError(f"keypoints must be [{n}, P, 3], not {self.keypoints.shape}")
        if n and not np.all(np.isfinite(self.boxes)):
            raise ValueError("boxes must be finite")
        # Said so that a NaN, which compares to nothing, is refused too.
        if n and not (self.scores.min() >= 0 and self.scores.max() <= 1 and np.all(np.diff(self.scores) <= 0)):
            raise ValueError("scores must lie in 0..1 and descend")
        if n and self.labels.min() < 1:
            raise ValueError("labels start at 1; 0 is background and never leaves the model")
        for rle in self.masks or []:
            if tuple(rle["size"]) != tuple(self.image_hw):
                raise ValueError(f"a mask of {rle['size']} on an image of {self.image_hw} (h, w)")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Sequence[int] | np.ndarray | slice) -> Detections:
        """Those at ``index``: integers, a boolean mask [N] or a slice."""
        kept = np.arange(len(self))[index]
        return Detections(
            self.image_hw,
            self.boxes[kept],
            self.scores[kept],
            self.labels[kept],
            None if self.masks is None else [self.masks[i] for i in kept],
            None if self.keypoints is None else self.keypoints[kept],
        )

    def filter(self, threshold: float = 0.0, labels: Sequence[int] | None = None) -> Detections:
        """Those that score at least ``threshold`` and, where given, have one of ``labels``."""
        keep = self.scores >= threshold
        if labels is not None:
            keep &= np.isin(self.labels, labels)
        return self[keep]
