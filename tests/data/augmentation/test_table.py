"""The table of augmentations: presets, settings of train.py, and an entry that a newcomer adds."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass

import numpy as np
import pytest

from detect.data.augmentation import COLORS, PRESETS, Augmentation, as_text, augmentation_of, strength_settings
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.augmentation.transform import Transform
from detect.errors import UsageError
from detect.options import build, fields_of, option

FIELDS = {field.name: field for field in dataclasses.fields(Augmentation)}
OTHER_VALUES = {"jitter": [0.7, 1.5], "color": "mild"}  # in no preset; 0.37 for every other transform


@dataclass
@strength_settings(after="aug")
class Config:
    data: str = option("sample", "dataset")
    aug: str = option("default", "preset", choices=PRESETS)
    seed: int = option(0, "seed")


@pytest.mark.parametrize("name", PRESETS)
def test_preset_without_other_settings_is_used_unchanged(name):
    assert augmentation_of(Config(aug=name)) == PRESETS[name]
    assert augmentation_of(Config()) == PRESETS["default"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", FIELDS)
def test_setting_changes_its_own_strength_only(name, preset):
    value = OTHER_VALUES.get(name, 0.37)
    config = build(Config, "train", aug=preset, **{name: value})
    expected = tuple(value) if isinstance(value, list) else value
    assert augmentation_of(config) == dataclasses.replace(PRESETS[preset], **{name: expected})


def test_settings_follow_the_field_they_belong_to():
    assert list(fields_of(Config)) == ["data", "aug", *FIELDS, "seed"]
    for name in FIELDS:
        field = fields_of(Config)[name]
        assert field.optional and all(as_text(getattr(preset, name)) in field.help for preset in PRESETS.values())


@pytest.mark.parametrize("name", [n for n, field in FIELDS.items() if field.metadata["high"] == 1])
@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan")])
def test_strength_outside_0_to_1_is_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}={value}"):
        build(Config, "train", **{name: value})


@pytest.mark.parametrize("value", [[1.0], [1.25, 0.6], [0.5, 1.0, 2.0]])
def test_jitter_must_be_two_ascending_numbers(value):
    with pytest.raises(UsageError, match=f"jitter={as_text(value)}"):
        augmentation_of(Config(jitter=value))


def test_presets_grow_stronger():
    light, default, strong = PRESETS.values()
    for name in FIELDS:
        values = [getattr(preset, name) for preset in (light, default, strong)]
        if name == "jitter":
            assert [low for low, _ in values] == sorted((low for low, _ in values), reverse=True)
            assert [high for _, high in values] == sorted(high for _, high in values)
        else:
            ranks = [COLORS.index(value) for value in values] if name == "color" else values
            assert ranks == sorted(ranks), name


def test_description_lists_the_active_transforms():
    strong = TrainTransform(64, PRESETS["strong"], epochs=20)
    text = strong.describe(has_masks=True)
    for part in ("jitter 0.5 2", "flip 0.5", "mosaic 0.5 (until epoch 16)", "copy-paste 0.5", "color strong"):
        assert part in text
    assert "copy-paste 0.5 (not applied: no masks)" in strong.describe(has_masks=False)
    assert "mosaic" not in TrainTransform(64, PRESETS["light"]).describe(has_masks=True)
    assert TrainTransform(64, Augmentation()).describe(has_masks=True) == "none"


def test_masks_are_needed_by_active_copy_paste_only():
    assert TrainTransform(64, PRESETS["strong"]).needs_masks and not TrainTransform(64, PRESETS["default"]).needs_masks


class Invert(Transform):
    """An augmentation as a newcomer would write it."""

    def __call__(self, image, ground_truth, rng, another):
        if self.strength and rng.random() < self.strength:
            image = 255 - image
        return image, ground_truth


def test_new_augmentation_takes_one_file_and_one_field(monkeypatch):
    from detect.data import augmentation
    from detect.data.augmentation import cutout
    from detect.data.augmentation.sample import Sample

    monkeypatch.setattr(cutout, "Invert", Invert, raising=False)  # in place of a file of its own

    @dataclass(frozen=True)
    class More(Augmentation):
        invert: float = augmentation.strength("cutout.Invert", "probability of an inverted image", strong=0.1)

    no_objects = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool), None
    sample = Sample(lambda hw: np.full((*hw, 3), 10, np.uint8), (40, 60), *no_objects)
    for probability in (0.0, 1.0):
        transform = TrainTransform(32, More(invert=probability))
        image, _ = transform(sample, np.random.default_rng(0))
        assert (image == (245 if probability else 10)).all()
        assert transform.describe(has_masks=False) == ("invert 1" if probability else "none")


@pytest.mark.parametrize("name", FIELDS)
def test_every_entry_of_the_table_has_a_file_named_after_it(name):
    module, class_name = FIELDS[name].metadata["transform"].split(".")
    assert module == name and class_name == name.title().replace("_", "")
    assert hasattr(importlib.import_module(f"detect.data.augmentation.{module}"), class_name)
