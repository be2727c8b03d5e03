"""Fewer proposals and other number formats are used only on request, and "auto" takes what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.tiny_models import as_checkpoint, assert_same_detections, make_image, random_model

import detect
from detect.errors import CheckpointError, UsageError
from detect.inference.fast_choice import fastest_precision
from detect.models import checkpoint
from detect.models.architecture import Architecture, detector_architecture
from detect.models.fast_settings import Cost, FastSettings, write_fast_settings

IMAGE = make_image((64, 96), 0)
CPU = torch.device("cpu")


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "m.safetensors"
    checkpoint.save(as_checkpoint(random_model()), path)
    return path


def cost(ap_loss: float, time: float = 0.5, device: str = "cpu") -> Cost:
    return Cost(ap_loss, time, device, "few val, 3 images")


def test_fewer_proposals_give_what_a_model_built_with_fewer_gives(path):
    assert detect.load_model(path).proposals == 60
    found = detect.load_model(path, proposals=20)(IMAGE, threshold=0.01)
    saved = checkpoint.load(path)
    checkpoint.save(replace(saved, architecture=saved.architecture | {"max_proposals": 20}), path)
    built = detect.load_model(path)
    assert built.proposals == 20
    assert_same_detections(found, built(IMAGE, threshold=0.01), px=1e-4, score=1e-6)


def test_max_proposals_applies_to_the_detectors_of_torchvision():
    architecture = replace(detector_architecture("mobilenet_320", None), max_proposals=7)
    saved = as_checkpoint(random_model(architecture), architecture)
    assert detect.inference.load.predictor_from_checkpoint(saved).proposals == 7
    assert Architecture.from_json(architecture.to_json()) == architecture


@pytest.mark.parametrize(("proposals", "message"), [(0, "1..10000"), (1.5, "whole number"), (True, "whole number")])
def test_an_invalid_number_of_proposals_is_refused(path, proposals, message):
    with pytest.raises(UsageError, match=message):
        detect.load_model(path, proposals=proposals)


def test_a_one_stage_detector_has_no_proposals(tmp_path):
    architecture = detector_architecture("ssdlite", None)
    checkpoint.save(as_checkpoint(random_model(architecture), architecture), tmp_path / "m.safetensors")
    with pytest.raises(UsageError, match="one-stage detector has no proposals"):
        detect.load_model(tmp_path / "m.safetensors", proposals=100)
    assert detect.load_model(tmp_path / "m.safetensors").proposals is None


def test_fast_uses_the_stored_number_of_proposals_unless_one_is_given(path):
    with pytest.raises(UsageError, match=r"no faster settings were measured.*evaluate\.py"):
        detect.load_model(path, fast=True)
    write_fast_settings(path, FastSettings(proposals=30, proposals_cost=cost(0.05)))
    assert detect.load_model(path, fast=True).proposals == 30
    assert detect.load_model(path, fast=True, proposals=40).proposals == 40
    assert detect.load_model(path).proposals == 60


def test_stored_settings_are_read_as_they_were_written(path):
    settings = FastSettings(30, cost(0.05), {"bf16": cost(0.2), "int8": cost(0.4)}, "../exported")
    write_fast_settings(path, settings)
    assert FastSettings.of(checkpoint.load(path)) == settings


@pytest.mark.parametrize("damage", [{"proposals": 3, "unknown": 1}, {"precisions": [1]}, {"proposals_cost": {"a": 1}}])
def test_damaged_settings_are_a_checkpoint_error(path, damage):
    checkpoint.save(replace(checkpoint.load(path), fast=damage), path)
    with pytest.raises(CheckpointError, match="damaged faster settings"):
        detect.load_model(path, fast=True)


@pytest.mark.parametrize(
    ("precisions", "expected"),
    [
        ({}, "fp32"),
        ({"bf16": cost(0.3)}, "bf16"),
        ({"bf16": cost(0.31)}, "fp32"),
        ({"bf16": cost(-0.5, time=1.01)}, "fp32"),
        ({"bf16": cost(0.0, device="cuda")}, "fp32"),
        ({"fp16": cost(0.0, time=0.1)}, "fp32"),
    ],
)
def test_auto_is_the_fastest_format_that_loses_at_most_0_3_and_that_the_device_has(monkeypatch, precisions, expected):
    monkeypatch.setattr("detect.inference.fast_choice.has_bfloat16", lambda device: True)
    assert fastest_precision(FastSettings(precisions=precisions), CPU) == expected


def test_allowed_formats_are_ordered_by_their_time():
    precisions = {"bf16": cost(0.1, time=0.6), "int8": cost(0.2, time=0.4), "fp16": cost(0.0, time=0.5)}
    assert FastSettings(precisions=precisions).allowed_precisions("cpu") == ["int8", "fp16", "bf16"]


def test_auto_is_fp32_on_a_processor_without_bfloat16(monkeypatch):
    monkeypatch.setattr("detect.inference.fast_choice.has_bfloat16", lambda device: False)
    assert fastest_precision(FastSettings(precisions={"bf16": cost(0)}), CPU) == "fp32"


def test_auto_without_measurements_is_fp32_and_int8_needs_an_export(path):
    assert detect.load_model(path, precision="auto").precision == "fp32"
    with pytest.raises(UsageError, match="needs a quantized model"):
        detect.load_model(path, precision="int8")
    write_fast_settings(path, FastSettings(precisions={"int8": cost(0.0)}, int8_model="gone"))
    assert detect.load_model(path, precision="auto").precision == "fp32"
    with pytest.raises(UsageError, match=r"model gone, .* is gone; export"):
        detect.load_model(path, precision="int8")
