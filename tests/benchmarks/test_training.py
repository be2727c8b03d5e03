"""benchmark.py train: both loops train the same model on the same images, and the page says what was measured."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_models import make_image, render_shapes

import benchmark
from benchmarks import markdown, reference, training, training_run
from benchmarks.output import part_of
from benchmarks.stages import BACKWARD, OPTIMIZER, READING
from benchmarks.training_run import MIXED, REFERENCE, SAME, USUAL, WAYS, Job, Run, ways_on
from detect import runtime
from detect.cli.exit_status import exit_status
from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset, collate
from detect.errors import UsageError
from detect.media.images import write_image
from detect.structures.class_names import ClassNames
from detect.structures.image_record import ImageRecord
from detect.training import amp
from detect.training.optimizer import build_optimizer, build_schedule
from detect.training.step import TrainStep

CPU = torch.device("cpu")
IMGSZ = 64
CLASSES = ClassNames(("thing",))
BEGIN, END = markdown.markers(part_of("train"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A dataset of three splits."""
    folder = tmp_path_factory.mktemp("data")
    render_shapes(folder, {"train": 5, "val": 1, "test": 1})
    return folder


@pytest.fixture
def run(monkeypatch, folder):
    """Run benchmark.py train in one process and on one thread; its exit status."""
    monkeypatch.setattr("detect.runtime.available_cores", lambda: 1)
    monkeypatch.setattr(training, "_run", training_run.measure)
    monkeypatch.setattr(training_run, "_WARM", 1)
    monkeypatch.setattr(amp, "cpu_has_bfloat16", lambda: False)

    def call(*arguments: object) -> int:
        line = ["benchmark.py", "train", "--data", folder / "few.yaml", "--imgsz", IMGSZ, "--rounds", 2, "--steps", 2]
        monkeypatch.setattr(sys, "argv", [*map(str, [*line, "--device", "cpu", "--quiet", *arguments])])
        return exit_status(benchmark.main)

    return call


def records(folder: Path, *sizes_hw: tuple[int, int]) -> list[ImageRecord]:
    """Images of these sizes, each with two objects and outlines around them."""
    made = []
    for number, hw in enumerate(sizes_hw):
        path = folder / f"{number}.png"
        write_image(path, make_image(hw, number))
        boxes = np.array([[4, 6, 30, 40], [20, 10, 60, 50]], np.float32)
        corners = [[[x0, y0, x1, y0, x1, y1, x0, y1]] for x0, y0, x1, y1 in boxes.tolist()]
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        ids = np.array([1, 2])
        made.append(
            ImageRecord(path, hw, number, boxes, ids // ids, areas.astype(float), np.zeros(2, bool), ids, corners)
        )
    return made


def test_both_loops_have_the_same_losses_at_the_first_step(tmp_path):
    """Where nothing is resized, mirrored or grouped: of the same images, weights and random numbers."""
    images = records(tmp_path, (IMGSZ, 96), (IMGSZ, 80))
    runtime.seed_all(0)
    model, architecture = training_run.start("mobilenet_v2", "balloon", IMGSZ, CLASSES, has_masks=True)
    model.rpn._pre_nms_top_n["training"] = 2000
    theirs = reference.build(architecture, 2, model.state_dict())

    dataset = reference.FullSizeImages(images, with_masks=True, mirrored=0.0)
    steps = reference.Steps(theirs, 0.01, 1e-4, 5, CPU)
    runtime.seed_all(0, 7)  # as the learner below does
    expected = steps.step(reference._collate([dataset[0], dataset[1]]))

    ours = DetectionDataset(images, TrainTransform(IMGSZ, Augmentation()), with_masks=True)
    optimizer = build_optimizer(model, "sgd", 0.01, 1e-4)
    learner = TrainStep(model, optimizer, build_schedule(optimizer, "cosine", 10, 5))
    found = learner.step([collate([ours[0], ours[1]])], [(7,)]).losses
    assert found == pytest.approx(expected, rel=0.02)  # a rounded box may change which anchors reach it


def test_the_references_load_images_and_masks_in_full_size(tmp_path):
    (record,) = records(tmp_path, (70, 90))
    image, target = reference.FullSizeImages([record], with_masks=True, mirrored=0.0)[0]
    mirrored, same = reference.FullSizeImages([record], with_masks=True, mirrored=1.0)[0]
    assert image.shape == (3, 70, 90) and image.dtype == torch.float32 and 0.2 < image.mean() < 0.8
    assert target["masks"].shape == (2, 70, 90) and target["masks"].dtype == torch.uint8
    assert target["masks"][0].sum() == pytest.approx(26 * 34, rel=0.1)
    assert torch.equal(mirrored, image.flip(-1)) and torch.equal(same["masks"], target["masks"].flip(-1))
    assert same["boxes"].tolist() == [[60, 6, 86, 40], [30, 10, 70, 50]]
    assert "masks" not in reference.FullSizeImages([record], with_masks=False)[0][1]


def test_the_references_batch_every_image_once_with_its_like(tmp_path):
    pictures = records(tmp_path, *[(64, 96), (96, 64), (64, 96)] * 2)
    dataset = reference.FullSizeImages(pictures, with_masks=False)
    epochs = list(islice(reference.batches(dataset, 2, 0, seed=0), 6))
    assert sorted(int(t["image_id"]) for _, targets in epochs for t in targets) == sorted([*range(6)] * 2)
    assert all(len({image.shape for image in images}) == 1 for images, _ in epochs)


def test_the_page_has_a_line_a_way_and_a_line_a_stage(run, tmp_path, capsys):
    path, facts = tmp_path / "page.md", tmp_path / "facts.json"
    path.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    assert run("--write", path, "--json", facts) == 0
    text = path.read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert text.startswith("before\n") and text.endswith("after\n") and "goal is 1.5 times" in text
    assert [line[0] for line in lines[2:5]] == [training.TITLES[way] for way in (REFERENCE, SAME, USUAL)]
    assert lines[2][2:] == ["1.00", "1.00 to 1.00", lines[2][4], "1.00"]

    runs = json.loads(facts.read_text())["runs"]["mobilenet_v2"]
    assert list(runs) == [REFERENCE, SAME, USUAL]
    for some in runs.values():
        assert len(some) == 2
        for one in some:
            assert one["images"] >= 3 and len(one["losses"]) == 2 and np.isfinite(one["losses"]).all()
            stages = one["stages"]
            assert next(iter(stages)) == READING and list(stages)[-2:] == [BACKWARD, OPTIMIZER]
            assert min(stages.values()) >= 0 and 0.8 * one["seconds"] < sum(stages.values()) < one["seconds"]
    assert [line[0] for line in lines[7:]] == [*runs[REFERENCE][0]["stages"], "all"]


def test_several_models_and_data_without_masks(run, folder, capsys):
    assert run("--models", "mobilenet_v2", "vovnet19_slim", "--pretrained", "none", "--rounds", 1, "--steps", 1) == 0
    assert "| `mobilenet_v2` |" in (text := capsys.readouterr().out) and "| `vovnet19_slim` |" in text


def test_mistakes_are_told_before_any_work(run, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(training, "_run", None)
    for line, words in (
        (["--images", 3], "--images is for data, not for train"),
        (["--models", "ssd300"], "--model ssd300 is for detecting alone"),
        (["--models", "mobilnet_v2"], "did you mean mobilenet_v2"),
        (["--pretrained", tmp_path / "no.safetensors"], "no.safetensors"),
        (["--models", "vovnet19"], "fits this model's backbone"),
        (["--data", "ballon"], "ballon"),
    ):
        assert run(*line) == 2
        assert words in capsys.readouterr().err


JOB = Job("balloon", None, "auto", "balloon", "default", 0.0, 64, 2, 3, 0, 1, "cpu", "mobilenet_v2", SAME)


def test_a_killed_process_is_a_lack_of_memory(monkeypatch):
    def killed(*_, **__):
        return subprocess.CompletedProcess([], -signal.SIGKILL, stdout="")

    monkeypatch.setattr(subprocess, "run", killed)
    with pytest.raises(UsageError, match="more memory than there is"):
        training.measure(JOB, [SAME], 1)


def test_ways_take_turns_and_every_round_has_its_seed(monkeypatch):
    asked = []
    monkeypatch.setattr(training, "_run", lambda job: asked.append((job.way, job.seed)))
    training.measure(JOB, [REFERENCE, SAME], 2)
    assert asked == [(REFERENCE, 0), (SAME, 0), (SAME, 1), (REFERENCE, 1)]


@pytest.mark.parametrize(("seconds", "verdict"), [(2.0, "**met** (2.00)"), (3.0, "**missed** (1.33)")])
def test_the_goal_is_met_or_missed(seconds, verdict):
    theirs, ours = Run(8, 4.0, None, [1.0], {}), Run(8, seconds, 10**9, [1.0], {})
    runs = {REFERENCE: [theirs] * 3, SAME: [ours] * 3}
    text = training.page({"v1": runs}, JOB, "data", "command", "machine")
    assert verdict in text and "not measured" in text and "ms of a step" not in text
    assert training.verdict({**runs, MIXED: [replace(ours, seconds=1.0)] * 3}, "cuda:0").endswith("**met** (4.00).")


def test_mixed_precision_is_measured_where_it_is_quick(monkeypatch):
    for quick, ways in ((True, WAYS), (False, (REFERENCE, SAME, USUAL))):
        monkeypatch.setattr(amp, "cpu_has_bfloat16", lambda quick=quick: quick)
        assert ways_on(CPU) == ways


@pytest.mark.slow
def test_processes_of_their_own(folder):
    job = Job(
        str(folder / "few.yaml"), None, "auto", "balloon", "default", 0.9, IMGSZ, 2, 1, 0, 1, "cpu", "mobilenet_v2"
    )
    runs = training.measure(job, [REFERENCE, SAME, USUAL], 1)
    assert all(run.images == 2 and run.peak_bytes > 10**8 for (run,) in runs.values())
