"""Export of models to ONNX and OpenVINO, with the measured loss of AP."""

from __future__ import annotations

TARGETS = ("onnx", "openvino")
MAX_AP_DROP = 0.7  # points of AP, 0..100
CALIBRATION_IMAGES = 64  # for int8
