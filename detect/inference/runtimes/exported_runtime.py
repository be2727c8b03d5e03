"""Base class of the runtimes of exported models."""

from __future__ import annotations

from pathlib import Path

import torch

from detect.errors import UsageError
from detect.inference.exported_model import ExportFacts
from detect.inference.runtimes.detector_runtime import DetectorRuntime
from detect.models.architecture import Architecture
from detect.models.builder import Detector, outline, set_max_proposals
from detect.models.checkpoint import Checkpoint
from detect.models.torchvision_internals import GeneralizedRCNN


class ExportedRuntime(DetectorRuntime):
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
        self.model = _outline(Architecture.from_json(saved.architecture), saved.num_rows)

    @property
    def has_masks(self) -> bool:
        return Architecture.from_json(self.saved.architecture).has_masks

    @property
    def num_parameters(self) -> int:
        return self.facts.num_parameters

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


def _outline(architecture: Architecture, num_rows: int) -> Detector:
    """Return the detector without weights, with exactly the number of proposals of the export."""
    model = outline(architecture, num_rows)
    if isinstance(model, GeneralizedRCNN) and architecture.max_proposals is not None:
        set_max_proposals(model, architecture.max_proposals)  # ``outline`` has at least that many
    return model
