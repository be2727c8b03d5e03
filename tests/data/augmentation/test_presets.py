"""--aug and the flags of its parts: a preset, with what the user gives in place of its own."""

from __future__ import annotations

import dataclasses

import pytest

from detect.cli.flags import parse
from detect.cli.settings import TrainSettings
from detect.data.augmentation import COLORS, PRESETS, Augmentation
from detect.errors import UsageError
from detect.io.yaml_files import save_config


def settings(*flags: str) -> TrainSettings:
    return parse(TrainSettings, "", flags)[0]


@pytest.mark.parametrize("name", PRESETS)
def test_without_other_flags_the_preset_is_taken_as_it_is(name):
    assert settings("--aug", name).augmentation == PRESETS[name]
    assert settings().augmentation == PRESETS["default"]


PARTS = {
    "jitter": (["0.7", "1.5"], (0.7, 1.5)),
    "mosaic": (["0.3"], 0.3),
    "copy_paste": (["0"], 0.0),
    "cutout": (["1"], 1.0),
    "color": (["none"], "none"),
}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("part", PARTS)
def test_a_flag_changes_its_own_part_alone(part, name, tmp_path):
    words, value = PARTS[part]
    given = settings("--aug", name, f"--{part.replace('_', '-')}", *words)
    assert given.augmentation == dataclasses.replace(PRESETS[name], **{part: value})
    save_config(given, tmp_path / "settings.yaml")
    assert settings("--config", str(tmp_path / "settings.yaml")) == given, "as a run that is resumed reads it"


@pytest.mark.parametrize("flag", ["--mosaic", "--copy-paste", "--cutout"])
def test_a_chance_is_0_to_1(flag):
    for wrong in ("-0.1", "1.01", "nan"):
        with pytest.raises(UsageError, match=f"{flag} {wrong} must be at"):
            settings(f"{flag}={wrong}")


def test_presets_grow_stronger():
    light, default, strong = PRESETS.values()
    for field in dataclasses.fields(Augmentation):
        values = [getattr(preset, field.name) for preset in (light, default, strong)]
        if field.name == "jitter":
            assert [low for low, _ in values] == sorted((low for low, _ in values), reverse=True)
            assert [high for _, high in values] == sorted(high for _, high in values)
        else:
            ranks = [COLORS.index(value) for value in values] if field.name == "color" else values
            assert ranks == sorted(ranks), field.name


def test_mosaics_end_before_training_does():
    strong = PRESETS["strong"]
    assert [strong.mosaic_epochs(n) for n in (1, 2, 5, 20, 60)] == [0, 1, 4, 16, 48]
    assert PRESETS["default"].mosaic_epochs(20) == 0


def test_the_words_say_what_happens_on_such_data():
    strong = PRESETS["strong"]
    assert strong.in_words(20, has_masks=True) == (
        "sizes x0.5 to x2, flip 0.5, mosaic 0.5 (epochs 1 to 16), copy-paste 0.5, cut-out 0.5, colors strong"
    )
    assert "no copy-paste (there are no masks)" in strong.in_words(20, has_masks=False)
    assert PRESETS["light"].in_words(20, has_masks=True) == "sizes x0.8 to x1.25, flip 0.5, colors none"
