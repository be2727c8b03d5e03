"""VoVNet backbones equal timm's networks."""

from __future__ import annotations

import pytest
import torch
from helpers.tiny_models import randomize_norms

from detect.models.backbones import build_backbone
from detect.models.backbones.vovnet import WIDTHS, vovnet
from detect.models.zoo import BACKBONES

TIMMS = {
    "vovnet19": "ese_vovnet19b",
    "vovnet19_slim": "ese_vovnet19b_slim",
    "vovnet19_dw": "ese_vovnet19b_dw",
    "vovnet39": "ese_vovnet39b",
    "vovnet57": "ese_vovnet57b",
}


def test_every_vovnet_has_a_timm_counterpart():
    assert set(TIMMS) == set(WIDTHS) == {name for name in BACKBONES if name.startswith("vovnet")}


@pytest.mark.parametrize("name", WIDTHS)
def test_timm_state_loads_strictly_and_gives_the_same_features_at_an_odd_size(name):
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
    for level, (ours, wanted) in enumerate(zip(found.values(), expected, strict=True)):
        assert ours.shape == wanted.shape
        assert (ours - wanted).abs().max() <= 1e-5 * wanted.abs().max(), level


@pytest.mark.parametrize("name", WIDTHS)
def test_published_weights_are_those_that_timm_lists(name):
    timm = pytest.importorskip("timm")
    config = timm.get_pretrained_cfg(TIMMS[name]) if timm.is_model(TIMMS[name]) else None
    line = BACKBONES[name].weights
    if line is None:
        assert config is None or not (config.hf_hub_id or config.url)
    else:
        assert line.url == f"https://huggingface.co/{config.hf_hub_id}/resolve/main/model.safetensors"
        assert (line.mean, line.std) == (tuple(config.mean), tuple(config.std))
        assert line.license.lower() == config.license


@pytest.mark.parametrize("name", WIDTHS)
def test_initialized_backbone_has_moderate_features_and_gradients_everywhere(name):
    torch.manual_seed(0)
    backbone = vovnet(WIDTHS[name])
    features = backbone(torch.randn(2, 3, 64, 64))
    assert 0.01 < features.std() < 10
    features.square().mean().backward()
    silent = [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent
