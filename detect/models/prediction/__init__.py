"""Prediction with torchvision's detectors, in parts: networks, and the steps between them.

A network is a part with weights, a function of tensors that torch, ONNX Runtime or OpenVINO can run. The steps are
selecting proposals, pooling RoIs, decoding boxes and NMS. They are the same whatever runs the networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from detect.models.builder import Detector
from detect.models.prediction.networks import Network
from detect.models.prediction.one_stage import OneStagePrediction
from detect.models.prediction.raw_detections import Limits, RawDetections
from detect.models.prediction.two_stage import TwoStagePrediction
from detect.models.torchvision_internals import GeneralizedRCNN

Prediction = Callable[[Tensor, Limits], RawDetections]
"""Function of a batch of resized images, float32 [N, 3, h, w], RGB in 0..1."""


def prediction_of(model: Detector, networks: Mapping[str, Network]) -> Prediction:
    """Return the prediction with ``networks``. ``model`` gives the settings of the steps; its weights are not used."""
    if isinstance(model, GeneralizedRCNN):
        return TwoStagePrediction(model, networks)
    return OneStagePrediction(model, networks)
