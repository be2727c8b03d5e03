"""TrainConfig, and the functions of the public API that take its fields as keyword arguments."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from helpers.folders import ROOT
from helpers.tiny_models import render_shapes

import detect
from detect.errors import CheckpointError, UsageError
from detect.options import fields_of
from detect.training import api
from detect.training.config import TrainConfig, complete_config, resumed_config

TINY = {"pretrained": "none", "imgsz": 64, "lr": 0.001, "workers": 0, "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2})


def test_every_setting_has_a_help_text():
    for name, field in fields_of(TrainConfig).items():
        assert field.help and field.help[0] != " ", name


def test_the_config_needs_neither_the_command_line_nor_torch():
    code = "import sys; import detect.training.config; assert not {'torch', 'detect.cli'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_saved_config_is_read_back(tmp_path):
    config = TrainConfig(data="shapes", color="strong", lr=0.5, jitter=[0.5, 2.0], resume=Path("x"))  # type: ignore[call-arg]
    config.save(tmp_path / "settings.yaml", {"lr": "because"})
    text = (tmp_path / "settings.yaml").read_text()
    assert "# because\nlr: 0.5\n" in text and "resume" not in yaml.safe_load(text)
    assert resumed_config(tmp_path, {}, TrainConfig) == TrainConfig(**vars(config) | {"resume": tmp_path})


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"jitter": [1.2, 0.5]}, ["`jitter=1.2 0.5`"]),
        ({"jitter": [0.5]}, ["`jitter=0.5`"]),
        ({"model": "ssdlite"}, ["ssdlite"]),
        ({"name": "a/b"}, ["`name='a/b'`"]),
    ],
)
def test_an_invalid_setting_is_a_usage_error_that_names_it(settings, names):
    with pytest.raises(UsageError) as error:
        TrainConfig(**settings)
    assert all(name in str(error.value) for name in names)


def test_a_model_excludes_backbone_and_head():
    for name, value in (("backbone", "resnet50"), ("head", "maskrcnn"), ("fpn_channels", 64)):
        with pytest.raises(UsageError, match=r"`model`.*`backbone`, `head`"):
            complete_config(TrainConfig(**{"model": "v1", name: value}), {"model", name}, TrainConfig)


def test_only_some_settings_can_change_on_resuming(tmp_path):
    with pytest.raises(UsageError, match="`imgsz`, `lr` cannot be changed"):
        resumed_config(tmp_path, {"resume": tmp_path, "epochs": 3, "lr": 1.0, "imgsz": 320}, TrainConfig)


# The functions


def test_train_returns_files_and_metrics(data, tmp_path, capsys):
    result = detect.train(data, epochs=2, head="fasterrcnn", output_dir=tmp_path, name="x", **TINY)
    assert result.folder == tmp_path / "x" and result.best.is_file() and result.last.is_file()
    assert {"bbox_AP", "bbox_AP50", "loss"} <= set(result.metrics) and "segm_AP" not in result.metrics
    assert all(isinstance(value, float) for value in result.metrics.values())
    assert len(repr(result)) < 300 and "bbox_AP" in repr(result)
    assert result.best_epoch in (1, 2) and result.config.epochs == 2 and result.evaluation_split == "val"
    printed = capsys.readouterr().out
    assert "`anchors='fitted'`: " in printed and "--" not in printed

    resumed = detect.train(resume=str(result.folder), epochs=3, quiet=True)
    assert resumed.folder == result.folder and resumed.config.epochs == 3 and resumed.config.imgsz == 64
    with pytest.raises(UsageError, match="`data` cannot be changed"):
        detect.train("shapes", resume=result.folder)


def test_an_unknown_setting_is_a_type_error_that_names_the_nearest():
    with pytest.raises(TypeError, match=r"detect\.train\(\) got an unexpected keyword argument 'epoch'.*epochs"):
        detect.train(epoch=3)
    for name in ("overfit", "debug_step"):
        with pytest.raises(TypeError, match=name):
            detect.train(**{name: 3})
    with pytest.raises(TypeError, match="color"):
        detect.train(colours="strong")  # vocabulary: old name


def test_training_without_data_is_a_type_error():
    for function in (detect.train, detect.overfit_test):
        for data in ((), (None,)):
            for settings in ({}, {"resume": None}):
                with pytest.raises(TypeError, match=r"missing the argument 'data'"):
                    function(*data, epochs=1, **settings)


@pytest.mark.parametrize("number", [0, -1, "4", 2.5, True])
def test_the_overfit_test_needs_a_positive_number_of_images(number):
    with pytest.raises(UsageError, match="num_images"):
        detect.overfit_test("shapes", num_images=number)


@pytest.mark.parametrize(
    "settings", [{"epochs": 0}, {"imgsz": "large"}, {"lr": float("nan")}, {"backbone": "resnet5"}, {"amp": "on"}]
)
def test_an_invalid_value_is_a_usage_error_that_names_the_setting(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        detect.train(**settings)


def test_a_debugged_step_must_be_the_file_of_a_failed_step(tmp_path):
    with pytest.raises(CheckpointError, match=r"x\.pt"):
        api.debug_step(tmp_path / "x.pt", device="cpu")


def test_every_field_can_be_given_as_a_keyword():
    assert {f.name for f in fields(TrainConfig)} == set(fields_of(TrainConfig))
