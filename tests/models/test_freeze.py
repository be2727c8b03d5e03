"""Freezing the early stages of a backbone; tests/models/test_zoo.py freezes the stages of every backbone."""

from __future__ import annotations

import pytest

from detect.errors import UsageError
from detect.models.architecture import backbone_architecture, detector_architecture
from detect.models.builder import build
from detect.models.freeze import can_freeze_stages, freeze_stages


def test_impossible_numbers_of_stages_are_rejected():
    model = build(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), num_rows=2)
    for stages in (-1, 5):
        with pytest.raises(UsageError, match=f"`freeze={stages}`: this model's backbone has 4 stages"):
            freeze_stages(model, stages)
    mobilenet = build(detector_architecture("mobilenet"), num_rows=2)
    freeze_stages(mobilenet, 1)  # its first map has stride 16 and depends on much of the backbone
    assert 0 < sum(not p.requires_grad for p in mobilenet.backbone.body.parameters()) < 150
    mobilenet.requires_grad_(True)
    with pytest.raises(UsageError, match="`freeze=3`: this model's backbone has 2 stages"):
        freeze_stages(mobilenet, 3)
    assert all(p.requires_grad for m in (model, mobilenet) for p in m.parameters())


def test_models_whose_backbone_has_no_stages_cannot_be_frozen():
    model = build(detector_architecture("ssdlite"), num_rows=2)
    assert not can_freeze_stages(model)
    with pytest.raises(UsageError, match="`freeze=1`"):
        freeze_stages(model, 1)
    assert can_freeze_stages(build(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), num_rows=2))
