"""The faster parts of the models give what torchvision's give: results, losses, gradients and names."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from helpers.tiny_models import make_image, randomize_norms, target
from torch import nn
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from detect.models.architecture import backbone_architecture, detector_architecture
from detect.models.backbones import build_backbone
from detect.models.builder import assemble, build, freeze_stages
from detect.models.cpu.conv import Conv3x3
from detect.models.cpu.fuse_bn import fold_norms
from detect.models.cpu.roi_align import RoIPool
from detect.models.cpu.rpn import SampledRPN
from detect.models.norms import freeze_norms

FORMATS = (torch.contiguous_format, torch.channels_last)
IMAGE_HW = (150, 220)


def fpn(memory_format: torch.memory_format, images: int = 3) -> OrderedDict[str, torch.Tensor]:
    """Five levels of six channels, for images of 160x224 pixels of which IMAGE_HW are not padding."""
    generator = torch.Generator().manual_seed(0)
    sides = ((40, 56), (20, 28), (10, 14), (5, 7), (3, 4))
    maps = [torch.randn(images, 6, *hw, generator=generator).to(memory_format=memory_format) for hw in sides]
    return OrderedDict((name, one.requires_grad_()) for name, one in zip("0123p", maps, strict=True))


def regions(count: int) -> torch.Tensor:
    """Boxes of every size, some beyond the image, one of no size."""
    generator = torch.Generator().manual_seed(count)
    middle = torch.rand(count, 2, generator=generator) * torch.tensor([240.0, 170.0]) - 10
    half = torch.exp(torch.rand(count, 2, generator=generator) * 5)
    half[:1] = 0
    return torch.cat([middle - half, middle + half], dim=1)


def pooler(kind: type[MultiScaleRoIAlign], names: list[str], side: int = 7, samples: int = 2) -> MultiScaleRoIAlign:
    """One that knows its scales, as those of built models do."""
    made = kind(names, side, samples)
    made(fpn(torch.channels_last), [torch.zeros(0, 4)], [(160, 224)])
    return made


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def assert_close(found, expected, tolerance: float = 1e-4) -> None:
    """Equal up to ``tolerance`` of the largest number of each tensor."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = float(value.detach().abs().max()) + 1e-6
        assert (found[name] - value).abs().max() <= tolerance * scale, name


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("side", "samples"), [(7, 2), (14, 2), (3, 1)])
def test_pooling_and_its_gradient_are_torchvisions(memory_format, side, samples):
    boxes = [regions(40), torch.zeros(0, 4), regions(25)]
    results = {}
    for kind in (MultiScaleRoIAlign, RoIPool):
        maps = fpn(memory_format)
        found = pooler(kind, ["0", "1", "2", "3"], side, samples)(maps, boxes, [IMAGE_HW, (100, 100), (160, 224)])
        (found * torch.linspace(-1, 1, found.numel()).view_as(found)).sum().backward()
        results[kind] = {"pooled": found.detach(), **{name: maps[name].grad for name in "0123"}}
        assert maps["p"].grad is None
    assert_close(results[RoIPool], results[MultiScaleRoIAlign])


def test_pooling_of_no_region_and_of_one_level():
    maps, one = fpn(torch.channels_last, 1), ["1"]
    assert pooler(RoIPool, ["0", "1"])(maps, [torch.zeros(0, 4)], [IMAGE_HW]).shape == (0, 6, 7, 7)
    found, expected = (pooler(kind, one)(maps, [regions(9)], [IMAGE_HW]) for kind in (RoIPool, MultiScaleRoIAlign))
    assert torch.allclose(found, expected, atol=1e-4)


def test_pooling_takes_half_precision():
    maps = {name: one.bfloat16() for name, one in fpn(torch.channels_last, 1).items()}
    pool = pooler(RoIPool, ["0", "1", "2", "3"])
    found, exact = (pool(some, [regions(9)], [IMAGE_HW]) for some in (maps, fpn(torch.channels_last, 1)))
    assert found.dtype == torch.bfloat16 and torch.allclose(found.float(), exact, atol=0.05)


def batch() -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Two images of different sizes with objects, some at the edges, and one without any."""
    sizes = ((96, 160), (128, 96), (96, 96))
    images = [torch.from_numpy(make_image(hw, seed)).permute(2, 0, 1) / 255 for seed, hw in enumerate(sizes)]
    boxes = ([[0, 0, 30, 40], [60, 20, 160, 96]], [[10, 8, 90, 120]], [])
    targets = [target(hw, some) for hw, some in zip(sizes, boxes, strict=True)]
    return images, [{**t, "labels": torch.ones_like(t["labels"])} for t in targets]


def step(model: nn.Module) -> dict[str, torch.Tensor]:
    """Losses of a step and all gradients, with the same regions sampled in every call."""
    torch.manual_seed(3)
    losses = model.train()(*batch())
    torch.stack(list(losses.values())).sum().backward()
    return {**{name: value.detach() for name, value in losses.items()}, **gradients(model)}


@pytest.mark.parametrize("name", ["mobilenet_v2", "v1", "retinanet"])
def test_a_step_is_that_of_torchvisions_parts(name):
    """Losses and every gradient, with the backbone's norms frozen and a stage too."""
    architecture = (
        replace(backbone_architecture(name, "maskrcnn", 96), norm="frozen")
        if name == "mobilenet_v2"
        else detector_architecture(name, 96)
    )
    torch.manual_seed(0)
    quick = build(architecture, 3)
    randomize_norms(quick)
    plain = assemble(architecture, 3)
    plain.transform = copy.deepcopy(quick.transform)
    plain.load_state_dict(quick.state_dict())
    for model in (quick, plain):
        freeze_stages(model, 1)
    kinds = {type(module) for module in quick.modules()}
    assert {RoIPool, SampledRPN} <= kinds or name == "retinanet"
    assert Conv3x3 in kinds and not {MultiScaleRoIAlign, RegionProposalNetwork} & kinds
    fold_norms(quick)
    assert_close(step(quick), step(plain), 2e-3)


def test_the_network_proposes_the_same_and_needs_targets():
    model = build(backbone_architecture("mobilenet_v2", "fasterrcnn", 96), 2)
    plain = copy.deepcopy(model)
    plain.rpn.__class__ = RegionProposalNetwork
    images, targets = model.transform(*batch())
    features = fpn(torch.channels_last)
    features = OrderedDict((k, torch.cat([f] * 22, 1)[:, :128].detach()) for k, f in features.items())
    found = []
    for rpn in (model.rpn, plain.rpn):
        torch.manual_seed(0)
        found.append(rpn.train()(images, features, targets))
    for ours, theirs in zip(found[0][0], found[1][0], strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="targets"):
        model.rpn(images, features)


@pytest.mark.parametrize("with_bias", [True, False])
def test_the_gradient_in_bands_is_that_of_the_whole(with_bias):
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, 3, padding=1, bias=with_bias)
    banded = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    banded.__class__ = Conv3x3
    x = torch.randn(2, 4, 75, 90)
    results = []
    for conv in (plain, banded):
        seen = x.clone().requires_grad_()
        conv(seen).square().mean().backward()
        results.append({"x": seen.grad, **gradients(conv)})
    assert_close(results[1], results[0])
    assert torch.allclose(banded(x[:, :, :9]), plain(x[:, :, :9]), atol=1e-5)  # a small one


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "resnet18", "resnet50", "vovnet19_dw"])
def test_folded_norms_change_nothing_but_the_time(name):
    torch.manual_seed(0)
    backbone = build_backbone(name)
    body = backbone.body([stage.layer for stage in backbone.stages])
    randomize_norms(body)
    holder = nn.ModuleList([body])
    freeze_norms(holder)
    folded = copy.deepcopy(holder)
    norms = sum(isinstance(module, FrozenBatchNorm2d) for module in holder.modules())
    assert fold_norms(folded) == norms
    assert fold_norms(folded) == 0
    twin = copy.deepcopy(folded)  # as the average is, whose norms are its own
    assert list(folded.state_dict()) == list(holder.state_dict())

    x = torch.randn(2, 3, 64, 96)
    results = []
    for one in (holder, folded, twin):
        maps = one.train()[0](x)
        sum(m.square().mean() for m in maps.values()).backward()
        results.append({**{k: m.detach() for k, m in maps.items()}, **gradients(one)})
    assert_close(results[1], results[0], 2e-3)
    for norm in (m for m in folded.modules() if isinstance(m, FrozenBatchNorm2d)):
        norm.weight.zero_()
    assert all(not torch.equal(m, results[0][k]) for k, m in folded[0](x).items())
    assert_close(twin[0](x), {k: results[0][k] for k in maps}, 2e-3)


def test_learning_norms_are_left_alone():
    assert fold_norms(build(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), 2)) == 0
