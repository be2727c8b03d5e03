"""The checkpoint file of an evaluated model, and the log of the training beside it."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detect.data.digests import image_digest, image_digests, read_digests
from detect.errors import CheckpointError
from detect.inference.exported_model import is_exported
from detect.inference.predictor import Predictor
from detect.inference.runtimes.exported_runtime import ExportedRuntime
from detect.io.downloads import sha256_of
from detect.models import checkpoint
from detect.models.checkpoint import Checkpoint
from detect.models.zoo import OPENVINO_FILE

LOG = "metrics.jsonl"


@dataclass(frozen=True)
class SavedModel:
    """A checkpoint file without its tensors.

    path: the file.  sha256: hex digest of the file.  checkpoint: everything but the tensors.
    epochs: rows of the file metrics.jsonl in the same folder, one per epoch; empty if there is none, and for an
        exported model.
    """

    path: Path
    sha256: str
    checkpoint: Checkpoint
    epochs: list[dict[str, Any]]

    @property
    def train_digests(self) -> frozenset[str]:
        """Digests of the training images, from the file beside the checkpoint; empty if there is none.

        Checkpoints of earlier versions hold the SHA-256 of each image themselves.
        """
        data = self.checkpoint.data
        return frozenset(data.get("train_fingerprint") or read_digests(self.path, data.get("train_digest", "")))


def read_saved_model(predictor: Predictor) -> SavedModel | None:
    """Return the description of the file of a model; None if it has none, and for one that is not a checkpoint.

    That of an exported model is part of its metadata.
    """
    path = predictor.path
    if path is not None and is_exported(path):
        assert isinstance(predictor.runtime, ExportedRuntime)
        return SavedModel(
            path, sha256_of(path if path.is_file() else path / OPENVINO_FILE), predictor.runtime.saved, []
        )
    if path is None or not path.is_file():
        return None
    try:
        description = replace(checkpoint.load(path), state={})
    except CheckpointError:
        return None
    return SavedModel(path, sha256_of(path), description, read_epochs(path.with_name(LOG)))


def read_epochs(log: Path) -> list[dict[str, Any]]:
    """Return the rows of a file metrics.jsonl, ascending; those that are damaged or incomplete are left out."""
    rows: dict[int, dict[str, Any]] = {}
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            row = json.loads(line)
            if isinstance(row["losses"], dict) and isinstance(row["val"], dict):
                rows[int(row["epoch"])] = row
    return [rows[epoch] for epoch in sorted(rows)]


def are_training_images(paths: Sequence[Path], digests: Collection[str]) -> np.ndarray:
    """Return which of N image files have one of the ``train_digests`` of a model, bool [N]."""
    if not digests:
        return np.zeros(len(paths), bool)
    is_sha256 = len(next(iter(digests))) == 64  # of an earlier version
    found = image_digests(paths, sha256_of if is_sha256 else image_digest)
    return np.array([digest in digests for digest in found], bool)
