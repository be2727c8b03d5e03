"""Runs a detector with PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detect.errors import UsageError
from detect.inference.runtimes.detector_runtime import DetectorRuntime
from detect.models.builder import Detector, set_max_detections
from detect.models.prediction import prediction_of
from detect.models.prediction.networks import Network, networks_of
from detect.models.prediction.raw_detections import Limits, RawDetections
from detect.options import check_max_detections
from detect.text import unknown

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchRuntime(DetectorRuntime):
    """Runs a detector with PyTorch on a CPU or another device.

    The networks share the weights of ``model``: during a training, call ``model.eval()`` before ``detect``, which then
    uses the current weights.

    model: Detector of ``detect.models.builder.build``.
    """

    name = "torch"

    def __init__(
        self,
        model: Detector,
        *,
        device: torch.device | str = "cpu",
        max_detections: int | None = None,
        precision: str = "fp32",
    ) -> None:
        """max_detections: new limit of ``model``, 1..10000; by default the model keeps its own.

        precision: a name in PRECISIONS. "bf16" and "fp16" convert the weights of the model, which then cannot be
        trained. RoIAlign, boxes and scores stay in float32.

        Raises UsageError for an invalid number or precision."""
        if precision not in PRECISIONS:
            raise UsageError(unknown("precision", precision, PRECISIONS))
        if max_detections is not None:
            check_max_detections(max_detections)
            set_max_detections(model, int(max_detections))
        self.precision = precision
        self.model = model.to(device).eval()
        self.device = torch.device(device)
        if precision != "fp32":
            self.model.to(PRECISIONS[precision])
        self._networks = networks_of(self.model)
        dtype = None if precision == "fp32" else PRECISIONS[precision]
        self._predict = prediction_of(self.model, {name: _taking(n, dtype) for name, n in self._networks.items()})

    @property
    def has_masks(self) -> bool:
        return "mask_head" in self._networks

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @torch.inference_mode()
    def detect(self, images: Tensor, limits: Limits) -> RawDetections:
        if self.model.training:
            raise RuntimeError("the model is in training mode; call model.eval() before its predictor")
        return self._predict(images, limits).cpu()


def _taking(network: nn.Module, dtype: torch.dtype | None) -> Network:
    """Return ``network`` as a function that converts its input to ``dtype``; None converts nothing."""
    return network if dtype is None else lambda inputs: network(inputs.to(dtype))
