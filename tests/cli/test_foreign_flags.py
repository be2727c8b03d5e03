"""Flags of other detection programs: the error names the flag that does the same here."""

from __future__ import annotations

import re

import pytest

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
    ],
)
def test_flag_of_another_kit_is_answered_with_what_does_the_same(program, flag, said):
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        parse(program, "A program.", [flag, "1"])
    assert "\n" not in str(caught.value) and flag.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_hint_is_a_setting_of_the_program(program):
    fields = fields_of(program)
    for name in foreign_flags._SAME:
        same, _ = foreign_flags.hint(name, fields)
        assert not same or same.strip("`").partition("=")[0] in fields


def test_version_is_one_line_with_the_versions_of_the_libraries(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(TrainSettings, "A program.", ["--version"])
    (line,) = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0 and line.startswith("detect ") and "torch 2" in line and "Python 3" in line
