"""benchmark.py train: both loops train the same model on the same images."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.benchmarking import run_benchmark
from helpers.tiny_models import make_image, render_shapes
from helpers.torchvision_references import write_references

from benchmarks import reference, training
from benchmarks.settings import TrainSettings
from benchmarks.stage_timer import BACKWARD, OPTIMIZER, READING
from benchmarks.training import AMP, DEFAULT, REFERENCE, SAME, UNMODIFIED, Run, config_of, variants_of
from detect import runtime
from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset, collate
from detect.media.images import write_image
from detect.models.architecture import backbone_architecture
from detect.models.pretrained import build_from_weights, choose_weights
from detect.structures.class_names import ClassNames
from detect.structures.image_record import ImageRecord
from detect.training.config import TrainConfig
from detect.training.optimizer import build_optimizer, build_schedule
from detect.training.step import TrainStep

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
    monkeypatch.setattr(training, "in_new_process", lambda function, *arguments, **_: function(*arguments))
    monkeypatch.setattr(training, "_WARM_UP", 1)
    monkeypatch.setattr(runtime, "cpu_has_bfloat16", lambda: False)

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
    wanted = backbone_architecture("mobilenet_v2", "maskrcnn", IMGSZ)
    model, architecture, _ = build_from_weights(wanted, CLASSES, choose_weights("mobilenet_v2", "none"))
    model.rpn._pre_nms_top_n["training"] = model.rpn._post_nms_top_n["training"] = 2000
    theirs = reference.build(architecture, 2, model.state_dict())

    dataset = reference.FullSizeImages(images, with_masks=True, mirrored=0.0)
    step = reference.Steps(theirs, 0.01, 1e-4, 5)
    runtime.seed_all(0, 7)  # as the step below does
    expected = step(collate([dataset[0], dataset[1]]))

    ours = DetectionDataset(images, TrainTransform(IMGSZ, Augmentation("none")), with_masks=True)
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


@pytest.mark.slow
def test_table_and_json_hold_every_variant_and_every_stage(run, tmp_path, capsys):
    path = tmp_path / "facts.json"
    assert run("--json", path) == 0
    text = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert [line[0] for line in lines[2:5]] == [training.TITLES[variant] for variant in (REFERENCE, SAME, DEFAULT)]
    assert lines[2][2:] == ["1.00", "1.00 to 1.00", lines[2][4], "1.00"]

    runs = json.loads(path.read_text())["runs"]["mobilenet_v2"]
    assert list(runs) == [REFERENCE, SAME, DEFAULT]
    for some in runs.values():
        assert len(some) == 2
        for one in some:
            assert one["images"] >= 3 and len(one["losses"]) == 2 and np.isfinite(one["losses"]).all()
            stages = one["stages"]
            assert next(iter(stages)) == READING and list(stages)[-2:] == [BACKWARD, OPTIMIZER]
            assert min(stages.values()) >= 0 and 0.8 * one["seconds"] < sum(stages.values()) < one["seconds"]
    assert [line[0] for line in lines[7:]] == [*runs[REFERENCE][0]["stages"], "all"]


@pytest.mark.slow
def test_a_copy_of_torchvisions_references_is_the_yardstick(run, tmp_path, capsys):
    path = tmp_path / "facts.json"
    references = write_references(tmp_path / "references")
    assert run("--references", references, "--rounds", 1, "--steps", 1, "--json", path) == 0
    first = capsys.readouterr().out.partition("---: |\n")[2].splitlines()[0]
    assert first.startswith(f"| {training.TITLES[UNMODIFIED]} |") and "| 1.00 | 1.00 to 1.00 |" in first
    (one,) = json.loads(path.read_text())["runs"]["mobilenet_v2"][UNMODIFIED]
    assert one["images"] == 2 and len(one["losses"]) == 1 and one["stages"] == {}


@pytest.mark.slow
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
    monkeypatch.setattr(training, "in_new_process", None)
    assert run(*line.split()) == 2
    assert words in capsys.readouterr().err


SETTINGS = TrainSettings(models=["mobilenet_v2"], rounds=2, steps=1, imgsz=IMGSZ, device="cpu")


def test_variants_take_turns_and_each_round_has_its_own_seed(monkeypatch):
    asked = []
    monkeypatch.setattr(training, "in_new_process", lambda _, *job, **__: asked.append((job[1], job[0].seed)))
    training.measure(SETTINGS, "mobilenet_v2", [REFERENCE, SAME])
    assert asked == [(True, 0), (False, 0), (False, 1), (True, 1)]


def test_unknown_memory_and_stages_are_left_out_of_the_tables():
    theirs, ours = Run(8, 4.0, None, [1.0], {}), Run(8, 2.0, 10**9, [1.0], {})
    text = training.tables_of("v1", {REFERENCE: [theirs] * 3, SAME: [ours] * 3})
    assert "| 2.00 | 2.00 to 2.00 | 1000 | not measured |" in text and "ms per step" not in text


def test_other_variants_are_compared_with_torchvisions_own_code_where_it_was_measured():
    stages = {READING: 1.0, BACKWARD: 2.0}
    own, like = Run(8, 4.0, None, [1.0], {}), Run(8, 2.0, None, [1.0], stages)
    lines = training.tables_of("v1", {UNMODIFIED: [own], REFERENCE: [like], SAME: [like]}).splitlines()
    assert [line.split("|")[3].strip() for line in lines[2:5]] == ["1.00", "2.00", "2.00"]
    assert lines[6] == f"| ms per step | {training.TITLES[REFERENCE]} | {training.TITLES[SAME]} |"


def test_torchvisions_own_code_is_measured_first_and_only_if_it_is_given(monkeypatch):
    monkeypatch.setattr(runtime, "cpu_has_bfloat16", lambda: False)
    assert variants_of(replace(SETTINGS, references=Path("references"))) == [UNMODIFIED, REFERENCE, SAME, DEFAULT]
    assert UNMODIFIED not in variants_of(SETTINGS)


def test_mixed_precision_is_measured_only_where_the_processor_supports_it(monkeypatch):
    for supported, variants in ((True, [REFERENCE, SAME, DEFAULT, AMP]), (False, [REFERENCE, SAME, DEFAULT])):
        monkeypatch.setattr(runtime, "cpu_has_bfloat16", lambda supported=supported: supported)
        assert variants_of(SETTINGS) == variants


def test_each_variant_differs_from_the_defaults_only_as_stated():
    same, default = (config_of(SETTINGS, "mobilenet_v2", variant, 0) for variant in (SAME, DEFAULT))
    changed = {name: value for name, value in same.strengths().items() if value}
    assert changed == {"jitter": (1.0, 1.0), "flip": 0.5, "color": "none"}
    assert (same.freeze, same.amp, same.repeat_threshold) == (0, False, 0.0)
    assert default.strengths() == TrainConfig().strengths() and default.freeze is default.amp is None


@pytest.mark.slow
def test_each_variant_can_be_measured_in_a_new_process(folder):
    settings = replace(SETTINGS, data=str(folder / "few.yaml"), rounds=1)
    runs = training.measure(settings, "mobilenet_v2", [REFERENCE, SAME, DEFAULT])
    assert all(run.images == 2 and run.peak_bytes > 10**8 for (run,) in runs.values())
