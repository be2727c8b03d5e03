"""SampledRPN proposes the same boxes as torchvision's RPN; tests/models/cpu/test_optimize.py compares its losses."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from helpers.feature_maps import feature_maps
from helpers.tiny_models import training_batch

from detect.models.architecture import backbone_architecture
from detect.models.builder import build
from detect.models.torchvision_internals import RegionProposalNetwork


def test_proposals_equal_torchvisions_and_training_requires_targets():
    model = build(backbone_architecture("mobilenet_v2", "fasterrcnn", 96), 2)
    plain = copy.deepcopy(model)
    plain.rpn.__class__ = RegionProposalNetwork
    images, targets = model.transform(*training_batch())
    features = feature_maps(torch.channels_last)
    features = OrderedDict((k, torch.cat([f] * 22, 1)[:, :128].detach()) for k, f in features.items())
    outputs = []
    for rpn in (model.rpn, plain.rpn):
        torch.manual_seed(0)
        outputs.append(rpn.train()(images, features, targets))
    for actual, expected in zip(outputs[0][0], outputs[1][0], strict=True):
        assert torch.equal(actual, expected)
    with pytest.raises(ValueError, match="targets"):
        model.rpn(images, features)
