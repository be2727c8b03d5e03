"""Runs an exported model with ONNX Runtime (https://onnxruntime.ai)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detect.errors import CheckpointError
from detect.inference.exported_model import from_metadata
from detect.inference.runtimes.exported_runtime import ExportedRuntime
from detect.inference.runtimes.packages import import_runtime
from detect.models.prediction.raw_detections import Limits, RawDetections
from detect.models.prediction.two_stage import keypoints_in

INPUTS = ("images", "threshold")
OUTPUTS = ("image_index", "boxes", "scores", "labels")
HEAD_OUTPUTS = {"mask_head": "masks", "keypoint_head": "keypoint_heatmaps"}
"""Further outputs of models with these networks."""


class OnnxRuntime(ExportedRuntime):
    """Runs the whole detector, NMS included, as one graph.

    path: .onnx file that export.py wrote.
    precision: that of the export, or None.

    Raises CheckpointError for a file that is missing, damaged or not from export.py, and UsageError for another
    precision and if the package onnxruntime is not installed.
    """

    name = "onnxruntime"
    applied_limits = frozenset()  # NMS and proposals are part of the graph

    def __init__(self, path: Path, precision: str | None = None) -> None:
        onnxruntime = import_runtime("onnxruntime", path)
        if not path.is_file():
            raise CheckpointError(f"no such file: {path}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors; warnings are about its own optimizations
        try:
            self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common class
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{path} is not an ONNX model that can be run: {reason}") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        super().__init__(path, *from_metadata(metadata, path))
        self.check_precision(precision)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def why_fixed(self, limit: str) -> str:
        if limit == "proposals" and self.proposals is None:
            return super().why_fixed(limit)
        if limit == "proposals":
            return "the number is part of an ONNX model; export the checkpoint again with another one"
        return "NMS is part of an ONNX model and cannot be changed; use the checkpoint, or export it for OpenVINO"

    def detect(self, images: Tensor, limits: Limits) -> RawDetections:
        threshold = torch.tensor(limits.threshold, dtype=torch.float32)
        values = (images.contiguous().numpy(), threshold.numpy())
        arrays = self._session.run(None, dict(zip(INPUTS, values, strict=True)))
        found = dict(zip(self._outputs, map(torch.from_numpy, arrays), strict=True))
        heatmaps = found.get("keypoint_heatmaps")
        keypoints = None if heatmaps is None else keypoints_in(heatmaps, found["boxes"])
        owners, boxes, scores, rows = (found[name] for name in OUTPUTS)
        return RawDetections(owners, boxes, scores, rows, found.get("masks"), keypoints)
