"""The start of a run: defaults are fitted to the dataset, reported with their reasons and saved."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from helpers.tiny_models import render_shapes
from helpers.training import TINY

from detect.models import checkpoint
from detect.models.anchors import anchor_sizes
from detect.models.architecture import backbone_architecture
from detect.models.builder import build
from detect.training.config import TrainConfig
from detect.training.fitting import FittedConfig
from detect.training.step import TrainStep

FITTED = ("imgsz", "anchors", "norm", "freeze", "repeat_threshold", "epochs", "lr", "warmup_steps")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2})


@pytest.fixture
def settings_of_new_run(train_py, monkeypatch, tmp_path):
    """Start a run, stop it before its first epoch, and return its settings.yaml as text."""
    kept = []

    def stop(run, *_):
        kept.append((run.folder / "settings.yaml").read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr("detect.training.trainer.train_epochs", stop)

    def call(*flags: object) -> str:
        more = ["--output-dir", tmp_path, "--workers", 0, "--device", "cpu"]
        more += [] if "--model" in flags else ["--head", "fasterrcnn"]
        assert train_py(*flags, *more) == 130
        return kept[-1]

    return call


FROM_WEIGHTS = ("--pretrained", "balloon")
GIVEN = {
    "imgsz": 96, "norm": "batch", "freeze": 2, "repeat_threshold": 0.5, "epochs": 7, "lr": 0.5, "warmup_steps": 3,
}  # fmt: skip


def test_fitted_defaults_are_reported_and_saved_with_their_reasons(settings_of_new_run, data, capsys):
    text = settings_of_new_run("--data", data, "--pretrained", "none")
    said = capsys.readouterr().out
    values = yaml.safe_load(text)
    assert all(values[name] is not None for name in FITTED)
    for name in FITTED:
        (line,) = [one for one in said.splitlines() if one.startswith(f"--{name.replace('_', '-')} ")]
        reason = line.partition(": ")[2]
        assert reason and f"# {reason}\n{name}: " in text
    assert values["norm"] == "batch" and values["freeze"] == 0  # random weights have nothing to keep


def test_a_training_starts_with_lines_about_data_model_weights_and_device(settings_of_new_run, data, capsys):
    settings_of_new_run("--data", data, *FROM_WEIGHTS, "--imgsz", 64, "--no-amp")
    first, *others = capsys.readouterr().out.splitlines()
    assert (
        first.startswith("few: 4 images for training, 2 for validation; ") and "objects of 3 classes: circle" in first
    )
    start = [line for line in others if line.startswith(("model: ", "weights: ", "device: "))]
    assert [line.partition(":")[0] for line in start] == ["model", "weights", "device"]
    model, weights, device = start
    assert "mobilenet_v2 (fasterrcnn)" in model and "M parameters" in model and "GFLOP (multiply-adds)" in model
    assert "balloon" in weights and device.startswith("device: cpu, ") and device.endswith("precision: float32")


def test_saved_settings_say_what_became_of_those_left_open_and_are_read_again(settings_of_new_run, data, tmp_path):
    text = settings_of_new_run("--data", data, "--pretrained", "none", "--aug", "light")
    for comment, setting in (
        ("in this run: coco", "format: auto"),
        ("in this run: 0.8 1.25", "jitter: null"),
        ("in this run: 0", "mosaic: null"),
    ):
        assert f"# {comment}\n{setting}\n" in text
    values = yaml.safe_load(text)
    assert re.search(r"# in this run: \d+\nfpn_channels: null\n", text)  # those of the backbone
    (tmp_path / "again.yaml").write_text(text)
    assert yaml.safe_load(settings_of_new_run("--config", tmp_path / "again.yaml", "--name", "again")) == values | {
        "name": "again"
    }


def test_a_resumed_run_on_a_given_device_does_not_keep_the_note_about_the_former_one():
    for device, note in (("cpu", None), ("auto", "in this run: cpu")):
        fitted = FittedConfig(TrainConfig(data="x", device=device), data=None)
        fitted.reasons["device"] = "in this run: cuda:0"
        fitted.note("device", "cpu")
        assert fitted.reasons.get("device") == note


def test_detections_per_image_are_fitted_to_crowded_images_and_reported_only_then(
    settings_of_new_run, data, tmp_path, capsys
):
    assert yaml.safe_load(settings_of_new_run("--data", data))["max_detections"] == 100
    assert "--max-detections" not in capsys.readouterr().out
    spec = yaml.safe_load(data.read_text())
    content = json.loads((data.parent / "files" / "train.json").read_text())
    (first, *_) = content["annotations"]
    content["annotations"] += [first | {"id": 1000 + i} for i in range(120)]
    spec["root"] = str(data.parent / "files")
    spec["splits"]["train"]["annotations"] = str(tmp_path / "crowded.json")
    (tmp_path / "crowded.json").write_text(json.dumps(content))
    (tmp_path / "crowded.yaml").write_text(yaml.safe_dump(spec))
    for flags, expected in (([], 200), (["--max-detections", 120], 120)):
        text = settings_of_new_run("--data", tmp_path / "crowded.yaml", *flags)
        assert yaml.safe_load(text)["max_detections"] == expected
        assert (f"--max-detections {expected}: the most crowded" in capsys.readouterr().out) == (not flags)


@pytest.mark.parametrize("name", [name for name in FITTED if name != "anchors"])
def test_a_given_setting_changes_only_its_own_default(settings_of_new_run, data, capsys, name):
    usual = yaml.safe_load(settings_of_new_run("--data", data, *FROM_WEIGHTS))
    capsys.readouterr()
    changed = yaml.safe_load(
        settings_of_new_run("--data", data, *FROM_WEIGHTS, f"--{name.replace('_', '-')}", GIVEN[name])
    )
    said = capsys.readouterr().out
    assert changed[name] == GIVEN[name] != usual[name] and f"\n--{name.replace('_', '-')} " not in said
    follow = {"epochs": {"warmup_steps"}, "repeat_threshold": {"epochs", "warmup_steps"}}  # fitted to the given one
    for other in set(FITTED) - {name} - follow.get(name, set()):
        assert changed[other] == usual[other], other


def test_a_batch_larger_than_the_dataset_counts_as_the_whole_dataset(settings_of_new_run, data):
    large, all_of_them = (
        yaml.safe_load(settings_of_new_run("--data", data, *FROM_WEIGHTS, "--batch-size", n)) for n in (64, 4)
    )
    assert {name: large[name] for name in FITTED} == {name: all_of_them[name] for name in FITTED}


def test_a_warm_up_longer_than_half_of_the_steps_is_a_warning(settings_of_new_run, data, capsys):
    settings_of_new_run(
        "--data", data, *FROM_WEIGHTS, "--epochs", 3, "--batch-size", 2, "--repeat-threshold", 0, "--warmup-steps", 3
    )
    assert "--warmup-steps" not in capsys.readouterr().err
    settings_of_new_run(
        "--data", data, *FROM_WEIGHTS, "--epochs", 3, "--batch-size", 2, "--repeat-threshold", 0, "--warmup-steps", 4
    )
    assert "--warmup-steps 4 is reduced to 3, half of all steps" in capsys.readouterr().err


def test_frozen_norms_are_fused_into_their_convolutions_in_training(settings_of_new_run, data, monkeypatch):
    fused = []
    monkeypatch.setattr("detect.training.setup.fuse_frozen_batch_norms", fused.append)
    settings_of_new_run("--data", data, *FROM_WEIGHTS)
    assert [type(model).__name__ for model in fused] == ["FasterRCNN"]


@pytest.mark.parametrize("supported", [True, False])
def test_mixed_precision_is_used_if_the_cpu_supports_it(settings_of_new_run, data, monkeypatch, capsys, supported):
    monkeypatch.setattr("detect.runtime.cpu_has_bfloat16", lambda: supported)
    types = []
    monkeypatch.setattr(
        "detect.training.setup.TrainStep", lambda *a, **more: types.append(more["dtype"]) or TrainStep(*a, **more)
    )
    text = settings_of_new_run("--data", data, *FROM_WEIGHTS)
    assert yaml.safe_load(text)["amp"] is supported and types == [torch.bfloat16 if supported else None]
    assert f"--{'' if supported else 'no-'}amp: this cpu " in capsys.readouterr().out
    assert (
        yaml.safe_load(settings_of_new_run("--data", data, *FROM_WEIGHTS, "--no-amp"))["amp"] is False
        and types[-1] is None
    )


@pytest.mark.slow
def test_a_run_in_16_bits_continues_in_float32_on_a_device_without_them(train_py, data, tmp_path, monkeypatch, capsys):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    monkeypatch.setattr("detect.runtime.cpu_has_bfloat16", lambda: True)
    assert train_py(*flags) == 0
    monkeypatch.setattr("detect.runtime.cpu_has_bfloat16", lambda: False)
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 0
    assert "was trained in 16 bits, which this cpu does not support" in capsys.readouterr().err
    assert train_py(*flags, "--name", "y", "--amp") == 2


def test_saved_settings_start_the_same_run(settings_of_new_run, data, tmp_path, capsys):
    text = settings_of_new_run("--data", data, *FROM_WEIGHTS, "--accumulate", 2)
    (tmp_path / "again.yaml").write_text(text)
    capsys.readouterr()
    again = settings_of_new_run("--config", tmp_path / "again.yaml")
    assert yaml.safe_load(again) == yaml.safe_load(text)
    assert "\n--lr" not in capsys.readouterr().out  # nothing is left to fit


@pytest.mark.slow
def test_fitted_defaults_are_kept_when_a_run_is_resumed(train_py, data, tmp_path):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert train_py(*flags) == 0
    before = (tmp_path / "x" / "settings.yaml").read_text()
    assert "# " in before
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 0
    then = before.replace("epochs: 1", "epochs: 2").replace(
        "# a tenth of 2 steps\n", ""
    )  # of steps, of which there are more now
    assert (tmp_path / "x" / "settings.yaml").read_text() == then


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--anchors fitted: the default anchors, since "),
        (("--anchors", "fitted"), "anchors: the default anchors, since "),
        (("--anchors", "default"), "anchors: the default anchors, which reach "),
        (("--pretrained", "balloon"), "anchors: those of the weights, which reach "),
        (("--model", "v1"), "anchors: those of the model, which reach "),
    ],
)
def test_the_origin_of_the_anchors_is_reported(settings_of_new_run, data, capsys, flags, said):
    start = () if "--pretrained" in flags else ("--pretrained", "none")
    settings_of_new_run("--data", data, *start, *flags)
    lines = [line for line in capsys.readouterr().out.splitlines() if "anchors" in line.partition(":")[0]]
    assert len(lines) == 1 and lines[0].startswith(said)


@pytest.mark.parametrize(("per_location", "is_fitted"), [(3, True), (6, False)])
def test_anchors_of_weights_without_header_are_recognized_by_their_number(
    settings_of_new_run, data, tmp_path, per_location, is_fitted
):
    whole = build(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), 4).state_dict()
    rows = {"cls_logits": per_location, "bbox_pred": 4 * per_location}
    for name, tensor in whole.items():
        if name.startswith("rpn.head") and (part := name.split(".")[2]) in rows:
            whole[name] = tensor[: rows[part]]
    torch.save(whole, tmp_path / "x.pth")
    settings = yaml.safe_load(
        settings_of_new_run("--data", data, "--backbone", "mobilenet_v2", "--pretrained", tmp_path / "x.pth")
    )
    assert settings["anchors"] == ("fitted" if is_fitted else None)


@pytest.mark.slow
def test_anchors_of_pretrained_weights_are_kept(train_py, data, tmp_path):
    common = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--head", "fasterrcnn", *TINY]
    assert train_py(*common, "--name", "first") == 0
    first = tmp_path / "first" / "last.safetensors"
    saved = checkpoint.load(first)
    own = [[8 + i, 9 + i] for i in range(5)]
    checkpoint.save(
        checkpoint.Checkpoint(**{**saved.__dict__, "architecture": saved.architecture | {"anchors": own}}), first
    )
    assert train_py(*common, "--pretrained", first, "--name", "second") == 0
    second = checkpoint.load(tmp_path / "second" / "last.safetensors").architecture
    assert second["anchors"] == own != [list(level) for level in anchor_sizes(64)]
