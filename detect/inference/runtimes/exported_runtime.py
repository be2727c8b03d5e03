"""Base class of the runtimes of exported models."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch

from detect.errors import UsageError
from detect.inference.exported_model import ExportFacts
from detect.models.anchors import AnchorGrid
from detect.models.architecture import Architecture
from detect.models.builder import Detector, max_detections_of, max_proposals_of, nms_iou_of, outline, set_max_proposals
from detect.models.checkpoint import Checkpoint
from detect.models.prediction.raw_detections import ONE_STAGE_LIMITS, TWO_STAGE_LIMITS
from detect.models.torchvision_internals import GeneralizedRCNN
from detect.structures.image_size import InputSize


class ExportedRuntime:
    """An exported model. Its settings were fixed when it was exported.

    path: file or folder of the model.
    saved: description of the model, a checkpoint without tensors.
    facts: how the model was exported.
    """

    name: str
    device = torch.device("cpu")

    def __init__(self, path: Path, saved: Checkpoint, facts: ExportFacts) -> None:
        self.path, self.saved, self.facts = path, saved, facts
        self.precision = facts.precision

    @cached_property
    def outline(self) -> Detector:
        """The detector without weights, which has its sizes, limits and anchors."""
        architecture = Architecture.from_json(self.saved.architecture)
        model = outline(architecture, self.saved.num_rows)
        if isinstance(model, GeneralizedRCNN) and architecture.max_proposals is not None:
            set_max_proposals(model, architecture.max_proposals)  # exact in an export, and not a minimum
        return model

    @property
    def input_size(self) -> InputSize:
        return self.outline.transform.input_size

    @property
    def max_detections(self) -> int:
        return max_detections_of(self.outline)

    @property
    def nms_iou(self) -> float:
        return nms_iou_of(self.outline)

    @property
    def has_masks(self) -> bool:
        return Architecture.from_json(self.saved.architecture).has_masks

    @property
    def num_parameters(self) -> int:
        return self.facts.num_parameters

    @property
    def proposals(self) -> int | None:
        return max_proposals_of(self.outline)

    @property
    def applied_limits(self) -> frozenset[str]:
        return TWO_STAGE_LIMITS if hasattr(self.outline, "rpn") else ONE_STAGE_LIMITS

    def anchor_grid(self) -> AnchorGrid | None:
        return AnchorGrid.of(self.outline) if hasattr(self.outline, "rpn") else None

    def check_precision(self, precision: str | None) -> None:
        """Raise UsageError for a precision that differs from that of the export."""
        if precision not in (None, self.facts.precision):
            raise UsageError(
                f"`precision='{precision}'`: {self.path.name} was exported in {self.facts.precision}; omit `precision`"
            )

    def check_settings(self, imgsz: int | None, max_detections: int | None) -> None:
        """Raise UsageError for settings that differ from those of the export."""
        for name, given, own in (
            ("imgsz", imgsz, self.input_size.short),
            ("max_detections", max_detections, self.max_detections),
        ):
            if given is not None and given != own:
                raise UsageError(
                    f"`{name}={given}`: {self.path.name} was exported with {own}; omit `{name}`, or export the"
                    f" checkpoint again with `{name}={given}`"
                )
