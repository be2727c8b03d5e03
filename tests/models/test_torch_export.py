"""torch.export takes the networks of a detector, for any number and size of images, and for any number of RoIs."""

from __future__ import annotations

import pytest
import torch
from helpers.tiny_models import TINY_ARCHITECTURE, random_model
from torch.export import Dim

from detect.models.cpu.fuse_bn import fuse_for_inference
from detect.models.prediction.networks import networks_of

STRIDE = 32  # images are padded to whole strides


@pytest.fixture(scope="module")
def networks():
    model = random_model(TINY_ARCHITECTURE).eval()
    fuse_for_inference(model)
    return networks_of(model)


@torch.no_grad()
@pytest.mark.parametrize(("name", "side"), [("box_head", 7), ("mask_head", 14)])
def test_head_is_exported_for_any_number_of_rois(networks, name, side):
    channels = networks["dense"](torch.rand(1, 3, 64, 64))[0].shape[1]
    rois = [torch.rand(count, channels, side, side) for count in (3, 7)]
    program = torch.export.export(networks[name], (rois[0],), dynamic_shapes=({0: Dim("rois")},))
    found, expected = (network(rois[1]) for network in (program.module(), networks[name]))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@torch.no_grad()
def test_dense_network_is_exported_for_any_number_and_size_of_images(networks):
    sizes = {0: Dim("images"), 2: STRIDE * Dim("rows", min=4, max=64), 3: STRIDE * Dim("columns", min=4, max=64)}
    program = torch.export.export(networks["dense"], (torch.rand(2, 3, 128, 192),), dynamic_shapes=(sizes,))
    images = torch.rand(3, 3, 192, 160)
    for found, expected in zip(program.module()(images), networks["dense"](images), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
