"""Tracing of a model for an export: inputs to trace with, and hidden warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from detect.models.builder import Detector
from detect.models.prediction.networks import networks_of

_SIDE = 128  # pixels of an example image, a multiple of every stride


@contextmanager
def quiet_tracing() -> Iterator[None]:
    """Turn off gradients, and hide the warnings that Python values become constants, which every detector causes.

    Tests with images of other sizes prove that no size became a constant.
    """
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


@torch.no_grad()
def example_inputs(model: Detector) -> dict[str, Tensor]:
    """Return a small random input of each network by name: [1, 3, h, w] for "dense", [2, C, S, S] for heads."""
    side = model.transform.min_size[-1] if model.transform.fixed_size else _SIDE
    examples = {"dense": torch.rand(1, 3, side, side)}
    networks = networks_of(model)
    channels = networks["dense"](examples["dense"])[0].shape[1] if len(networks) > 1 else 0
    for name in networks.keys() - {"dense"}:
        pooler = getattr(model.roi_heads, f"{name.removesuffix('_head')}_roi_pool")
        examples[name] = torch.rand(2, channels, *pooler.output_size)
    return examples
