"""Cross-validation: what each fold is trained and tested on, how it is interrupted and continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from helpers.any_format import put_images
from helpers.tiny_models import render_shapes
from helpers.training import rows

import detect
from detect import runtime
from detect.data import dataset
from detect.errors import DataError, DiskError, TrainingError, UsageError
from detect.models import checkpoint
from detect.training import finished_state, trainer
from detect.training.config import CrossValidationConfig, TrainConfig, complete_config
from detect.training.cross_validation import CrossValidationResult
from detect.training.fold_data import read_fold_data
from detect.training.run import STATE, TrainingRun

SETTINGS = {
    "pretrained": "none",
    "head": "fasterrcnn",
    "imgsz": 64,
    "lr": 0.001,
    "workers": 0,
    "device": "cpu",
    "quiet": True,
    "folds": 2,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2, "test": 1})


@pytest.fixture(autouse=True)
def without_bfloat16(monkeypatch) -> None:
    monkeypatch.setattr(runtime, "cpu_has_bfloat16", lambda: False)


def test_a_fold_is_tested_on_images_that_it_is_not_trained_on(data, tmp_path):
    put_images(tmp_path / "empty", "a.png", "b.png")
    config = CrossValidationConfig(data=str(data), folds=3, backgrounds=str(tmp_path / "empty"))
    found = read_fold_data(config, None)
    every = {path.name for path in map(found.images.table.path, range(6))}
    tested = []
    for fold in range(3):
        split = found.of_fold(fold)
        train, val = ({record.path.name for record in records} for records in (split.train, split.val))
        assert train == (every - val) | {"a.png", "b.png"} and val
        assert len(set(split.train.image_ids.tolist())) == len(train)
        tested += sorted(val)
    assert sorted(tested) == sorted(every)  # each image once, and no image of test
    whole = found.without_val()
    assert {record.path.name for record in whole.train} == every | {"a.png", "b.png"} and not len(whole.val)
    assert whole.splits == ("test",)
    again = read_fold_data(config, found.folds(config))
    assert [record.path for record in again.of_fold(1).val] == [record.path for record in found.of_fold(1).val]


@pytest.fixture
def fake_training(monkeypatch) -> Callable[[dict], list]:
    """``fake_training({"fold_2": error})`` replaces trainings by files without content and raises errors at the end of
    some; it returns the list of those that were called: name, settings and numbers of images."""

    def replace(errors: dict[str, BaseException]) -> list:
        calls = []

        def train_on(split, config: TrainConfig, *_):
            assert config.name
            folder = config.output_dir / config.name
            folder.mkdir()
            calls.append((config.name, config, len(split.train), len(split.val)))
            if config.name in errors:
                raise errors[config.name]
            return trainer.result_of(config, folder, 1, split)

        monkeypatch.setattr(trainer, "train_on", train_on)
        return calls

    return replace


def test_an_interrupted_fold_says_how_to_continue_all_folds(data, tmp_path, fake_training):
    calls = fake_training({"fold_2": KeyboardInterrupt(f"continue with `resume='{tmp_path}/x/fold_2'`")})
    with pytest.raises(KeyboardInterrupt) as stop:
        detect.cross_validate(data, output_dir=tmp_path, name="x", **SETTINGS)
    assert str(stop.value) == f"stopped within the cross-validation; continue with `resume='{tmp_path}/x'`"
    assert [name for name, *_ in calls] == ["fold_1", "fold_2"]
    assert not (tmp_path / "x" / "lock").exists()


@pytest.mark.parametrize("kind", [DiskError, DataError, TrainingError])
def test_an_error_of_a_fold_says_how_to_continue_all_folds(data, tmp_path, fake_training, kind):
    error = kind(f"a fault; continue with `resume='{tmp_path}/x/fold_2'`")
    error.problem = "a fault"
    fake_training({"fold_2": error})
    with pytest.raises(kind) as stop:
        detect.cross_validate(data, output_dir=tmp_path, name="x", **SETTINGS)
    assert str(stop.value) == f"a fault; stopped within the cross-validation; continue with `resume='{tmp_path}/x'`"


def test_an_error_that_a_new_start_repeats_keeps_its_message(data, tmp_path, fake_training):
    fake_training({"fold_2": TrainingError("the loss diverges")})
    with pytest.raises(TrainingError, match=r"^the loss diverges$"):
        detect.cross_validate(data, output_dir=tmp_path, name="x", **SETTINGS)


def test_a_setting_that_does_not_fit_leaves_no_folder(data, tmp_path):
    with pytest.raises(UsageError, match="`freeze` keeps the initial weights"):
        detect.cross_validate(data, output_dir=tmp_path, name="x", freeze=1, **SETTINGS)
    assert not list(tmp_path.iterdir())


def test_all_models_have_the_epochs_of_the_first_one(data, tmp_path, fake_training, monkeypatch):
    calls = fake_training({"fold_3": KeyboardInterrupt()})
    result_of = trainer.result_of

    def fit_epochs(config, *more):
        return result_of(CrossValidationConfig(**vars(config)).of_one_run(epochs=config.epochs or 17), *more)

    monkeypatch.setattr(trainer, "result_of", fit_epochs)
    with pytest.raises(KeyboardInterrupt):
        detect.cross_validate(data, output_dir=tmp_path, name="x", **SETTINGS | {"folds": 3})
    assert [config.epochs for _, config, *_ in calls] == [None, 17, 17]
    assert [train + val for *_, train, val in calls] == [6, 6, 6] and sum(val for *_, val in calls) == 6
    with pytest.raises(KeyboardInterrupt):
        detect.cross_validate(data, output_dir=tmp_path, name="y", epochs=5, **SETTINGS | {"folds": 3})
    assert [config.epochs for _, config, *_ in calls[3:]] == [5, 5, 5]


def test_settings_that_do_not_go_together_are_refused(data, tmp_path):
    with pytest.raises(UsageError, match="`folds` excludes `patience`"):
        detect.cross_validate(data, patience=3)
    with pytest.raises(UsageError, match=r"`folds=1` must be at least 2"):
        detect.cross_validate(data, folds=1)
    with pytest.raises(UsageError, match=r"use at most `folds=6`"):
        detect.cross_validate(data, output_dir=tmp_path, **SETTINGS | {"folds": 7})
    with pytest.raises(TypeError, match="missing the argument 'data'"):
        detect.cross_validate(folds=3)
    assert not list(tmp_path.iterdir())


def test_only_a_whole_cross_validation_is_resumed(tmp_path):
    (tmp_path / "fold_1").mkdir()
    (tmp_path / "folds.yaml").touch()
    (tmp_path / "settings.yaml").write_text("folds: 3\nepochs: 4\n")
    (tmp_path / "fold_1" / "settings.yaml").write_text("epochs: 4\n")
    (tmp_path / "fold_1" / "run").mkdir()
    with pytest.raises(UsageError, match=f"is a part of a cross-validation; .* `resume='{tmp_path}'`"):
        detect.train(resume=tmp_path / "fold_1")
    with pytest.raises(UsageError, match=r"is the folder of a cross-validation, which detect\.cross_validate"):
        detect.train(resume=tmp_path)
    with pytest.raises(UsageError, match="is not the folder of a cross-validation"):
        detect.cross_validate(resume=tmp_path / "fold_1" / "run")
    with pytest.raises(UsageError, match="`epochs`, `folds` cannot be changed, only `final_model`, `device`"):
        detect.cross_validate(resume=tmp_path, epochs=5, folds=4)
    given = CrossValidationConfig(resume=tmp_path, final_model=True)
    config = complete_config(given, {"resume", "final_model"}, CrossValidationConfig)
    assert (config.folds, config.epochs, config.final_model) == (3, 4, True)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> CrossValidationResult:
    """An undisturbed cross-validation of 2 epochs, with a final model."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    return detect.cross_validate(data, output_dir=folder, name="x", epochs=2, amp=False, final_model=True, **SETTINGS)


@pytest.mark.slow
def test_the_metrics_of_a_fold_are_those_of_its_last_epoch(finished):
    assert len(finished.folds) == 2 and [result.config.epochs for result in finished.folds] == [2, 2]
    for number, result in enumerate(finished.folds, 1):
        assert result.folder == finished.folder / f"fold_{number}" and result.evaluation_split == "test"
        fold = finished.out_of_fold.scores["folds"][f"fold_{number}"]
        assert fold["bbox"] == pytest.approx(rows(result.folder)[-1]["val"]["bbox"])
        assert fold["best_epoch"] == result.best_epoch
    saved = json.loads((finished.folder / "cross_validation.json").read_text())
    assert saved["bbox"] == finished.out_of_fold.scores["bbox"] and saved["epochs"]["trained"] == 2
    assert len(finished.out_of_fold.records) == 6 and "2 folds" in repr(finished)


@pytest.mark.slow
def test_the_final_model_is_trained_on_all_images_and_reports_no_quality(finished):
    final = finished.final
    assert final is not None and final.metrics == {} and final.best_epoch == 2 and final.config.epochs == 2
    best, last = (checkpoint.load(path) for path in (final.best, final.last))
    assert best.data["train_images"] == 6 and best.metrics == {"val": {}}
    assert all(torch.equal(best.state[key], last.state[key]) for key in last.state)
    assert all(row["val"] == {} and row["val_losses"] is None for row in rows(final.folder))
    assert detect.load_model(final.best, device="cpu").class_names == finished.out_of_fold.class_names


@pytest.mark.slow
def test_an_interrupted_cross_validation_ends_like_an_undisturbed_one(finished, data, tmp_path, monkeypatch):
    read, left = dataset.read_resized_record, iter(range(3 + 1))

    def read_or_stop(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return read(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "read_resized_record", read_or_stop)
        with pytest.raises(KeyboardInterrupt, match="continue with"):
            detect.cross_validate(data, output_dir=tmp_path, name="x", epochs=2, amp=False, **SETTINGS)
    before = (tmp_path / "x" / "folds.yaml").read_text()
    trained = sorted(path.name for path in (tmp_path / "x").glob("fold_*"))
    result = detect.cross_validate(resume=tmp_path / "x")
    assert trained in (["fold_1"], ["fold_1", "fold_2"]) and result.final is None
    assert (tmp_path / "x" / "folds.yaml").read_text() == before
    assert yaml.safe_load(before)["folds"].keys() == {"fold_1", "fold_2"}
    for one, other in zip(result.folds, finished.folds, strict=True):
        states = [checkpoint.load(path).state for path in (one.last, other.last)]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
        assert rows(one.folder) == rows(other.folder)
    assert result.out_of_fold.scores["bbox"] == finished.out_of_fold.scores["bbox"]


@pytest.mark.slow
def test_finished_folds_are_not_trained_again(finished, monkeypatch):
    monkeypatch.setattr(trainer, "train_on", lambda *_: pytest.fail("trained again"))
    fold = finished.folds[0]
    full = finished_state.completed(TrainingRun.load_state(fold.folder), fold.last)
    checkpoint.save_training_state(
        full, fold.folder / STATE
    )  # as if the process had been killed right after the last epoch
    again = detect.cross_validate(resume=finished.folder)
    assert [(one.best_epoch, one.metrics) for one in again.folds] == [
        (one.best_epoch, one.metrics) for one in finished.folds
    ]
    assert finished_state.is_reduced(TrainingRun.load_state(fold.folder))
    assert again.final is not None and again.final.best == finished.final.best
    assert again.out_of_fold.scores["bbox"] == finished.out_of_fold.scores["bbox"]
