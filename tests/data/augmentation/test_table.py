"""The table of augmentations: presets, settings of train.py, and an entry that a newcomer adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from detect.data import augmentation
from detect.data.augmentation import COLORS, PRESET_NAMES, PRESETS, Augmentation, as_text, pipeline, preset_strength
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.augmentation.sample import Sample
from detect.errors import UsageError
from detect.options import build, fields_of, option
from detect.training.config import TrainConfig

FIELDS = {name: field for name, field in fields_of(Augmentation).items() if name != "aug"}
OTHER_VALUES = {"jitter": [0.7, 1.5], "color": "mild"}  # in no preset; 0.37 for every other transform


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", FIELDS)
def test_setting_changes_its_own_strength_only(name, preset):
    value = OTHER_VALUES.get(name, 0.37)
    expected = {other: preset_strength(preset, other) for other in FIELDS}
    assert Augmentation(preset).strengths() == expected
    expected[name] = tuple(value) if isinstance(value, list) else value
    assert Augmentation(preset, **{name: value}).strengths() == expected


def test_presets_hold_known_augmentations_only():
    assert all(set(strengths) <= set(FIELDS) for strengths in PRESETS.values())


@pytest.mark.parametrize("name", FIELDS)
def test_the_help_of_a_setting_has_its_value_in_every_preset(name):
    field = fields_of(TrainConfig)[name]
    for preset in PRESET_NAMES:
        assert field.optional and f"{preset} {as_text(preset_strength(preset, name))}" in field.help


def test_settings_follow_the_preset():
    names = list(fields_of(TrainConfig))
    start = names.index("aug")
    assert names[start : start + 1 + len(FIELDS)] == ["aug", *FIELDS]


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.high == 1])
@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan")])
def test_strength_outside_0_to_1_is_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}={value}"):
        build(Augmentation, "train", **{name: value})


@pytest.mark.parametrize("value", [[1.0], [1.25, 0.6], [0.5, 1.0, 2.0]])
def test_jitter_must_be_two_ascending_numbers(value):
    with pytest.raises(UsageError, match=f"jitter={as_text(value)}"):
        Augmentation(jitter=value)


def test_presets_grow_stronger():
    for name in FIELDS:
        values = [preset_strength(preset, name) for preset in PRESETS]
        if name == "jitter":
            assert [low for low, _ in values] == sorted((low for low, _ in values), reverse=True)
            assert [high for _, high in values] == sorted(high for _, high in values)
        else:
            ranks = [COLORS.index(value) for value in values] if name == "color" else values
            assert ranks == sorted(ranks), name


def test_description_lists_the_active_transforms():
    strong = TrainTransform(64, Augmentation("strong"), epochs=20)
    text = strong.describe(has_masks=True)
    for part in ("jitter 0.5 2", "flip 0.5", "mosaic 0.5 (until epoch 16)", "copy-paste 0.5", "color strong"):
        assert part in text
    assert "copy-paste 0.5 (not applied: no masks)" in strong.describe(has_masks=False)
    assert "mosaic" not in TrainTransform(64, Augmentation("light")).describe(has_masks=True)
    assert TrainTransform(64, Augmentation("none")).describe(has_masks=True) == "none"


def test_masks_are_needed_by_active_copy_paste_only():
    assert (
        TrainTransform(64, Augmentation("strong")).needs_masks
        and not TrainTransform(64, Augmentation("default")).needs_masks
    )


INVERT = """
from detect.data.augmentation.transform import Transform


class Invert(Transform):
    def __call__(self, image, ground_truth, rng, another):
        if self.strength and rng.random() < self.strength:
            image = 255 - image
        return image, ground_truth
"""


def test_new_augmentation_takes_one_file_and_one_field(monkeypatch, tmp_path):
    @dataclass
    class More(Augmentation):
        invert: float | None = option(None, "probability of an inverted image", low=0, high=1)

    (tmp_path / "invert.py").write_text(INVERT)
    monkeypatch.setattr(augmentation, "__path__", [*augmentation.__path__, str(tmp_path)])
    for module in (augmentation, pipeline):
        monkeypatch.setattr(module, "Augmentation", More)

    no_objects = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool), None
    sample = Sample(lambda hw: np.full((*hw, 3), 10, np.uint8), (40, 60), *no_objects)
    for probability in (0.0, 1.0):
        transform = TrainTransform(32, More("none", invert=probability))
        image, _ = transform(sample, np.random.default_rng(0))
        assert (image == (245 if probability else 10)).all()
        assert transform.describe(has_masks=False) == ("invert 1" if probability else "none")
