"""Export to OpenVINO: one network per file, in 32 or 16 bits or quantized to 8."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from torch import Tensor

from detect.deployment.float_layers import float_layers
from detect.deployment.tracing import example_inputs, quiet_tracing
from detect.errors import DiskError
from detect.inference.runtimes.openvino_runtime import openvino_core
from detect.inference.runtimes.packages import import_runtime
from detect.models.builder import Detector
from detect.models.prediction.networks import networks_of


def export_openvino(
    model: Detector, folder: Path, precision: str, calibration: Mapping[str, Sequence[Tensor]] | None = None
) -> None:
    """Write the networks of ``model`` to ``folder``: NAME.xml and NAME.bin.

    model: with fused batch norms, in evaluation mode.
    precision: "fp32"; "fp16", which halves the files and computes in float32; or "int8".
    calibration: for "int8" the inputs of each network by name, as ``network_inputs`` returns them.

    Any number and size of images can be detected with the files. Raises UsageError if openvino or, for "int8", nncf is
    not installed, and DiskError if a file cannot be written.
    """
    openvino = import_runtime("openvino", "`to='openvino'`")
    openvino_core("`to='openvino'`")  # before nncf creates and deletes Cores, see openvino_core
    examples, patterns = example_inputs(model), float_layers(model)
    for name, network in networks_of(model).items():
        with quiet_tracing():
            converted = openvino.convert_model(network, example_input=examples[name])
        fixed = list(examples[name].shape[1:] if name != "dense" or model.transform.fixed_size else (3, -1, -1))
        converted.reshape([-1, *fixed])
        if precision == "int8" and name in patterns:
            assert calibration is not None
            converted = _quantized(converted, patterns[name], calibration[name])
        try:
            openvino.save_model(converted, folder / f"{name}.xml", compress_to_fp16=precision == "fp16")
        except RuntimeError as error:  # OpenVINO reports every failed write as one
            raise DiskError(f"cannot write {folder}, perhaps because the disk is full: {error}") from None


def _quantized(network: Any, kept_in_float: str, inputs: Sequence[Tensor]) -> Any:
    """Return the network with 8-bit weights and activations, except in layers that the pattern matches."""
    nncf = import_runtime("nncf", "`int8`")
    scope = nncf.IgnoredScope(patterns=[f".*({kept_in_float}).*"], validate=False)
    dataset = nncf.Dataset(inputs, lambda one: one.contiguous().numpy())
    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            network,
            dataset,
            preset=nncf.QuantizationPreset.MIXED,  # activations may be asymmetric, as those without ReLU are
            subset_size=len(inputs),
            ignored_scope=scope,
            # CPUs without VNNI add pairs of products in 16 bits, which overflow unless weights have 7 bits.
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )
