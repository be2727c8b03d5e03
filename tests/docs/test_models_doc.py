"""docs/models.md agrees with the models that torchvision builds and with the tables of models."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from itertools import pairwise
from typing import Any

import pytest
import torch
import torchvision
from helpers.folders import ROOT
from torch import nn
from torchvision.models import ResNet50_Weights, resnet50
from torchvision.models import detection as tv
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from detect.models import zoo
from detect.models.zoo import BACKBONES, DETECTORS

PAGE = ROOT / "docs" / "models.md"
TABLE_HEADING = "## Size, work, accuracy and time"
PAIRS = {"v1": "v2", "maskrcnn": "maskrcnn_v2"}


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    """torchvision's models on the meta device: shapes without values."""
    with torch.device("meta"):
        return {
            name: getattr(tv, DETECTORS[name].builder)(weights=None, weights_backbone=None)
            for name in (*PAIRS, *PAIRS.values(), "retinanet", "retinanet_v2")
        }


def count(module: nn.Module, kind: type) -> int:
    return sum(isinstance(m, kind) for m in module.modules())


@pytest.mark.parametrize(("old", "new"), PAIRS.items())
def test_only_the_v2_fpn_has_batch_norms(models, old, new):
    before, after = models[old].backbone.fpn, models[new].backbone.fpn
    assert [count(before, nn.Conv2d), count(before, nn.BatchNorm2d)] == [8, 0]
    assert [count(after, nn.Conv2d), count(after, nn.BatchNorm2d)] == [8, 8]
    assert isinstance(before.extra_blocks, LastLevelMaxPool) and isinstance(after.extra_blocks, LastLevelMaxPool)


@pytest.mark.parametrize(("old", "new"), PAIRS.items())
def test_rpn_has_one_convolution_and_in_v2_two(models, old, new):
    before, after = models[old].rpn.head.conv, models[new].rpn.head.conv
    assert [count(before, nn.Conv2d), count(after, nn.Conv2d)] == [1, 2]
    assert count(after, nn.BatchNorm2d) == 0


@pytest.mark.parametrize(("old", "new"), PAIRS.items())
def test_box_head_is_two_linear_layers_and_in_v2_four_convolutions_and_one_linear_layer(models, old, new):
    before, after = models[old].roi_heads.box_head, models[new].roi_heads.box_head
    assert [count(before, kind) for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear)] == [0, 0, 2]
    assert [count(after, kind) for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear)] == [4, 4, 1]


def test_mask_head_has_four_convolutions_and_in_v2_batch_norms(models):
    heads = [models[name].roi_heads.mask_head for name in ("maskrcnn", "maskrcnn_v2")]
    assert [count(h, nn.Conv2d) for h in heads] == [4, 4]
    assert [count(h, nn.BatchNorm2d) for h in heads] == [0, 4]


def test_v1_and_v2_backbones_have_equal_parameter_shapes(models):
    shapes = [{k: v.shape for k, v in models[name].backbone.body.named_parameters()} for name in ("v1", "v2")]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("name", "frozen"), [("v1", True), ("maskrcnn", True), ("v2", False), ("maskrcnn_v2", False)])
def test_only_v1_freezes_the_norms_of_a_pretrained_backbone(monkeypatch, name, frozen):
    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", lambda self, **_: resnet50(weights=None).state_dict())
    build = getattr(tv, DETECTORS[name].builder)
    with torch.device("meta"):
        body = build(weights=None, weights_backbone=ResNet50_Weights.IMAGENET1K_V1).backbone.body
    assert (count(body, FrozenBatchNorm2d) > 0) == frozen
    assert (count(body, nn.BatchNorm2d) > 0) != frozen


@pytest.mark.parametrize(("old", "new"), PAIRS.items())
def test_v2_has_no_default_imagenet_weights(old, new):
    before, after = (inspect.signature(getattr(tv, DETECTORS[n].builder)).parameters for n in (old, new))
    assert before["weights_backbone"].default is ResNet50_Weights.IMAGENET1K_V1
    assert after["weights_backbone"].default is None


def test_retinanet_v2_has_group_norms_and_its_extra_levels_start_from_the_backbone(models):
    before, after = models["retinanet"], models["retinanet_v2"]
    assert [count(m.head, nn.GroupNorm) for m in (before, after)] == [0, 8]
    assert [m.backbone.fpn.extra_blocks.p6.in_channels for m in (before, after)] == [256, 2048]
    assert after.head.regression_head._loss_type == "giou"


def test_stated_costs_of_v2_add_up_to_the_published_difference():
    """Values in GFLOP at 800x800 pixels."""
    convolution = 256 * 256 * 3 * 3
    box_head = 4 * convolution * 7 * 7 * 1000 / 1e9
    rpn = convolution * sum(side**2 for side in (200, 100, 50, 25, 13)) / 1e9
    linear = 1024 * 1024 * 1000 / 1e9
    cost = {n: torchvision.models.get_model_weights(DETECTORS[n].builder).COCO_V1.meta["_ops"] for n in ("v1", "v2")}
    assert cost["v2"] - cost["v1"] == pytest.approx(box_head + rpn - linear, abs=0.05)
    for figure in (box_head, rpn, linear, *cost.values()):
        assert f"{figure:.1f}" in PAGE.read_text()


@pytest.mark.parametrize("name", [*PAIRS, *PAIRS.values(), "retinanet", "retinanet_v2"])
def test_page_states_the_published_ap(name):
    metrics = torchvision.models.get_model_weights(DETECTORS[name].builder).COCO_V1.meta["_metrics"]
    for figure in metrics["COCO-val2017"].values():
        assert f"{figure:.1f}" in PAGE.read_text().split(TABLE_HEADING)[0]


def test_gains_of_the_imagenet_recipe_add_up():
    rows = re.findall(r"^\| [^|]+ \| (\d\d\.\d{3}) \| (?:\+(\d\.\d{3}))? *\|$", PAGE.read_text(), re.M)
    accuracy = [float(a) for a, _ in rows]
    assert [round(b - a, 3) for a, b in pairwise(accuracy)] == [float(g) for _, g in rows[1:]]
    for weights, figure in (
        (ResNet50_Weights.IMAGENET1K_V1, accuracy[0]),
        (ResNet50_Weights.IMAGENET1K_V2, accuracy[-1]),
    ):
        assert weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] == figure


def test_example_backbone_and_its_line_in_the_table_work():
    module, line = re.findall(r"^   ```python\n(.*?)^   ```", PAGE.read_text(), re.M | re.S)
    scope: dict[str, Any] = {**vars(zoo)}
    exec(textwrap.dedent(module), scope)
    spec = eval(f"{{{textwrap.dedent(line)}}}", scope)["efficientnet_b0"]
    assert spec.family == "efficientnet"
    assert torchvision.models.get_model_weights("efficientnet_b0").IMAGENET1K_V1.url and not spec.weights.url
    backbone = scope["backbone"]("efficientnet_b0")
    stages = backbone.stages
    maps = backbone.body([s.layer for s in stages]).eval()(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps.values()] == [
        (s.channels, 64 // s.stride, 96 // s.stride) for s in stages
    ]


def test_text_mentions_every_model():
    text = PAGE.read_text().split(TABLE_HEADING)[0]
    assert not [name for name in (*BACKBONES, *DETECTORS) if f"`{name}`" not in text]


def test_table_has_the_measured_values():
    measured = {one["name"]: one for one in json.loads(PAGE.with_suffix(".json").read_text())["models"]}
    rows = re.findall(r"^\| `--(?:backbone|model) (\w+)` \|(.*)\|$", PAGE.read_text(), re.M)
    assert {name for name, _ in rows} == set(measured)
    for name, row in rows:
        cells = [cell.strip() for cell in row.split("|")]
        values = measured[name]
        assert cells[0] == values["head"]
        assert cells[1] == f"{values['parameters'] / 1e6:.1f}"
        assert cells[4] == f"{values['multiply_adds'] / 1e9:.1f}"
        assert cells[-1] == f"{1000 * values['seconds'][0]:.0f}"


def test_relative_links_exist():
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", PAGE.read_text())
    assert links
    assert all((PAGE.parent / link).exists() for link in links), links


def test_table_has_a_row_for_every_model():
    rows = {line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| `--")}
    assert {f"`--backbone {name}`" for name in BACKBONES} | {f"`--model {name}`" for name in DETECTORS} <= rows
