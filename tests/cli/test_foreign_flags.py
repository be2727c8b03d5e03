"""Flags of other detection programs: the error names the flag that does the same here."""

from __future__ import annotations

import re

import pytest
import yaml

from detect.cli import foreign_flags
from detect.cli.commands.train import TrainSettings
from detect.cli.flags import parse
from detect.cli.settings.detection import DetectImageSettings, DetectVideoSettings
from detect.cli.settings.evaluate import EvaluateSettings
from detect.cli.settings.export import ExportSettings
from detect.errors import UsageError
from detect.options import fields_of
from detect.serving.config import ServeConfig

PROGRAMS = (TrainSettings, EvaluateSettings, DetectImageSettings, DetectVideoSettings, ExportSettings, ServeConfig)


@pytest.mark.parametrize(
    ("program", "flag", "said"),
    [
        (DetectImageSettings, "--conf", "did you mean --threshold?"),
        (DetectImageSettings, "--conf-thres=0.3", "did you mean --threshold?"),
        (DetectImageSettings, "--source", "did you mean --input?"),
        (DetectImageSettings, "--weights", "did you mean --model?"),
        (TrainSettings, "--weights", "did you mean --pretrained?"),
        (TrainSettings, "--img-size", "did you mean --imgsz?"),
        (TrainSettings, "--epoch", "did you mean --epochs?"),
        (TrainSettings, "--batch", "did you mean --batch-size?"),
        (TrainSettings, "--cos-lr", "did you mean --schedule cosine?"),
        (TrainSettings, "--project", "did you mean --output-dir?"),
        (DetectImageSettings, "--iou", "did you mean --nms?"),
        (DetectImageSettings, "--nosave", "did you mean --no-annotated?"),
        (DetectVideoSettings, "--save-txt", "did you mean --save-labels yolo?"),
        (DetectVideoSettings, "--view-img", "did you mean --show?"),
        (DetectImageSettings, "--show", "detect_video.py shows frames with --show"),
        (DetectImageSettings, "--exist-ok", "each run gets a folder of its own"),
        (TrainSettings, "--num-classes", "the classes come from the dataset"),
        (DetectImageSettings, "--num-classes", "the classes come from the model"),
        (DetectVideoSettings, "--nosave", "the annotated video is always written"),
    ],
)
def test_flag_of_another_kit_is_answered_with_what_does_the_same(program, flag, said):
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        parse(program, "A program.", [flag, "1"])
    assert "\n" not in str(caught.value) and flag.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("program", "flag", "not_said"),
    [
        (EvaluateSettings, "--num-gpus", "torchrun"),
        (ServeConfig, "--show", "output folder"),
        (TrainSettings, "--save-conf", "--save-json"),
    ],
)
def test_advice_is_given_only_where_it_is_true(program, flag, not_said):
    with pytest.raises(UsageError, match=flag) as caught:
        parse(program, "A program.", [flag, "1"])
    assert not_said not in str(caught.value)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_hint_is_a_setting_of_the_program_with_a_value_that_it_takes(program):
    fields = fields_of(program)
    for name in foreign_flags.SETTINGS:
        setting, _, value = foreign_flags.advice_for_flag(name, fields)[0].strip("`").partition("=")
        if value:
            fields[setting].checked(yaml.safe_load(value), name)


def test_every_entry_of_the_table_is_a_hint_of_a_program():
    programs = [fields_of(program) for program in PROGRAMS]
    for name, entries in foreign_flags.SETTINGS.items():
        hints = {foreign_flags.advice_for_flag(name, fields)[0].strip("`") for fields in programs}
        assert {f"{field}={value}" if value else field for field, value in entries} <= hints


def test_version_is_one_line_with_the_versions_of_the_libraries(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(TrainSettings, "A program.", ["--version"])
    (line,) = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0 and line.startswith("detect ") and "torch 2" in line and "Python 3" in line
