"""benchmark.py inference: what it counts is right, and the table stands between its markers, once."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import benchmark
from benchmarks import complexity, markdown, published
from benchmarks.inference import OBJECTS, prepare
from benchmarks.output import part_of
from detect.cli.exit_status import exit_status
from detect.models.architecture import detector_architecture
from detect.models.builder import build
from detect.models.zoo import BACKBONES, DETECTORS

CPU = torch.device("cpu")
BEGIN, END = markdown.markers(part_of("inference"))
LIGHT = ("--models", "mobilenet_v2", "ssdlite", "--imgsz", "64", "--rounds", "2", "--quiet")


@pytest.fixture
def run(monkeypatch):
    """Run benchmark.py's main in-process, on one thread; its exit status."""
    monkeypatch.setattr("detect.runtime.available_cores", lambda: 1)

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, arguments)])
        return exit_status(benchmark.main)

    return call


def error(capsys) -> str:
    """The one line on stderr."""
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    return text


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def meta(detector: str) -> dict:
    return torchvision.models.get_weight(DETECTORS[detector].weights).meta


def test_the_table_stands_between_the_markers_and_a_second_run_replaces_it(run, tmp_path):
    page, figures = tmp_path / "page.md", tmp_path / "new" / "figures.json"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    assert run("inference", *LIGHT, "--write", page, "--json", figures) == 0
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\n") and text.endswith(f"\n\n{END}\nafter\n")
    assert text.count("| `--backbone mobilenet_v2` | maskrcnn |") == text.count("| `--model ssdlite` | ssd |") == 1
    assert f"--write {page}" in text and f"{OBJECTS} objects each" in text

    mobilenet, ssdlite = json.loads(figures.read_text())["models"]
    assert [mobilenet["seen_hw"], ssdlite["seen_hw"]] == [[64, 96], [320, 320]]
    assert (mobilenet["regions"], ssdlite["regions"]) == (BACKBONES["mobilenet_v2"].proposals, None)
    assert mobilenet["objects"] == ssdlite["objects"] == OBJECTS
    assert len(mobilenet["seconds"]) == len(ssdlite["seconds"]) == 2

    assert run("inference", "--models", "ssdlite", "--rounds", 1, "--quiet", "--write", page) == 0
    text = page.read_text()
    assert text.count(BEGIN) == text.count(END) == text.count("`--model ssdlite`") == 1
    assert "mobilenet_v2" not in text and text.startswith("before\n") and text.endswith("\nafter\n")


def test_an_unknown_model_is_one_line(run, capsys):
    assert run("inference", "--models", "mobilenet_v2", "resnet5") == 2
    assert "unknown model 'resnet5': did you mean resnet50" in error(capsys)


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, (BEGIN + END) * 2])
def test_a_page_without_its_markers_is_one_line_before_any_work(run, capsys, tmp_path, monkeypatch, text):
    monkeypatch.setattr("benchmarks.inference.prepare", None)
    (tmp_path / "page.md").write_text(text)
    assert run("inference", *LIGHT, "--write", tmp_path / "page.md") == 2
    assert BEGIN in error(capsys) and (tmp_path / "page.md").read_text() == text


def test_a_page_that_is_not_there_is_one_line(run, capsys, tmp_path):
    assert run("inference", *LIGHT, "--write", tmp_path / "page.md") == 2
    assert "page.md" in error(capsys)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "inference|train|data|decoding|results|serve is missing"),
        ("training", "unknown command 'training': did you mean train? known are inference, train, data, decoding, "),
    ],
)
def test_what_to_measure_must_be_said(run, capsys, line, words):
    assert run(*line.split()) == 2
    assert words in error(capsys)


def test_every_name_is_a_line_and_heads_give_backbones_two():
    assert [name for name, _ in benchmark.choose(None, every_head=False)] == [*BACKBONES, *DETECTORS]
    heads = [head for name, head in benchmark.choose(["vovnet19", "v2", "vovnet19"], every_head=True)]
    assert heads == ["maskrcnn", "fasterrcnn", "fasterrcnn"]


def test_a_multiply_add_is_one():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 5 * 7, 2)).eval()
    by_hand = (3 * 3 * 3) * 8 * (5 * 7) + (8 * 5 * 7) * 2
    assert complexity.multiply_adds(lambda: net(torch.zeros(1, 3, 5, 7))) == by_hand
    with torch.inference_mode():
        assert complexity.multiply_adds(lambda: net(torch.zeros(1, 3, 5, 7))) == by_hand
    assert complexity.parameters(net) == (27 * 8 + 8) + (8 + 8) + (280 * 2 + 2)


def test_models_take_turns():
    order: list[str] = []
    seconds = complexity.interleaved({name: lambda name=name: order.append(name) for name in "ab"}, rounds=3)
    assert order == [*"ababab"]
    assert all(len(s) == 3 for s in seconds.values())


@pytest.mark.parametrize("name", ["v2", "mobilenet_320", "retinanet_v2", "ssdlite"])
def test_parameters_are_those_that_torchvision_counts(name):
    model = build(detector_architecture(name), published.num_rows(name))
    assert complexity.parameters(model) == sum(p.numel() for p in model.parameters()) == meta(name)["num_params"]


@pytest.mark.parametrize("name", DETECTORS)
def test_ap_is_torchvisions(name):
    assert published.coco_ap(name) == meta(name)["_metrics"]["COCO-val2017"]
    assert 20 < published.coco_ap(name)["box_map"] < 60


def test_ssdlite_costs_what_torchvision_publishes():
    entry, _ = prepare("ssdlite", "ssd", 480, noise(320), CPU)
    assert entry.multiply_adds / 1e9 == pytest.approx(meta("ssdlite")["_ops"], abs=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v1", "v2"])
def test_faster_rcnn_costs_what_torchvision_publishes(name):
    """At 800x800 pixels, where torchvision counts: test/common_extended_utils.py of its repository."""
    entry, _ = prepare(name, "fasterrcnn", 800, noise(512), CPU)
    assert entry.seen_hw == (800, 800)
    assert entry.multiply_adds / 1e9 == pytest.approx(meta(name)["_ops"], rel=0.01)
