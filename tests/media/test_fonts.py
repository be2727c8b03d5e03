"""Characters without a glyph: one warning that names their scripts, decided by what the font draws."""

from __future__ import annotations

import numpy as np
import pytest

from detect.media import fonts
from detect.media.drawing import draw
from detect.media.fonts import missing_scripts, warn_of_missing_glyphs
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


@pytest.fixture(autouse=True)
def nothing_warned_yet(monkeypatch):
    monkeypatch.setattr(fonts, "_warned", set())


@pytest.mark.parametrize(
    ("name", "scripts"),
    [
        ("Fußgänger", ()),
        ("собака", ()),
        ("σκύλος", ()),
        ("cafe\u0301 ½ → №", ()),
        ("a\u200db\u00a0c\ufe0f", ()),
        ("狗", ("Han (Chinese, Japanese)",)),
        ("いぬ犬", ("Hiragana (Japanese)", "Han (Chinese, Japanese)")),
        ("イヌ", ("Katakana (Japanese)",)),
        ("개", ("Hangul (Korean)",)),
        ("หมา", ("Thai",)),
        ("कुत्ता", ("Devanagari",)),
        ("কুকুর", ("Bengali",)),
        ("நாய்", ("Tamil",)),
        ("🐕", ("emoji",)),
        ("ＡＢ", ("full-width",)),
        ("\U00010000", ("Linear B",)),
        ("\ue000", ("symbols",)),
    ],
)
def test_scripts_without_glyphs_are_named(name, scripts):
    assert missing_scripts(("dog", name)) == scripts


def test_scripts_of_the_right_to_left_need_the_layout_library(monkeypatch):
    monkeypatch.setattr(fonts.features, "check", lambda name: name != "raqm")
    missing_scripts.cache_clear()
    assert missing_scripts(("כלב", "كلب")) == ("Hebrew", "Arabic")
    missing_scripts.cache_clear()


def test_drawing_warns_once_for_all_class_names(capsys):
    names = ClassNames(("狗", "หมา", "кот", "a\nb"))
    image, one = np.zeros((60, 80, 3), np.uint8), np.ones(1, np.float32)
    for label in (1, 2, 3, 4):
        draw(image, Detections((60, 80), np.array([[10, 20, 60, 50]], np.float32), one, np.array([label])), names)
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "Han (Chinese, Japanese) and Thai script" in printed


def test_only_new_scripts_give_another_warning(capsys):
    warn_of_missing_glyphs(["หมา"])
    warn_of_missing_glyphs(["หมา", "dog"])
    assert capsys.readouterr().err.count("Thai") == 1
    warn_of_missing_glyphs(["หมา", "狗"])
    assert "Thai" not in capsys.readouterr().err
