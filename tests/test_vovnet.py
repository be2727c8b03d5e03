"""VoVNet: the same network as timm's, and taps that a pyramid can trust."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FrozenBatchNorm2d

from detect.models.backbones.vovnet import WIDTHS, VoVNet

TAPS = {"stage2": (4, 256), "stage3": (8, 512), "stage4": (16, 768), "stage5": (32, 1024)}


def taps(trunk: VoVNet, images: torch.Tensor) -> dict[str, torch.Tensor]:
    getter = IntermediateLayerGetter(nn.Sequential(trunk.layers()), {name: name for name in TAPS})
    with torch.inference_mode():
        return getter(images)


@pytest.fixture(scope="module")
def trunk() -> VoVNet:
    torch.manual_seed(0)
    return VoVNet(WIDTHS["vovnet19"]).eval()


def randomize(module: nn.Module) -> None:
    """Give every BatchNorm weights and statistics that show if one is swapped, missing or has another eps."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
            nn.init.normal_(norm.running_mean, std=0.2)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)


def test_timms_state_loads_strictly_and_gives_timms_features_at_an_odd_size():
    timm_vovnet = pytest.importorskip("timm.models.vovnet")
    torch.manual_seed(1)
    theirs = timm_vovnet.VovNet(timm_vovnet.model_cfgs["ese_vovnet19b"], num_classes=7).eval()
    randomize(theirs)
    ours = VoVNet(WIDTHS["vovnet19"]).eval()
    state = {name: value for name, value in theirs.state_dict().items() if not name.startswith("head.")}
    ours.load_state_dict(state, strict=True)

    images = torch.randn(2, 3, 97, 131)
    with torch.inference_mode():
        expected = theirs.forward_intermediates(images, indices=[1, 2, 3, 4], intermediates_only=True)
    found = taps(ours, images)
    assert len(expected) == len(found) == 4
    for name, wanted in zip(TAPS, expected, strict=True):
        assert found[name].shape == wanted.shape
        assert (found[name] - wanted).abs().max() <= 1e-5 * wanted.abs().max(), name


def test_taps_have_the_promised_strides_and_channels(trunk):
    found = taps(trunk, torch.randn(1, 3, 64, 128))
    assert list(found) == list(TAPS)
    for name, (stride, channels) in TAPS.items():
        assert found[name].shape == (1, channels, 64 // stride, 128 // stride)


def test_layers_in_order_are_the_forward_pass(trunk):
    images = torch.randn(1, 3, 65, 75)
    x = images
    with torch.inference_mode():
        for layer in trunk.layers().values():
            x = layer(x)
        assert torch.equal(x, trunk(images))


def test_the_norm_layer_is_the_callers_everywhere():
    trunk = VoVNet(WIDTHS["vovnet19"], norm_layer=FrozenBatchNorm2d)
    kinds = {type(m) for m in trunk.modules() if "Norm2d" in type(m).__name__}
    assert kinds == {FrozenBatchNorm2d}


def test_a_fresh_trunk_neither_explodes_nor_dies_and_learns_everywhere():
    torch.manual_seed(0)
    trunk = VoVNet(
        WIDTHS["vovnet19"],
    )
    features = trunk(torch.randn(2, 3, 64, 64))
    assert 0.01 < features.std() < 10
    features.square().mean().backward()
    silent = [name for name, p in trunk.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent
