"""Quantization of an ONNX graph to 8 bits."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from detect.inference.runtimes.packages import import_runtime

# ReLUs are merged into the layers before them, whose outputs then use all 8 bits for positive values.
_TYPES = ("Conv", "Gemm", "MatMul", "Relu")


def quantize_onnx(
    source: Path, target: Path, float_layers: Mapping[str, str], inputs: Iterable[Mapping[str, np.ndarray]]
) -> None:
    """Write the graph ``source`` with 8-bit weights and activations to ``target``.

    float_layers: networks to quantize, and patterns of their layers that stay in float, see ``float_layers``.
    inputs: the inputs of the graph for calibration images, by name.

    The range of a quantized tensor is the mean of its ranges in the images; with the largest of them, AP was lower by
    1.6 points (bundled model, balloon val). Raises UsageError if onnx or onnxruntime is not installed.
    """
    onnx = import_runtime("onnx", "`int8`")
    quantization = import_runtime("onnxruntime.quantization", "`int8`")
    names = list(_layers(onnx.load(source).graph, float_layers))
    assert names, "an empty list would quantize every node"
    with _without_warnings():
        quantization.quantize_static(
            source,
            target,
            _Reader(iter(inputs)),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(_TYPES),
            nodes_to_quantize=names,
            per_channel=True,
            # CPUs without VNNI add pairs of products in 16 bits, which overflow unless weights have 7 bits.
            reduce_range=True,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options={"CalibMovingAverage": True},  # a plain mean, since the ranges of all images are kept
        )


def _layers(graph: Any, float_layers: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of the nodes to quantize. A node is named after its modules, such as /dense/head/Conv."""
    for node in graph.node:
        network, _, layer = node.name.lstrip("/").partition("/")
        if node.op_type in _TYPES and network in float_layers and not re.search(float_layers[network], f"/{layer}"):
            yield node.name


class _Reader:
    """Gives the inputs one after the other, as onnxruntime's CalibrationDataReader does."""

    def __init__(self, inputs: Iterator[Mapping[str, np.ndarray]]) -> None:
        self._inputs = inputs

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._inputs, None)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide the advice to optimize the graph before its quantization, which fails on data-dependent shapes."""
    former = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(former)
