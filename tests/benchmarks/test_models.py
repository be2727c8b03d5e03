"""benchmark.py models: counts are right, and every model is measured under the same load."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torchvision
from helpers.benchmarking import run_benchmark

from benchmarks.models import choose, prepare
from benchmarks.random_weights import OBJECTS
from detect.models.zoo import BACKBONES, DETECTORS

CPU = torch.device("cpu")


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def meta(detector: str) -> dict:
    return torchvision.models.get_model_weights(DETECTORS[detector].builder).COCO_V1.meta


def test_table_and_json_hold_what_was_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("detect.runtime.available_cores", lambda: 1)
    path = tmp_path / "new" / "figures.json"
    line = [
        "models",
        "--models",
        "mobilenet_v2",
        "ssdlite",
        "--imgsz",
        64,
        "--rounds",
        2,
        "--quiet",
        "--json",
        path,
    ]
    assert run_benchmark(monkeypatch, *line) == 0
    text = capsys.readouterr().out
    assert text.count("| `--backbone mobilenet_v2` | maskrcnn |") == text.count("| `--model ssdlite` | ssd |") == 1
    assert f"{OBJECTS} objects each" in text

    mobilenet, ssdlite = json.loads(path.read_text())["models"]
    assert [mobilenet["input_hw"], ssdlite["input_hw"]] == [[64, 96], [320, 320]]
    assert (mobilenet["proposals"], ssdlite["proposals"]) == (BACKBONES["mobilenet_v2"].max_proposals, None)
    assert mobilenet["objects"] == ssdlite["objects"] == OBJECTS
    assert len(mobilenet["seconds"]) == len(ssdlite["seconds"]) == 2


def test_every_model_is_measured_once_and_a_backbone_once_per_head():
    assert [name for name, _ in choose(None, every_head=False)] == [*BACKBONES, *DETECTORS]
    heads = [head for name, head in choose(["vovnet19", "v2", "vovnet19"], every_head=True)]
    assert heads == ["maskrcnn", "fasterrcnn", "fasterrcnn"]


@pytest.mark.parametrize("name", ["v2", "mobilenet_320", "retinanet_v2", "ssdlite"])
def test_figures_of_a_model_are_those_that_torchvision_publishes(name):
    entry, _ = prepare(name, "", 64, noise(64), CPU)
    assert entry.parameters == meta(name)["num_params"]
    assert entry.ap == meta(name)["_metrics"]["COCO-val2017"] and 20 < entry.ap["box_map"] < 60


def test_imagenet_accuracy_is_torchvisions():
    entry, _ = prepare("mobilenet_v2", "maskrcnn", 64, noise(64), CPU)
    published = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert entry.top1 == published and entry.ap == {}


def test_ssdlite_has_the_multiply_adds_that_torchvision_publishes():
    entry, _ = prepare("ssdlite", "ssd", 480, noise(320), CPU)
    assert entry.multiply_adds / 1e9 == pytest.approx(meta("ssdlite")["_ops"], abs=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v1", "v2"])
def test_faster_rcnn_has_the_multiply_adds_that_torchvision_publishes(name):
    """torchvision counts at 800x800 pixels: test/common_extended_utils.py of its repository."""
    entry, _ = prepare(name, "fasterrcnn", 800, noise(512), CPU)
    assert entry.input_hw == (800, 800)
    assert entry.multiply_adds / 1e9 == pytest.approx(meta(name)["_ops"], rel=0.01)
