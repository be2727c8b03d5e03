"""The summary of a model counts every parameter once, and the work that a forward pass does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torchvision

from detect.models.architecture import backbone_architecture, detector_architecture
from detect.models.builder import build
from detect.models.cpu.fuse_bn import fuse_frozen_batch_norms
from detect.models.freeze import freeze_stages
from detect.models.norms import set_norms
from detect.models.summary import MultiplyAddCounter, summarize_model
from detect.models.zoo import BACKBONES, DETECTORS, TRAINED_DETECTORS

ARCHITECTURES = [
    *(
        backbone_architecture(name, head, 64)
        for name, head in (("mobilenet_v2", "maskrcnn"), ("resnet18", "fasterrcnn"))
    ),
    *(detector_architecture(name) for name in ("retinanet", "ssdlite")),
]


def numbers(text: str, part: str) -> list[str]:
    """Return the cells of the row of one part in the text of a summary."""
    (row,) = [line for line in text.splitlines() if line.startswith(f"{part}  ")]
    return row.removeprefix(part).split()


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one.model)
def test_the_parameters_of_layers_and_parts_sum_to_those_of_the_model(architecture):
    model = build(architecture, 4)
    summary = summarize_model(model, (64, 96))
    count = sum(p.numel() for p in model.parameters())
    assert summary.parameters == summary.trainable == sum(layer.parameters for layer in summary.layers) == count
    text = summary.text()
    parts = [
        part
        for part in ("backbone", "FPN", "RPN", "box head", "mask head", "keypoint head", "head")
        if f"\n{part}  " in text
    ]
    assert sum(int(numbers(text, part)[1].replace(",", "")) for part in parts) == count
    assert numbers(text, "all")[1] == f"{count:,}"
    assert all(f"\n{layer.name} " in text for layer in summary.layers)


def test_frozen_layers_are_not_trainable():
    model = build(backbone_architecture("resnet18", "fasterrcnn", 64), 4)
    set_norms(model, "frozen", 1e-5)
    freeze_stages(model, 1)
    assert fuse_frozen_batch_norms(model)
    summary = summarize_model(model, (64, 96))
    assert summary.trainable == sum(p.numel() for p in model.parameters() if p.requires_grad) < summary.parameters
    frozen = [layer.name for layer in summary.layers if not layer.trainable]
    assert frozen[0] == "backbone.body.conv1" and all(name.startswith("backbone.body.") for name in frozen)


@pytest.mark.parametrize(
    "architecture",
    [
        *(
            pytest.param(
                backbone_architecture(name, "maskrcnn", 320), marks=() if name == "mobilenet_v2" else pytest.mark.slow
            )
            for name in BACKBONES
        ),
        *(pytest.param(detector_architecture(name, 320), marks=pytest.mark.slow) for name in TRAINED_DETECTORS),
    ],
    ids=lambda one: one.model,
)
def test_the_work_is_that_of_a_forward_pass(architecture):
    """Proposals and masked objects of the forward pass may be fewer than the summary states."""
    model: Any = build(architecture, 4).eval()
    summary = summarize_model(model, (320, 480))
    used = {"proposals": 0, "objects": 0}
    if hasattr(model, "rpn"):
        model.rpn.register_forward_hook(lambda *call: used.update(proposals=len(call[2][0][0])))
        if model.roi_heads.has_mask():
            model.roi_heads.mask_head.register_forward_hook(lambda *call: used.update(objects=len(call[2])))
    with torch.inference_mode(), MultiplyAddCounter() as counter:
        model([torch.rand(3, 320, 480)])
    expected = dict(summary.multiply_adds)
    if summary.proposals:
        expected["box head"] = expected["box head"] * used["proposals"] // summary.proposals
    if "mask head" in expected:
        expected["mask head"] = expected["mask head"] * used["objects"] // 10
    assert sum(expected.values()) == pytest.approx(counter.multiply_adds, rel=1e-6)


@pytest.mark.parametrize("name", ["v2", "fcos"])
def test_the_work_agrees_with_the_figures_that_torchvision_publishes(name):
    published = torchvision.models.get_model_weights(DETECTORS[name].builder).COCO_V1.meta["_ops"]
    summary = summarize_model(build(detector_architecture(name), 91), (800, 800))
    assert sum(summary.multiply_adds.values()) / 1e9 == pytest.approx(published, rel=0.02)
    assert "(multiply-adds) at 800x800 pixels" in summary.one_line()


def test_a_summary_leaves_the_model_as_it_is():
    model = build(backbone_architecture("mobilenet_v2", "maskrcnn", 64), 4)
    before = copy.deepcopy(model.state_dict())
    parameters = {name: id(p) for name, p in model.named_parameters()}
    summarize_model(model, (50, 70))
    assert model.training and {name: id(p) for name, p in model.named_parameters()} == parameters
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_image_is_padded_to_whole_strides():
    model = build(backbone_architecture("resnet18", "fasterrcnn", 64), 4)
    assert summarize_model(model, (50, 70)) == summarize_model(model, (64, 96))


class NeedsValues(torch.nn.Identity):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum().item() > 0 else -x


def test_a_model_that_needs_values_has_a_summary_without_its_work():
    model = build(backbone_architecture("resnet18", "fasterrcnn", 64), 4)
    model.backbone.body.relu = NeedsValues()
    summary = summarize_model(model, (64, 64))
    assert summary.multiply_adds == {} and summary.parameters == sum(p.numel() for p in model.parameters())
    assert "GFLOP" not in summary.one_line() and numbers(summary.text(), "all")[-1] == "-"
