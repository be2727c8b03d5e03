"""Runtimes of the self-test that need an export: the checkpoint is exported, and must detect the same."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from detect.deployment.export import PACKAGES, export_float
from detect.evaluation.predict import BatchDetector
from detect.evaluation.selftest_repeats import RUNTIMES, RuntimeLoader
from detect.inference.load import load_model
from detect.inference.predictor import Predictor


def _exported(to: str) -> RuntimeLoader:
    """Return the loader that exports a checkpoint beside its file, and loads the export."""

    def load(predictor: Predictor, path: Path) -> BatchDetector | str:
        if missing := [package for package in PACKAGES[to] if find_spec(package) is None]:
            return f"{missing[0]} is not installed"
        imgsz = None if predictor.runtime.input_size.is_fixed else predictor.imgsz
        return load_model(export_float(path, to, path.parent, imgsz, predictor.max_detections), device="cpu")

    return load


ALL_RUNTIMES = RUNTIMES | {"ONNX Runtime": _exported("onnx"), "OpenVINO": _exported("openvino")}
