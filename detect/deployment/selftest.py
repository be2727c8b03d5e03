"""Runtimes for the self-test of a checkpoint: torch, and those of its exports, which must detect the same."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from detect.deployment.export import PACKAGES, export_unverified
from detect.evaluation.predict import BatchDetector
from detect.evaluation.selftest_repeats import RUNTIMES, RuntimeLoader
from detect.inference.load import load_model
from detect.inference.predictor import Predictor


def _exported(to: str) -> RuntimeLoader:
    """Return a function that exports a checkpoint into its folder and loads the export, or says why it cannot."""

    def load(predictor: Predictor, path: Path) -> BatchDetector | str:
        if missing := [package for package in PACKAGES[to] if find_spec(package) is None]:
            return f"{missing[0]} is not installed"
        imgsz = None if predictor.runtime.input_size.is_fixed else predictor.imgsz
        limits: Any = {"imgsz": imgsz, "max_detections": predictor.max_detections}
        return load_model(export_unverified(path, to, path.parent, **limits), device="cpu")

    return load


ALL_RUNTIMES = RUNTIMES | {"ONNX Runtime": _exported("onnx"), "OpenVINO": _exported("openvino")}
