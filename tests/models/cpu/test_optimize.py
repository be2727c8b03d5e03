"""A model with the CPU equivalents has the losses, gradients and parameter names of torchvision's parts."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from helpers.feature_maps import assert_close, gradients
from helpers.tiny_models import randomize_norms, training_batch
from torch import nn
from torchvision.ops import MultiScaleRoIAlign

from detect.models.architecture import backbone_architecture, detector_architecture
from detect.models.builder import assemble, build
from detect.models.cpu.conv import BandedConv3x3
from detect.models.cpu.fuse_bn import fuse_frozen_batch_norms
from detect.models.cpu.roi_align import VectorizedRoIAlign
from detect.models.cpu.rpn import SampledRPN
from detect.models.freeze import freeze_stages
from detect.models.torchvision_internals import RegionProposalNetwork


def losses_and_gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the losses and all gradients of one step; every call samples the same proposals."""
    torch.manual_seed(3)
    losses = model.train()(*training_batch())
    torch.stack(list(losses.values())).sum().backward()
    return {**{name: value.detach() for name, value in losses.items()}, **gradients(model)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "v1", "retinanet"])
def test_losses_and_gradients_equal_those_of_torchvisions_parts(name):
    """The batch norms and the first stage of the backbone are frozen."""
    architecture = (
        replace(backbone_architecture(name, "maskrcnn", 96), norm="frozen")
        if name == "mobilenet_v2"
        else detector_architecture(name, 96)
    )
    torch.manual_seed(0)
    optimized = build(architecture, 3)
    randomize_norms(optimized)
    plain = assemble(architecture, 3)
    plain.transform = copy.deepcopy(optimized.transform)
    plain.load_state_dict(optimized.state_dict())
    for model in (optimized, plain):
        freeze_stages(model, 1)
    kinds = {type(module) for module in optimized.modules()}
    assert {VectorizedRoIAlign, SampledRPN} <= kinds or name == "retinanet"
    assert BandedConv3x3 in kinds and not {MultiScaleRoIAlign, RegionProposalNetwork} & kinds
    fuse_frozen_batch_norms(optimized)
    assert_close(losses_and_gradients(optimized), losses_and_gradients(plain), 2e-3)
