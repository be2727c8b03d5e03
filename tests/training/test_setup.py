"""How a run starts: what is not given is fitted to the data, said with its reason, and kept; a flag changes its own
default and no other."""

from __future__ import annotations

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
from detect.training.step import TrainStep

FITTED = ("imgsz", "anchors", "norm", "freeze", "rare", "epochs", "lr", "warmup_steps")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2})


@pytest.fixture
def begun(train_py, monkeypatch, tmp_path):
    """settings.yaml, as text, of a run that ends before its first epoch."""
    kept = []

    def stop(settings, run, *_):
        kept.append((run.folder / "settings.yaml").read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr("detect.cli.commands.train.train_epochs", stop)

    def call(*flags: object) -> str:
        more = ["--output-dir", tmp_path, "--workers", 0, "--device", "cpu"]
        more += [] if "--model" in flags else ["--head", "fasterrcnn"]
        assert train_py(*flags, *more) == 130
        return kept[-1]

    return call


FROM_WEIGHTS = ("--pretrained", "balloon")
GIVEN = {
    "imgsz": 96, "norm": "batch", "freeze": 2, "rare": 0.5, "epochs": 7, "lr": 0.5, "warmup_steps": 3,
}  # fmt: skip


def test_defaults_are_said_with_their_reasons_and_kept(begun, data, capsys):
    text = begun("--data", data, "--pretrained", "none")
    said = capsys.readouterr().out
    values = yaml.safe_load(text)
    assert all(values[name] is not None for name in FITTED)
    for name in FITTED:
        (line,) = [one for one in said.splitlines() if one.startswith(f"--{name.replace('_', '-')} ")]
        reason = line.partition(": ")[2]
        assert reason and f"# {reason}\n{name}: " in text
    assert values["norm"] == "batch" and values["freeze"] == 0  # random weights have nothing to keep


@pytest.mark.parametrize("name", [name for name in FITTED if name != "anchors"])
def test_a_flag_overrides_its_own_default_alone(begun, data, capsys, name):
    usual = yaml.safe_load(begun("--data", data, *FROM_WEIGHTS))
    capsys.readouterr()
    changed = yaml.safe_load(begun("--data", data, *FROM_WEIGHTS, f"--{name.replace('_', '-')}", GIVEN[name]))
    said = capsys.readouterr().out
    assert changed[name] == GIVEN[name] != usual[name] and f"\n--{name.replace('_', '-')} " not in said
    follow = {"epochs": {"warmup_steps"}, "rare": {"epochs", "warmup_steps"}}  # what is fitted to the one given
    for other in set(FITTED) - {name} - follow.get(name, set()):
        assert changed[other] == usual[other], other


def test_a_batch_of_more_images_than_there_are_is_fitted_as_one_of_all(begun, data):
    large, all_of_them = (yaml.safe_load(begun("--data", data, *FROM_WEIGHTS, "--batch-size", n)) for n in (64, 4))
    assert {name: large[name] for name in FITTED} == {name: all_of_them[name] for name in FITTED}


def test_a_warm_up_longer_than_half_of_the_steps_is_told(begun, data, capsys):
    begun("--data", data, *FROM_WEIGHTS, "--epochs", 3, "--batch-size", 2, "--rare", 0, "--warmup-steps", 3)
    assert "--warmup-steps" not in capsys.readouterr().err
    begun("--data", data, *FROM_WEIGHTS, "--epochs", 3, "--batch-size", 2, "--rare", 0, "--warmup-steps", 4)
    assert "--warmup-steps 4: the rate rises for 3, half of all steps" in capsys.readouterr().err


def test_frozen_norms_are_trained_within_their_convolutions(begun, data, monkeypatch):
    folded = []
    monkeypatch.setattr("detect.training.setup.fuse_frozen_batch_norms", folded.append)
    begun("--data", data, *FROM_WEIGHTS)
    assert [type(model).__name__ for model in folded] == ["FasterRCNN"]


@pytest.mark.parametrize("quick", [True, False])
def test_layers_are_in_16_bits_where_the_cpu_computes_in_them(begun, data, monkeypatch, capsys, quick):
    monkeypatch.setattr("detect.training.amp.cpu_has_bfloat16", lambda: quick)
    types = []
    monkeypatch.setattr(
        "detect.training.setup.TrainStep", lambda *a, **more: types.append(more["dtype"]) or TrainStep(*a, **more)
    )
    text = begun("--data", data, *FROM_WEIGHTS)
    assert yaml.safe_load(text)["amp"] is quick and types == [torch.bfloat16 if quick else None]
    assert f"--{'' if quick else 'no-'}amp: this cpu " in capsys.readouterr().out
    assert yaml.safe_load(begun("--data", data, *FROM_WEIGHTS, "--no-amp"))["amp"] is False and types[-1] is None


def test_a_run_in_16_bits_goes_on_where_there_are_none(train_py, data, tmp_path, monkeypatch, capsys):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    monkeypatch.setattr("detect.training.amp.cpu_has_bfloat16", lambda: True)
    assert train_py(*flags) == 0
    monkeypatch.setattr("detect.training.amp.cpu_has_bfloat16", lambda: False)
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 0
    assert "has trained in 16 bits, which cpu is slow with here" in capsys.readouterr().err
    assert train_py(*flags, "--name", "y", "--amp") == 2


def test_settings_that_were_kept_begin_the_same_run(begun, data, tmp_path, capsys):
    text = begun("--data", data, *FROM_WEIGHTS, "--accumulate", 2)
    (tmp_path / "again.yaml").write_text(text)
    capsys.readouterr()
    again = begun("--config", tmp_path / "again.yaml")
    assert yaml.safe_load(again) == yaml.safe_load(text)
    assert "\n--lr" not in capsys.readouterr().out  # nothing is left to fit


def test_a_fitted_default_is_the_runs_own_when_it_goes_on(train_py, data, tmp_path):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert train_py(*flags) == 0
    before = (tmp_path / "x" / "settings.yaml").read_text()
    assert "# " in before
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 0
    then = before.replace("epochs: 1", "epochs: 2").replace(
        "# a tenth of the 2 steps\n", ""
    )  # of which there are more now
    assert (tmp_path / "x" / "settings.yaml").read_text() == then


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--anchors fitted: the default ones, as "),
        (("--anchors", "fitted"), "anchors: the default ones, as "),
        (("--anchors", "default"), "anchors: the default ones, which reach "),
        (("--pretrained", "balloon"), "anchors: those of the weights, which reach "),
        (("--model", "v1"), "anchors: the model's own, which reach "),
    ],
)
def test_it_is_told_whose_the_anchors_are(begun, data, capsys, flags, said):
    start = () if "--pretrained" in flags else ("--pretrained", "none")
    begun("--data", data, *start, *flags)
    lines = [line for line in capsys.readouterr().out.splitlines() if "anchors" in line.partition(":")[0]]
    assert len(lines) == 1 and lines[0].startswith(said)


@pytest.mark.parametrize(("per_location", "is_fitted"), [(3, True), (6, False)])
def test_anchors_that_weights_do_not_tell_of_are_known_by_their_number(begun, data, tmp_path, per_location, is_fitted):
    whole = build(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), 4).state_dict()
    rows = {"cls_logits": per_location, "bbox_pred": 4 * per_location}
    for name, tensor in whole.items():
        if name.startswith("rpn.head") and (part := name.split(".")[2]) in rows:
            whole[name] = tensor[: rows[part]]
    torch.save(whole, tmp_path / "x.pth")
    settings = yaml.safe_load(begun("--data", data, "--backbone", "mobilenet_v2", "--pretrained", tmp_path / "x.pth"))
    assert settings["anchors"] == ("fitted" if is_fitted else None)


def test_anchors_come_with_the_weights_that_have_learned_on_them(train_py, data, tmp_path):
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
