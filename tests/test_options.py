"""Config dataclasses: values from Python are checked like those of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from detect.errors import UsageError
from detect.options import REQUIRED, build, fields_of, near_settings, option


@dataclass(kw_only=True)
class Config:
    data: str = option(REQUIRED, "name or path of the dataset")
    backbone: str = option("resnet50", "backbone", choices=("resnet50", "timm:NAME"))
    color: str = option("none", "strength of color changes")
    lr: float = option(0.01, "learning rate", low=0, high=1)
    jitter: list[float] | None = option(None, "range of the scale factor", low=0)
    folder: Path | None = option(None, "folder")
    amp: bool | None = option(None, "16-bit layers")


def test_values_are_converted_to_the_type_of_their_field():
    config = build(Config, "detect.train", data=Path("a/b"), lr=1, jitter=(0.5, 2), folder="c")
    assert config == Config(data="a/b", lr=1.0, jitter=[0.5, 2.0], folder=Path("c"))


def test_unknown_keyword_is_a_type_error_that_names_the_nearest():
    with pytest.raises(
        TypeError, match=r"detect\.train\(\) got an unexpected keyword.*'backbon'.*did you mean backbone"
    ):
        build(Config, "detect.train", data="x", backbon="resnet50")
    with pytest.raises(TypeError, match="did you mean color"):
        build(Config, "detect.train", data="x", colours="strong")  # vocabulary: old name


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("conf", ["model", "threshold"], ["threshold"]),
        ("weights", ["model", "threshold"], ["model"]),
        ("weights", ["model", "pretrained"], ["pretrained"]),
        ("conf", ["confirm"], ["confirm"]),
        ("zebra", ["model"], []),
    ],
)
def test_a_setting_of_another_program_suggests_what_does_the_same(name, known, near):
    assert near_settings(name, known) == near


def test_missing_required_keyword_is_a_type_error():
    with pytest.raises(TypeError, match="missing the argument 'data'"):
        build(Config, "detect.train")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lr": 2}, "`lr=2` must be at most 1"),
        ({"lr": float("nan")}, "`lr=nan` must be at least 0"),
        ({"lr": "fast"}, "`lr='fast'` must be a number"),
        ({"lr": True}, "`lr=True` must be a number"),
        ({"amp": 1}, "`amp=1` must be true or false"),
        ({"jitter": 0.5}, "must be a list"),
        ({"jitter": [-1.0, 2.0]}, "must be at least 0"),
        ({"backbone": "resnet5"}, "did you mean resnet50"),
        ({"backbone": "timm"}, "unknown backbone 'timm'"),
    ],
)
def test_invalid_value_is_a_usage_error_that_names_the_setting(values, words):
    with pytest.raises(UsageError) as caught:
        build(Config, "detect.train", data="x", **values)
    assert words in str(caught.value)


def test_choice_with_a_placeholder_allows_every_name_with_that_prefix():
    assert build(Config, "detect.train", data="x", backbone="timm:resnet18").backbone == "timm:resnet18"


def test_field_of_an_unsupported_type_is_refused():
    @dataclass
    class Wrong:
        size: complex = option(1j, "size")

    with pytest.raises(TypeError, match="size"):
        fields_of(Wrong)
