"""Images that calibrate a quantization to 8 bits, and the inputs of the networks for them.

Images, and the inputs of the network that processes whole images, are made each time that they are accessed: those of
64 images of 800 x 1333 pixels together take 0.8 GB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detect.data.dataset import read_record
from detect.data.image_problems import UnreadableImageError
from detect.data.spec import DatasetSpec
from detect.deployment.float_layers import float_layers
from detect.errors import DataError
from detect.inference.predictor import Predictor
from detect.inference.resizing import resized
from detect.models.builder import Detector
from detect.models.prediction.input_images import normalized

_MAX_ROIS = 32  # of each image


class LazySequence(Sequence[Any]):
    """The results of a function for the items of a sequence, computed at each access and not kept."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self._function, self._items = function, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._function(self._items[index])


def evenly_spaced_images(spec: DatasetSpec, split: str, count: int) -> Sequence[np.ndarray]:
    """Return ``count`` images, uint8 RGB [H, W, 3], evenly spaced over a split, without those that cannot be read.

    Raises DataError if none can be read.
    """
    _, records = spec.read(split)
    readable = []
    for i in np.unique(np.linspace(0, len(records) - 1, count).astype(int)):
        with suppress(UnreadableImageError):
            read_record(records[i])
            readable.append(records[i])
    if not readable:
        raise DataError(f"dataset '{spec.name}': no image of split '{split}' can be read to calibrate `int8`")
    return LazySequence(read_record, readable)


def network_inputs(predictor: Predictor, model: Detector, images: Sequence[np.ndarray]) -> dict[str, Sequence[Tensor]]:
    """Return the inputs of each network to quantize, by name, for ``images``, uint8 RGB [H, W, 3].

    predictor: runs ``model``.
    Returns one tensor per image: float32 [1, 3, h, w] for "dense" (backbone, FPN and RPN), and for a head the features
    of up to 32 RoIs, float32 [R, C, S, S]. Those of the head are kept, up to 1.6 MB per image, since they take a
    detection.
    """
    heads = [name for name in float_layers(model) if name != "dense"]
    dense = LazySequence(partial(_dense_input, predictor, model), images)
    return {"dense": dense, **(_head_inputs(predictor, model, heads, images) if heads else {})}


def _dense_input(predictor: Predictor, model: Detector, image: np.ndarray) -> Tensor:
    one = resized(image, predictor.resized_hw(image.shape[:2]), predictor.device)
    return normalized(one[None], model.transform)


def _head_inputs(
    predictor: Predictor, model: Detector, heads: Sequence[str], images: Sequence[np.ndarray]
) -> dict[str, Sequence[Tensor]]:
    """Detect objects in ``images`` and return the inputs of heads."""
    recorded: dict[str, list[Tensor]] = {name: [] for name in heads}
    hooks = [
        getattr(model.roi_heads, name).register_forward_pre_hook(
            lambda _, inputs, name=name: _keep(recorded[name], inputs[0])
        )
        for name in heads
    ]
    try:
        for image in images:
            predictor.predict_batch([image])
    finally:
        for hook in hooks:
            hook.remove()
    return dict(recorded)


def _keep(recorded: list[Tensor], inputs: Tensor) -> None:
    """Keep the features of up to _MAX_ROIS RoIs, evenly spaced by score."""
    if not len(inputs):
        return
    chosen = torch.linspace(0, len(inputs) - 1, min(len(inputs), _MAX_ROIS)).long()
    recorded.append(inputs[chosen].contiguous())
