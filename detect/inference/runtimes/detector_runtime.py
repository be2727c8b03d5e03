"""Base class of the runtimes: what they derive from the torchvision detector that they run."""

from __future__ import annotations

from detect.models.anchors import AnchorGrid
from detect.models.builder import Detector, max_detections_of, max_proposals_of, nms_iou_of
from detect.models.prediction.raw_detections import ONE_STAGE_LIMITS, TWO_STAGE_LIMITS
from detect.structures.image_size import InputSize


class DetectorRuntime:
    """Sizes, limits and anchors of a detector, see ``Runtime``.

    model: the detector; that of an exported model has no weights.
    """

    model: Detector

    @property
    def input_size(self) -> InputSize:
        return self.model.transform.input_size

    @property
    def max_detections(self) -> int:
        return max_detections_of(self.model)

    @property
    def nms_iou(self) -> float:
        return nms_iou_of(self.model)

    @property
    def proposals(self) -> int | None:
        return max_proposals_of(self.model)

    @property
    def applied_limits(self) -> frozenset[str]:
        return TWO_STAGE_LIMITS if hasattr(self.model, "rpn") else ONE_STAGE_LIMITS

    def why_fixed(self, limit: str) -> str:
        return "a one-stage detector has no proposals"

    def anchor_grid(self) -> AnchorGrid | None:
        return AnchorGrid.of(self.model) if hasattr(self.model, "rpn") else None
