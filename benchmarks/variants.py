"""The ways of running a model that ``benchmark.py inference`` compares. Without torch, since --help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

BASE = "torchvision eager"
# Files that a variant loads -> packages that writing and running them needs.
PACKAGES = {
    "torchvision": (),
    "torch": (),
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "openvino_int8": ("openvino", "nncf"),
}
EXTRA = "python -m pip install -r requirements-export.txt"


@dataclass(frozen=True)
class Variant:
    """One way of running the model.

    title: name in the table.
    file: what it loads, a key of PACKAGES: the checkpoint ("torchvision", "torch") or one of its exports.
    precision: number format of most computations: "fp32", "bf16" or "int8".
    is_compiled: whether the networks are compiled by ``torch.compile``.
    is_fast: whether it classifies fewer proposals.
    """

    title: str
    file: str
    precision: str = "fp32"
    is_compiled: bool = False
    is_fast: bool = False

    @property
    def peak(self) -> str:
        """Number format of the matrix products with which this variant is compared. torch has none in int8."""
        return "bf16" if self.precision == "bf16" else "fp32"

    def missing_package(self) -> str | None:
        """Return an optional package that the variant needs and that is not installed, or None."""
        return next((name for name in PACKAGES[self.file] if find_spec(name) is None), None)


TORCHVISION = Variant(BASE, "torchvision")
# Name on the command line -> variant that is measured beside torchvision's code.
VARIANTS = {
    "fp32": Variant("fp32", "torch"),
    "bf16": Variant("bf16", "torch", "bf16"),
    "compiled": Variant("compiled fp32", "torch", is_compiled=True),
    "fast": Variant("fast fp32", "torch", is_fast=True),
    "fast-bf16": Variant("fast bf16", "torch", "bf16", is_fast=True),
    "onnx": Variant("ONNX Runtime fp32", "onnx"),
    "openvino": Variant("OpenVINO fp32", "openvino"),
    "openvino-bf16": Variant("OpenVINO bf16", "openvino", "bf16"),
    "openvino-int8": Variant("OpenVINO int8", "openvino_int8", "int8"),
    "fast-openvino": Variant("fast OpenVINO fp32", "openvino", is_fast=True),
    "fast-openvino-bf16": Variant("fast OpenVINO bf16", "openvino", "bf16", is_fast=True),
    "fast-openvino-int8": Variant("fast OpenVINO int8", "openvino_int8", "int8", is_fast=True),
}
