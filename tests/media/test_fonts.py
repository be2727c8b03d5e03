"""Fonts of drawn text: which one draws a character, and one warning that names the scripts that no font has."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw

from detect.errors import UsageError
from detect.media import fonts
from detect.media.drawing import draw
from detect.media.drawing_style import DrawingStyle
from detect.media.fonts import draw_text, missing_scripts, runs, text_length, warn_of_missing_glyphs
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


@pytest.fixture(autouse=True)
def no_system_fonts(monkeypatch):
    """Nothing warned yet, and no fonts but DejaVu Sans."""
    monkeypatch.setattr(fonts, "_warned", set())
    monkeypatch.setattr(fonts, "_fallbacks", {})
    monkeypatch.setattr(fonts, "system_fonts", list)
    missing_scripts.cache_clear()
    yield
    missing_scripts.cache_clear()


@pytest.fixture(scope="module")
def han_font(tmp_path_factory) -> Path:
    """A font whose only character is U+72D7, a square."""
    builder, pen = FontBuilder(1000, isTTF=True), TTGlyphPen(None)
    for point, is_first in (((100, 0), True), ((100, 800), False), ((900, 800), False), ((900, 0), False)):
        (pen.moveTo if is_first else pen.lineTo)(point)
    pen.closePath()
    builder.setupGlyphOrder([".notdef", "dog"])
    builder.setupCharacterMap({0x72D7: "dog"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "dog": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "dog": (1000, 100)})
    builder.setupHorizontalHeader(ascent=900, descent=-200)
    builder.setupNameTable({"familyName": "Han", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path_factory.mktemp("fonts") / "NotoSansHan-Regular.ttf"
    builder.save(path)
    return path


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
    assert missing_scripts(("כלב", "كلب")) == ("Hebrew", "Arabic")


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


def drawn_on(text: str) -> np.ndarray:
    image = Image.new("L", (200, 40), 0)
    draw_text(ImageDraw.Draw(image), (5, 5), text, 20, "white")
    return np.asarray(image)


def test_a_font_of_the_system_draws_what_the_default_font_lacks(monkeypatch, han_font, capsys):
    broken = han_font.with_name("broken.ttf")
    broken.write_bytes(b"no font")
    monkeypatch.setattr(fonts, "system_fonts", lambda: [str(broken), str(han_font)])
    parts = [(text, getattr(font, "path", "")) for text, font in runs("a 狗!", 20)]
    assert [text for text, _ in parts] == ["a ", "狗", "!"]
    assert parts[1][1] == str(han_font) and parts[0][1] == parts[2][1] != str(han_font)
    assert text_length("a狗", 20) == pytest.approx(text_length("a", 20) + 20, abs=1)
    assert (drawn_on("狗")[8:20, 9:21] == 255).all()
    assert missing_scripts(("狗", "หมา")) == ("Thai",)
    warn_of_missing_glyphs(["狗"])
    assert not capsys.readouterr().err
    warn_of_missing_glyphs(["狗"], system=False)  # such as a diagram, which has one font
    assert "Han" in capsys.readouterr().err


def test_each_font_of_the_system_is_opened_once_for_all_characters(monkeypatch, han_font):
    opened, real = [], fonts.ImageFont.truetype
    monkeypatch.setattr(fonts, "system_fonts", lambda: [str(han_font), str(han_font)])
    monkeypatch.setattr(fonts.ImageFont, "truetype", lambda *given: (opened.append(given[0]), real(*given))[1])
    assert missing_scripts(("いぬ", "หมา", "개")) == ("Hiragana (Japanese)", "Thai", "Hangul (Korean)")
    assert opened.count(str(han_font)) == 2


def test_labels_use_a_named_font(han_font, capsys):
    image = np.zeros((60, 80, 3), np.uint8)
    boxes = np.array([[10, 20, 60, 50]], np.float32)
    one = Detections((60, 80), boxes, np.ones(1, np.float32), np.ones(1, np.int64))
    labels = [draw(image, one, ClassNames(("狗",)), DrawingStyle(font=font)) for font in (str(han_font), None)]
    assert (labels[0] != labels[1]).any()
    assert capsys.readouterr().err.count("Han") == 1  # the second label


def test_a_named_font_draws_letters_and_digits_if_it_has_them():
    serif = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSerif.ttf")
    ((text, font),) = runs("dog 0.91", 20, str(serif))
    assert (text, font.path) == ("dog 0.91", str(serif))


def test_a_named_font_comes_first(han_font):
    parts = runs("狗a", 20, str(han_font))
    assert parts[0][1].path == str(han_font) and parts[1][1].path != str(han_font)
    assert runs("0.91", 20, str(han_font))[0][1].path != str(han_font)  # a font without digits
    assert missing_scripts(("狗",), str(han_font)) == ()


@pytest.mark.parametrize(("content", "problem"), [(None, "does not exist"), (b"text", "is not a TrueType")])
def test_a_named_font_that_cannot_be_used_is_one_clear_error(tmp_path, content, problem):
    path = tmp_path / "x.ttf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"`font=.*x\.ttf` {problem}"):
        DrawingStyle(font=str(path))


def test_fonts_of_the_system_are_found_in_its_folders(monkeypatch, tmp_path, han_font):
    monkeypatch.undo()
    monkeypatch.setattr(fonts.sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "fonts" / "noto"
    folder.mkdir(parents=True)
    for name in ("zSerif-Bold.otf", han_font.name, "readme.txt"):
        (folder / name).write_bytes(han_font.read_bytes())
    found = [Path(path).name for path in fonts.system_fonts() if str(tmp_path) in path]
    assert found == [han_font.name, "zSerif-Bold.otf"]
