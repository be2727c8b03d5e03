"""benchmark.py train: both loops train the same model on the same images."""

from __future__ import annotations

import json
import signal
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.benchmarking import run_benchmark
from helpers.tiny_models import make_image, render_shapes

from benchmarks import reference, training, training_run
from benchmarks.stages import BACKWARD, OPTIMIZER, READING
from benchmarks.training_run import REFERENCE, SAME, USUAL, WAYS, Job, Run, ways_on
from detect import runtime
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
    monkeypatch.setattr(training, "_run_in_new_process", training_run.measure)
    monkeypatch.setattr(training_run, "_WARM_UP", 1)
    monkeypatch.setattr(amp, "cpu_has_bfloat16", lambda: False)

    def call(*arguments: object) -> int:
        line = ["train", "--data", folder / "few.yaml", "--imgsz", IMGSZ, "--rounds", 2, "--steps", 2]
        return run_benchmark(monkeypatch, *line, "--device", "cpu", "--quiet", *arguments)

    return call


def records(folder: Path, *sizes_hw: tuple[int, int]) -> list[ImageRecord]:
    """Return images of these sizes, each with two annotated rectangles."""
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


def test_both_loops_have_equal_losses_in_the_first_step(tmp_path):
    """With equal images, weights and random numbers, and without resizing, mirroring and grouping."""
    images = records(tmp_path, (IMGSZ, 96), (IMGSZ, 80))
    runtime.seed_all(0)
    model, architecture = training_run.start("mobilenet_v2", "balloon", IMGSZ, CLASSES, has_masks=True)
    model.rpn._pre_nms_top_n["training"] = 2000
    theirs = reference.build(architecture, 2, model.state_dict())

    dataset = reference.FullSizeImages(images, with_masks=True, mirrored=0.0)
    steps = reference.Steps(theirs, 0.01, 1e-4, 5, CPU)
    runtime.seed_all(0, 7)  # as the step below does
    expected = steps.step(reference._collate([dataset[0], dataset[1]]))

    ours = DetectionDataset(images, TrainTransform(IMGSZ, Augmentation()), with_masks=True)
    optimizer = build_optimizer(model, "sgd", 0.01, 1e-4)
    train_step = TrainStep(model, optimizer, build_schedule(optimizer, "cosine", 10, 5))
    found = train_step([collate([ours[0], ours[1]])], [(7,)]).losses
    assert found == pytest.approx(expected, rel=0.02)  # a rounded box may change which anchors reach it


def test_reference_loader_returns_images_and_masks_at_full_size(tmp_path):
    (record,) = records(tmp_path, (70, 90))
    image, target = reference.FullSizeImages([record], with_masks=True, mirrored=0.0)[0]
    mirrored, same = reference.FullSizeImages([record], with_masks=True, mirrored=1.0)[0]
    assert image.shape == (3, 70, 90) and image.dtype == torch.float32 and 0.2 < image.mean() < 0.8
    assert target["masks"].shape == (2, 70, 90) and target["masks"].dtype == torch.uint8
    assert target["masks"][0].sum() == pytest.approx(26 * 34, rel=0.1)
    assert torch.equal(mirrored, image.flip(-1)) and torch.equal(same["masks"], target["masks"].flip(-1))
    assert same["boxes"].tolist() == [[60, 6, 86, 40], [30, 10, 70, 50]]
    assert "masks" not in reference.FullSizeImages([record], with_masks=False)[0][1]


def test_reference_batches_hold_every_image_once_per_epoch_with_similar_aspect_ratios(tmp_path):
    six = records(tmp_path, *[(64, 96), (96, 64), (64, 96)] * 2)
    dataset = reference.FullSizeImages(six, with_masks=False)
    epochs = list(islice(reference.batches(dataset, 2, 0, seed=0), 6))
    assert sorted(int(t["image_id"]) for _, targets in epochs for t in targets) == sorted([*range(6)] * 2)
    assert all(len({image.shape for image in images}) == 1 for images, _ in epochs)


def test_table_and_json_hold_every_way_and_every_stage(run, tmp_path, capsys):
    path = tmp_path / "facts.json"
    assert run("--json", path) == 0
    text = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert [line[0] for line in lines[2:5]] == [training.TITLES[way] for way in (REFERENCE, SAME, USUAL)]
    assert lines[2][2:] == ["1.00", "1.00 to 1.00", lines[2][4], "1.00"]

    runs = json.loads(path.read_text())["runs"]["mobilenet_v2"]
    assert list(runs) == [REFERENCE, SAME, USUAL]
    for some in runs.values():
        assert len(some) == 2
        for one in some:
            assert one["images"] >= 3 and len(one["losses"]) == 2 and np.isfinite(one["losses"]).all()
            stages = one["stages"]
            assert next(iter(stages)) == READING and list(stages)[-2:] == [BACKWARD, OPTIMIZER]
            assert min(stages.values()) >= 0 and 0.8 * one["seconds"] < sum(stages.values()) < one["seconds"]
    assert [line[0] for line in lines[7:]] == [*runs[REFERENCE][0]["stages"], "all"]


def test_several_models_are_measured(run, capsys):
    assert run("--models", "mobilenet_v2", "vovnet19_slim", "--pretrained", "none", "--rounds", 1, "--steps", 1) == 0
    assert "| `mobilenet_v2` |" in (text := capsys.readouterr().out) and "| `vovnet19_slim` |" in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--pretrained no.safetensors", "no.safetensors"),
        ("--models vovnet19", "backbone"),
        ("--data ballon", "ballon"),
    ],
)
def test_errors_are_reported_before_any_measurement(run, monkeypatch, capsys, line, words):
    monkeypatch.setattr(training, "_run_in_new_process", None)
    assert run(*line.split()) == 2
    assert words in capsys.readouterr().err


JOB = Job("balloon", None, "auto", "balloon", "default", 0.0, 64, 2, 3, 0, 1, "cpu", "mobilenet_v2", SAME)


def test_killed_process_is_reported_as_lack_of_memory(monkeypatch):
    def killed(*_, **__):
        return subprocess.CompletedProcess([], -signal.SIGKILL, stdout="")

    monkeypatch.setattr(subprocess, "run", killed)
    with pytest.raises(UsageError, match="more memory than there is"):
        training.measure(JOB, [SAME], 1)


def test_ways_take_turns_and_each_round_has_its_own_seed(monkeypatch):
    asked = []
    monkeypatch.setattr(training, "_run_in_new_process", lambda job: asked.append((job.way, job.seed)))
    training.measure(JOB, [REFERENCE, SAME], 2)
    assert asked == [(REFERENCE, 0), (SAME, 0), (SAME, 1), (REFERENCE, 1)]


def test_unknown_memory_and_stages_are_left_out_of_the_tables():
    theirs, ours = Run(8, 4.0, None, [1.0], {}), Run(8, 2.0, 10**9, [1.0], {})
    text = training.page({"v1": {REFERENCE: [theirs] * 3, SAME: [ours] * 3}}, JOB, "data", "machine")
    assert "| 2.00 | 2.00 to 2.00 | 1000 | not measured |" in text and "ms per step" not in text


def test_mixed_precision_is_measured_only_where_the_processor_supports_it(monkeypatch):
    for supported, ways in ((True, WAYS), (False, (REFERENCE, SAME, USUAL))):
        monkeypatch.setattr(amp, "cpu_has_bfloat16", lambda supported=supported: supported)
        assert ways_on(CPU) == ways


@pytest.mark.slow
def test_each_way_can_be_measured_in_a_new_process(folder):
    job = Job(
        str(folder / "few.yaml"), None, "auto", "balloon", "default", 0.9, IMGSZ, 2, 1, 0, 1, "cpu", "mobilenet_v2"
    )
    runs = training.measure(job, [REFERENCE, SAME, USUAL], 1)
    assert all(run.images == 2 and run.peak_bytes > 10**8 for (run,) in runs.values())
