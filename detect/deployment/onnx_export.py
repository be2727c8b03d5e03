"""Export to ONNX: the whole detector as one graph, NMS included."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detect.deployment.float_layers import float_layers
from detect.deployment.onnx_quantization import quantize_onnx
from detect.deployment.tracing import example_inputs, quiet_tracing
from detect.inference.runtimes.onnx_runtime import HEAD_OUTPUTS, INPUTS, OUTPUTS
from detect.inference.runtimes.packages import import_runtime
from detect.models.builder import Detector, max_detections_of
from detect.models.prediction import prediction_of
from detect.models.prediction.networks import networks_of
from detect.models.prediction.raw_detections import Limits

OPSET = 17
_CALIBRATION_THRESHOLD = 0.5  # only heads that stay in float depend on it


class _Graph(nn.Module):
    """A detector as a function of tensors that can be traced."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks_of(model))
        self._predict = prediction_of(model, self.networks)  # type: ignore[arg-type]
        self._max_detections = max_detections_of(model)

    def forward(self, images: Tensor, threshold: Any) -> tuple[Tensor, ...]:
        found = self._predict(images, Limits(threshold, self._max_detections))
        outputs = (found.images, found.boxes, found.scores, found.rows, found.masks, found.keypoints)
        return tuple(one for one in outputs if one is not None)


def export_onnx(model: Detector, path: Path, calibration: Iterable[Tensor] | None = None) -> None:
    """Write ``model`` as an ONNX graph, in float or, with ``calibration``, quantized to 8 bits.

    model: with fused batch norms, in evaluation mode.
    calibration: resized images, float32 [3, h, w], RGB in 0..1.

    Inputs: ``images``, float32 [N, 3, h, w], RGB in 0..1, resized to the size of the model; and ``threshold``, the
    minimum score, float32 without dimensions. Outputs: ``image_index``, int64 [D], the image of each detection;
    ``boxes``, float32 [D, 4], xyxy in pixels of the resized images; ``scores``, float32 [D]; ``labels``, int64 [D],
    rows of the classification layer; of a model with masks ``masks``, float32 [D, 28, 28], probabilities inside the
    box; and of a model with keypoints ``keypoint_heatmaps``, float32 [D, 17, 56, 56], logits inside the box.
    N, h, w and D are dynamic, and D may be 0.
    Raises UsageError if onnx or, with ``calibration``, onnxruntime is not installed.
    """
    import_runtime("onnx", "`to='onnx'`")
    graph = _Graph(model).eval()
    outputs = [*OUTPUTS, *(name for head, name in HEAD_OUTPUTS.items() if head in graph.networks)]
    axes = {INPUTS[0]: {0: "n", 2: "h", 3: "w"}} | {name: {0: "d"} for name in outputs}
    inputs = (example_inputs(model)["dense"], torch.tensor(0.0))
    traced = path if calibration is None else path.with_name("float.onnx")
    with quiet_tracing():
        # The exporter of torch.export fails on data-dependent shapes such as the number of detections.
        torch.onnx.export(
            graph, inputs, traced, dynamo=False, opset_version=OPSET, input_names=list(INPUTS),
            output_names=outputs, dynamic_axes=axes,
        )  # fmt: skip
    if calibration is not None:
        threshold = np.array(_CALIBRATION_THRESHOLD, np.float32)
        values = ((image[None].numpy(), threshold) for image in calibration)
        quantize_onnx(traced, path, float_layers(model), (dict(zip(INPUTS, pair, strict=True)) for pair in values))
        traced.unlink()
