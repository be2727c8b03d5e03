"""torchvision's own detectors with the weights of a checkpoint, run by torchvision's code only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detect.models import checkpoint
from detect.models.architecture import Architecture
from detect.models.builder import assemble, score_owner
from detect.models.torchvision_internals import GeneralizedRCNNTransform
from detect.models.transform import DetectorTransform
from detect.structures import masks
from detect.structures.detections import Detections


class TorchvisionDetector:
    """A detector of torchvision in evaluation mode, with torchvision's transform and mask pasting.

    path: file of the checkpoint.  imgsz: short side of the resized images in pixels; None for the checkpoint's.
    """

    def __init__(self, path: Path, imgsz: int | None = None) -> None:
        saved = checkpoint.load(path)
        architecture = Architecture.from_json(saved.architecture)
        self.model: Any = assemble(architecture, saved.num_rows)
        self.model.load_state_dict(saved.state)
        self.model.transform = _transform(architecture, imgsz)
        self.model.eval()
        self.class_names = saved.class_names
        self.threshold = min(
            (dict.fromkeys(saved.class_names.names, saved.threshold) | saved.class_thresholds).values()
        )
        rows = saved.class_rows or range(1, len(saved.class_names) + 1)
        self._label_of_row = np.zeros(saved.num_rows, np.int64)  # 0 for the background and for rows without a class
        self._label_of_row[list(rows)] = np.arange(1, len(rows) + 1)

    @property
    def imgsz(self) -> int:
        """Short side of the resized images in pixels."""
        return self.model.transform.min_size[-1]

    @torch.inference_mode()
    def detect(self, image: np.ndarray, threshold: float | None = None) -> dict[str, Any]:
        """Return what torchvision does for an image, uint8 RGB [H, W, 3], masks as float32 [N, 1, H, W]."""
        owner: Any = score_owner(self.model)
        owner.score_thresh = self.threshold if threshold is None else threshold
        (found,) = self.model([torch.from_numpy(image).permute(2, 0, 1) / 255])
        return found

    def predict_batch(
        self, images: Sequence[np.ndarray], labels: Sequence[int] | None = None, threshold: float | None = None
    ) -> list[Detections]:
        """Return the Detections of each image, as ``Predictor.predict_batch``, one image at a time."""
        results = [self._to_detections(self.detect(image, threshold), image.shape[:2]) for image in images]
        return results if labels is None else [one.filter(labels=labels) for one in results]

    def _to_detections(self, found: dict[str, Any], image_hw: tuple[int, int]) -> Detections:
        own = self._label_of_row[found["labels"].numpy()]
        kept = np.flatnonzero(own)
        rles = None
        if "masks" in found:
            rles = [masks.from_bitmap((found["masks"][i, 0] > 0.5).numpy()) for i in kept]
        boxes, scores = found["boxes"].numpy()[kept], found["scores"].numpy()[kept]
        return Detections(image_hw, boxes, scores, own[kept], rles, class_names=self.class_names)


def _transform(architecture: Architecture, imgsz: int | None) -> GeneralizedRCNNTransform:
    """Return torchvision's transform with the sizes of this toolkit. Raises UsageError for an unsupported size."""
    ours = DetectorTransform(architecture)
    if imgsz is not None:
        ours.set_size(imgsz)
    size = ours.input_size
    fixed: dict[str, Any] = {}
    if size.is_fixed:
        fixed = {"fixed_size": ours.fixed_size, "size_divisible": ours.size_divisible}
    return GeneralizedRCNNTransform(size.short, size.long, ours.image_mean, ours.image_std, **fixed)
