"""Records the quantized export of a checkpoint, and its loss of AP, in that checkpoint."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from detect.deployment.verification import Verification
from detect.errors import DiskError, UsageError
from detect.evaluation.speed_tuning import cost_of
from detect.inference.fast_choice import changed_settings
from detect.models import checkpoint
from detect.models.checkpoint import Checkpoint
from detect.models.checkpoint_file import own_checkpoint
from detect.models.fast_settings import FastSettings, write_fast_settings
from detect.progress import report


def record_int8(model: str | Path, exported: Path, verification: Verification, description: Checkpoint) -> None:
    """Store in a checkpoint where its quantized export lies, and the export's loss of AP and time per image.

    ``load_model`` uses it for ``precision="int8"`` and "auto". Nothing is stored for a model without a checkpoint file
    of the user, such as a bundled one, or in a folder that is not writable; nor for an export with another image size
    or other limits than the checkpoint, which is reported.

    exported: folder of the export. Its path relative to the checkpoint is stored.
    description: metadata of the export, a checkpoint without tensors.
    Raises CheckpointError and DiskError as ``change_checkpoint`` does.
    """
    try:
        path = own_checkpoint(model, "costs of exports")
    except (UsageError, DiskError):
        return
    saved = checkpoint.load(path)
    if changed := changed_settings(saved, description):
        report(f"not recorded in {model} for `precision='int8'` and `precision='auto'`: the export has {changed}")
        return
    stored = FastSettings.of(saved)
    precisions = dict(stored.precisions) | {"int8": cost_of(verification.before, verification.after)}
    relative = Path(os.path.relpath(exported, path.parent)).as_posix()
    write_fast_settings(path, replace(stored, precisions=precisions, int8_model=relative))
    report(f"recorded in {model}, so that `precision='int8'` and `precision='auto'` can use it")
