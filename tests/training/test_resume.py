"""Runs of earlier versions can be resumed: names in their files are translated, and the values are unchanged."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from helpers.tiny_run import tiny_run

from detect.errors import UsageError
from detect.models import checkpoint
from detect.options import RENAMED
from detect.training.config import TrainConfig, resumed_config
from detect.training.logging.jsonl import MetricsLog
from detect.training.loop import EpochProgress
from detect.training.resume import (
    RENAMED_STATE_KEYS,
    check_resumable,
    translate_settings,
    translate_state,
)
from detect.training.run import LOG, STATE, TrainingRun

# A run of an earlier version, stopped within its second epoch; its model is that of helpers.tiny_run.
OLD_RUN = Path(__file__).parent / "fixtures" / "old_run"


@pytest.fixture
def old_run(tmp_path) -> Path:
    return shutil.copytree(OLD_RUN, tmp_path / "old")


def test_the_settings_of_an_old_run_are_translated(old_run):
    config = resumed_config(old_run, {"epochs": 5, "quiet": False}, TrainConfig)
    assert (config.color, config.repeat_threshold, config.max_skipped_steps) == ("strong", 0.0, 5)  # type: ignore[attr-defined]
    assert (config.epochs, config.quiet, config.ema, config.resume) == (5, False, 0.99, old_run)


def test_the_state_of_an_old_run_is_translated_and_its_values_are_unchanged(old_run):
    old = torch.load(old_run / STATE, weights_only=True)
    assert set(RENAMED_STATE_KEYS) <= set(old)
    state = TrainingRun.load_state(old_run)
    assert not set(RENAMED_STATE_KEYS) & set(state) and len(state) == len(old)
    for before, now in RENAMED_STATE_KEYS.items():
        assert repr(state[now]) == repr(old[before])
    assert "repeat_threshold" in state["reasons"] and not set(RENAMED) & {*state["settings"], *state["reasons"]}


def test_an_old_run_is_restored_within_its_epoch(old_run):
    run = tiny_run(old_run, decay=0.99)
    state = TrainingRun.load_state(old_run)
    run.restore(state)
    assert (run.epoch, run.best_score, run.best_epoch) == (1, 0.1, 1)
    assert run.epoch_progress == EpochProgress(1, 1, 0, {"loss": pytest.approx(0.17034547)})
    assert torch.equal(run.train_step.model.weight, state["model"]["weight"])
    assert run.train_step.ema and torch.equal(run.train_step.ema.module.weight, state["ema"]["module.weight"])
    assert MetricsLog(old_run / LOG).rows()[0]["memory_bytes"] is None
    run.save_progress(EpochProgress(batches=2))
    written = set(torch.load(old_run / STATE, weights_only=True))
    assert written - {"train_digest"} == set(state) - {"train_sha256"}  # with the new names


def test_the_checkpoint_of_an_old_run_loads_with_the_new_names(old_run):
    saved = checkpoint.load(old_run / "best.safetensors")
    assert saved.training["color"] == "strong" and saved.training["repeat_threshold"] == 0
    assert saved.data == {"name": "few", "train_images": 4, "train_fingerprint": ["0"]}


def check(folder: Path, config: TrainConfig, **saved: object) -> None:
    state = TrainingRun.load_state(folder) | saved
    check_resumable(folder, state, settings=config.settings_to_compare(), class_names=["kite"], num_processes=1)


def test_the_settings_of_an_old_run_equal_those_in_its_state(old_run):
    check(old_run, resumed_config(old_run, {}, TrainConfig))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.5}, "lr is 0.5, and was 0.01"),
        ({"color": "mild"}, "augmentation.color is mild, and was strong"),
        ({"aug": "strong"}, "augmentation.brightness_contrast is 0.25, and was 0.1"),
        ({"repeat_threshold": 0.1}, "repeat_threshold is 0.1, and was 0.0"),
    ],
)
def test_a_changed_setting_of_an_old_run_is_named(old_run, change, message):
    changed = replace(resumed_config(old_run, {}, TrainConfig), **change)
    with pytest.raises(UsageError, match=message):
        check(old_run, changed)


def test_other_epochs_device_and_locations_may_change(old_run):
    config = resumed_config(old_run, {"epochs": 9, "device": "cuda:0", "workers": 3}, TrainConfig)
    check(old_run, replace(config, data="elsewhere", name="x", output_dir=Path("y"), backgrounds="z"))


def test_a_run_with_other_classes_is_refused(old_run):
    with pytest.raises(UsageError, match=r"was trained on the classes \['bird'\]"):
        check(old_run, resumed_config(old_run, {}, TrainConfig), class_names=["bird"])


def test_translation_leaves_current_names_alone():
    settings = {f.name: None for f in fields(TrainConfig)} | {"augmentation.blur": 0.1}
    assert translate_settings(settings) == settings
    state = {"ema": 1, "epoch_progress": 2, "settings": settings}
    assert translate_state(state) == state
