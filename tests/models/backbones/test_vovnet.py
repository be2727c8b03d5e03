"""VoVNet: the same networks as timm's, and taps that a pyramid can trust."""

from __future__ import annotations

import pytest
import torch
from helpers.tiny_models import randomize_norms
from torchvision.ops import FrozenBatchNorm2d

from detect.models.backbones import build_backbone
from detect.models.backbones.vovnet import WIDTHS, VoVNet
from detect.models.imagenet import PUBLISHED
from detect.models.zoo import BACKBONES

TIMMS = {
    "vovnet19": "ese_vovnet19b",
    "vovnet19_slim": "ese_vovnet19b_slim",
    "vovnet19_dw": "ese_vovnet19b_dw",
    "vovnet39": "ese_vovnet39b",
    "vovnet57": "ese_vovnet57b",
}


def test_every_vovnet_is_compared_with_timms():
    assert set(TIMMS) == set(WIDTHS) == {name for name in BACKBONES if name.startswith("vovnet")}


@pytest.mark.parametrize("name", WIDTHS)
def test_timms_state_loads_strictly_and_gives_timms_features_at_an_odd_size(name):
    timm_vovnet = pytest.importorskip("timm.models.vovnet")
    torch.manual_seed(1)
    theirs = timm_vovnet.VovNet(timm_vovnet.model_cfgs[TIMMS[name]], num_classes=7).eval()
    randomize_norms(theirs)
    backbone = build_backbone(name)
    state = {name: value for name, value in theirs.state_dict().items() if not name.startswith("head.")}
    backbone.module.load_state_dict(state, strict=True)

    images = torch.randn(2, 3, 97, 131)
    with torch.inference_mode():
        expected = theirs.forward_intermediates(images, indices=[1, 2, 3, 4], intermediates_only=True)
        found = backbone.body([stage.layer for stage in backbone.stages]).eval()(images)
    assert len(expected) == len(found) == 4
    for place, (ours, wanted) in enumerate(zip(found.values(), expected, strict=True)):
        assert ours.shape == wanted.shape
        assert (ours - wanted).abs().max() <= 1e-5 * wanted.abs().max(), place


@pytest.mark.parametrize("name", WIDTHS)
def test_what_is_published_is_what_timm_publishes(name):
    timm = pytest.importorskip("timm")
    config = timm.get_pretrained_cfg(TIMMS[name]) if timm.is_model(TIMMS[name]) else None
    line = PUBLISHED.get(name)
    if line is None:
        assert config is None or not (config.hf_hub_id or config.url)
    else:
        assert line.url == f"https://huggingface.co/{config.hf_hub_id}/resolve/main/model.safetensors"
        assert (line.mean, line.std) == (tuple(config.mean), tuple(config.std))
        assert line.licence.lower() == config.license


@pytest.mark.parametrize("name", WIDTHS)
def test_layers_in_order_are_the_forward_pass(name):
    backbone = VoVNet(WIDTHS[name]).eval()
    images = torch.randn(1, 3, 65, 75)
    x = images
    with torch.inference_mode():
        for layer in backbone.layers().values():
            x = layer(x)
        assert torch.equal(x, backbone(images))


@pytest.mark.parametrize("name", WIDTHS)
def test_the_norm_layer_is_the_callers_everywhere(name):
    backbone = VoVNet(WIDTHS[name], norm_layer=FrozenBatchNorm2d)
    kinds = {type(m) for m in backbone.modules() if "Norm2d" in type(m).__name__}
    assert kinds == {FrozenBatchNorm2d}


@pytest.mark.parametrize("name", WIDTHS)
def test_a_fresh_backbone_neither_explodes_nor_dies_and_learns_everywhere(name):
    torch.manual_seed(0)
    backbone = VoVNet(WIDTHS[name])
    features = backbone(torch.randn(2, 3, 64, 64))
    assert 0.01 < features.std() < 10
    features.square().mean().backward()
    silent = [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent
