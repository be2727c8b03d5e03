"""Faster settings of a model, and what they cost in AP: measured after its training, and stored in its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from detect.errors import CheckpointError
from detect.models.checkpoint import Checkpoint
from detect.models.checkpoint_file import change_checkpoint

MAX_PROPOSALS_LOSS = 0.1  # points of AP
MAX_PRECISION_LOSS = 0.3  # points of AP


@dataclass(frozen=True)
class Cost:
    """Loss of AP and time of a setting.

    ap_loss: loss in points of AP (0..100) against fp32 with all proposals, the larger of bbox and segm AP; negative
        if both are higher.
    time: time per image as a fraction of the time in fp32 with all proposals.
    device: type of the device that was measured, such as "cpu".
    data: dataset and split on which it was measured, in words.
    """

    ap_loss: float
    time: float
    device: str
    data: str


@dataclass(frozen=True)
class FastSettings:
    """Faster settings of a model.

    proposals: smallest measured number of proposals per image that loses at most MAX_PROPOSALS_LOSS; None if none
        does, or if it was not measured.
    proposals_cost: its Cost.
    precisions: number format, such as "bf16" -> its Cost with all proposals.
    int8_model: path of the quantized export, relative to the folder of the checkpoint; None if there is none.
    """

    proposals: int | None = None
    proposals_cost: Cost | None = None
    precisions: Mapping[str, Cost] = field(default_factory=dict)
    int8_model: str | None = None

    @classmethod
    def of(cls, saved: Checkpoint) -> FastSettings:
        """Return the settings that are stored in a checkpoint; empty if there are none.

        Raises CheckpointError if they are damaged.
        """
        values = dict(saved.fast)
        try:
            cost = values.pop("proposals_cost", None)
            precisions = {name: Cost(**one) for name, one in values.pop("precisions", {}).items()}
            return cls(**values, proposals_cost=None if cost is None else Cost(**cost), precisions=precisions)
        except (TypeError, AttributeError) as error:
            raise CheckpointError(f"the checkpoint has damaged faster settings: {error}") from None

    def to_json(self) -> dict[str, Any]:
        """Return the settings as values that JSON can represent."""
        return asdict(replace(self, precisions=dict(self.precisions)))

    def allowed_precisions(self, device: str) -> list[str]:
        """Return the number formats that lose at most MAX_PRECISION_LOSS and were faster than fp32 on this type of
        device, the fastest first."""
        allowed = {
            name: cost.time
            for name, cost in self.precisions.items()
            if cost.device == device and cost.ap_loss <= MAX_PRECISION_LOSS and cost.time < 1
        }
        return sorted(allowed, key=allowed.__getitem__)


def write_fast_settings(path: Path, settings: FastSettings) -> None:
    """Store the settings in a checkpoint file, in place of former ones; its tensors keep every bit.

    Raises CheckpointError for a damaged file, and DiskError.
    """
    change_checkpoint(path, lambda saved: replace(saved, fast=settings.to_json()))
