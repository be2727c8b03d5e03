"""The font of drawn text, and the scripts that it cannot draw."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont, features

from detect.progress import warn
from detect.text import first_few

_MISSING = "\U0010ffff"  # a code point that is no character, so that every font draws its sign for missing ones
_CHECKED_SIZE = 24  # pixels
_INVISIBLE = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"}  # Unicode categories without a glyph: control, format, spaces
_WORDS_BEFORE_KIND = re.compile(
    r"(.+?)[ -](?:CAPITAL|SMALL|LETTER|SYLLABLE|SYLLABICS|VOWEL|CONSONANT|SIGN|MARK|DIGIT|CHARACTER|IDEOGRAPH)\b"
)
# Beginning of a character's Unicode name -> name of its script for users.
_SCRIPTS = {
    "CJK": "Han (Chinese, Japanese)",
    "IDEOGRAPHIC": "Han (Chinese, Japanese)",
    "KANGXI": "Han (Chinese, Japanese)",
    "HIRAGANA": "Hiragana (Japanese)",
    "KATAKANA": "Katakana (Japanese)",
    "HANGUL": "Hangul (Korean)",
    "BOPOMOFO": "Bopomofo (Chinese)",
    "FULLWIDTH": "full-width",
    "HALFWIDTH": "half-width",
}
_EMOJI = range(0x1F000, 0x20000)

_warned: set[str] = set()


@lru_cache(maxsize=8)
def font_of_size(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return DejaVu Sans, which covers most alphabets of Europe; Pillow's built-in font only has ASCII letters.

    size: pixels.
    """
    matplotlib = importlib.util.find_spec("matplotlib")  # locates the package without the cost of importing it
    paths = ["DejaVuSans.ttf"]
    if matplotlib is not None and matplotlib.origin is not None:
        paths.insert(0, str(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"))
    for path in paths:
        try:
            return ImageFont.truetype(path, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def warn_of_missing_glyphs(names: Iterable[str]) -> None:
    """Print one warning for the scripts of ``names`` that the font cannot draw, once per script and process."""
    scripts = [script for script in missing_scripts(tuple(names)) if script not in _warned]
    if scripts:
        _warned.update(scripts)
        which = " and ".join(scripts) if len(scripts) <= 2 else first_few(scripts)
        warn(f"names in {which} script cannot be drawn: the font has no such characters; they appear as boxes")


@lru_cache(maxsize=64)
def missing_scripts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scripts of the characters in ``names`` that the font has no glyphs for, in order of appearance.

    Without libraqm, Pillow draws the letters of right-to-left scripts in the wrong order; these scripts count too.
    """
    characters = dict.fromkeys(c for name in names for c in name if not c.isascii())
    ordered = features.check("raqm")
    return tuple(
        dict.fromkeys(
            script_of(c)
            for c in characters
            if not _has_glyph(c) or (not ordered and unicodedata.bidirectional(c) in ("R", "AL"))
        )
    )


def script_of(character: str) -> str:
    """Return the name of a character's script for users, such as ``Thai``; ``emoji`` or ``symbols`` for others."""
    name = unicodedata.name(character, "")
    if ord(character) in _EMOJI:
        return "emoji"
    if unicodedata.category(character)[0] not in "LMN" or not name:
        return "symbols"
    if (first := re.split("[ -]", name)[0]) in _SCRIPTS:
        return _SCRIPTS[first]
    words = _WORDS_BEFORE_KIND.match(name)
    return (words[1] if words else first).title()


@contextmanager
def without_glyph_warnings() -> Iterator[None]:
    """Silence matplotlib's warnings about characters without a glyph; ``warn_of_missing_glyphs`` replaces them."""
    with warnings.catch_warnings():
        for message in ("Glyph ", "Matplotlib currently does not support "):
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


def _has_glyph(character: str) -> bool:
    if unicodedata.category(character) in _INVISIBLE or "VARIATION SELECTOR" in unicodedata.name(character, ""):
        return True
    font = font_of_size(_CHECKED_SIZE)
    try:
        drawn, missing = font.getmask(character), font.getmask(_MISSING)
    except UnicodeEncodeError:  # a bitmap font of Latin letters
        return False
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)
