"""The objects that a model found in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detect.structures.masks import Rle


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
