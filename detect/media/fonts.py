"""Fonts of drawn text: DejaVu Sans or one that the user names, and fonts of the system for scripts that these lack."""

from __future__ import annotations

import importlib.util
import os
import sys
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont, features

from detect.errors import UsageError
from detect.media.scripts import script_of
from detect.progress import warn
from detect.text import first_few

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_MISSING = "\U0010ffff"  # a code point that is no character, so that every font draws its sign for missing ones
_CHECKED_SIZE = 24  # pixels
_INVISIBLE = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"}  # Unicode categories without a glyph: control, format, spaces
_MARKS = {"Mn", "Mc", "Me"}  # Unicode categories of accents and vowels that are drawn with the letter before them
_SUFFIXES = (".ttf", ".otf", ".ttc")
_MAX_SYSTEM_FONTS = 2000  # that are searched

_warned: set[str] = set()
_fallbacks: dict[str, str | None] = {}  # character that DejaVu Sans lacks -> file of a font of the system that has it


@lru_cache(maxsize=64)
def font_of_size(size: int, file: str | None = None) -> Font:
    """Return the font in ``file``, by default DejaVu Sans, which covers most alphabets of Europe.

    size: pixels. Pillow's built-in font, which only has ASCII letters, stands in where DejaVu Sans is missing.
    Raises OSError if ``file`` is not a font, also not the name of one in the system's folders.
    """
    if file is not None:
        return ImageFont.truetype(file, size)
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


def check_font(file: str | None) -> None:
    """Raise UsageError unless ``file``, the setting ``font``, is None or a font that can be used."""
    try:
        font_of_size(_CHECKED_SIZE, file)
    except (OSError, ValueError):
        problem = "is not a TrueType or OpenType font" if Path(str(file)).is_file() else "does not exist"
        raise UsageError(f"`font={file}` {problem}; give a .ttf, .otf or .ttc file") from None


def runs(text: str, size: int, file: str | None = None) -> list[tuple[str, Font]]:
    """Return the parts of ``text``, each with the first font that has its characters: that in ``file``, DejaVu Sans,
    or one of the system.

    A character that no font has is drawn as the sign for missing ones; see ``warn_of_missing_glyphs``.
    """
    if text.isascii() and file is None:
        return [(text, font_of_size(size))]
    _find_fallbacks(text, file)
    chosen: list[str | None] = []
    for c in text:
        if _follows(c) and chosen:
            chosen.append(chosen[-1])
        elif file is not None and _has_glyph(c, file):
            chosen.append(file)
        else:
            chosen.append(_fallbacks.get(c))
    parts = groupby(zip(text, chosen, strict=True), key=lambda pair: pair[1])
    return [("".join(c for c, _ in part), font_of_size(size, name)) for name, part in parts]


def text_length(text: str, size: int) -> float:
    """Return the width of ``text`` in pixels, as ``draw_text`` draws it."""
    return sum(font.getlength(part) for part, font in runs(text, size))


def draw_text(
    drawing: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, size: int, fill: str | tuple[int, int, int]
) -> None:
    """Draw ``text`` with its upper left corner at ``corner`` (x, y), in letters of ``size`` pixels."""
    x, y = corner
    baseline = y + font_of_size(size).getbbox("Á", anchor="la")[3]
    for part, font in runs(text, size):
        drawing.text((x, baseline), part, fill, font, anchor="ls")
        x += font.getlength(part)


def warn_of_missing_glyphs(names: Iterable[str], file: str | None = None, *, system: bool = True) -> None:
    """Print one warning for the scripts of ``names`` that no font can draw, once per script and process.

    file, system: see ``missing_scripts``.
    """
    scripts = [script for script in missing_scripts(tuple(names), file, system) if script not in _warned]
    if scripts:
        _warned.update(scripts)
        which = " and ".join(scripts) if len(scripts) <= 2 else first_few(scripts)
        warn(
            f"names in {which} script cannot be drawn: no installed font supports them, so they appear as boxes;"
            " install one, such as Noto"
            if system
            else f"names in {which} script cannot be drawn in diagrams: their font has no such characters; they appear"
            " as boxes"
        )


@lru_cache(maxsize=64)
def missing_scripts(names: tuple[str, ...], file: str | None = None, system: bool = True) -> tuple[str, ...]:
    """Return the scripts of the characters in ``names`` without a glyph, in order of appearance.

    file: a font to use before DejaVu Sans.  system: whether fonts of the system are used after it.

    Without libraqm, Pillow draws the letters of right-to-left scripts in the wrong order; these scripts count too.
    """
    characters = dict.fromkeys(c for name in names for c in name if not c.isascii() and not _follows(c))
    if system:
        _find_fallbacks(characters, file)
    ordered = features.check("raqm")

    def is_missing(c: str) -> bool:
        drawn = _has_glyph(c) or (file is not None and _has_glyph(c, file)) or (system and _fallbacks.get(c))
        return not drawn or (not ordered and unicodedata.bidirectional(c) in ("R", "AL"))

    return tuple(dict.fromkeys(script_of(c) for c in characters if is_missing(c)))


@contextmanager
def without_glyph_warnings() -> Iterator[None]:
    """Silence matplotlib's warnings about characters without a glyph; ``warn_of_missing_glyphs`` replaces them."""
    with warnings.catch_warnings():
        for message in ("Glyph ", "Matplotlib currently does not support "):
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


def system_fonts() -> list[str]:
    """Return the font files of the system, those that cover most scripts in an ordinary style first."""
    home = Path.home()
    if sys.platform == "win32":
        folders = [Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"]
        folders.append(Path(os.environ.get("LOCALAPPDATA", home)) / "Microsoft" / "Windows" / "Fonts")
    elif sys.platform == "darwin":
        folders = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    else:
        data = [os.environ.get("XDG_DATA_HOME") or home / ".local" / "share"]
        data += (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
        folders = [home / ".fonts", *(Path(folder) / "fonts" for folder in data)]
    files = [Path(root) / name for folder in folders for root, _, names in os.walk(folder) for name in names]

    def rank(path: Path) -> tuple[bool, bool, bool, str]:
        name = path.name.lower()
        return "sans" not in name, "noto" not in name, "regular" not in name, str(path)

    # The font LastResort of macOS draws a sign in place of each character.
    fonts = [path for path in files if path.suffix.lower() in _SUFFIXES and not path.stem.startswith("LastResort")]
    return [str(path) for path in sorted(fonts, key=rank)[:_MAX_SYSTEM_FONTS]]


def _find_fallbacks(text: Iterable[str], file: str | None) -> None:
    """Look for fonts of the system with those characters of ``text`` that DejaVu Sans and ``file`` lack.

    It is done once for each character in a process.
    """
    missing = {
        c
        for c in text
        if not (c.isascii() or c in _fallbacks or _follows(c) or _has_glyph(c) or (file and _has_glyph(c, file)))
    }
    if not missing:
        return
    found: dict[str, str | None] = dict.fromkeys(missing)
    for path in system_fonts():
        has = _drawn(missing, path)
        found.update(dict.fromkeys(has, path))
        missing -= has
        if not missing:
            break
    _fallbacks.update(found)


def _follows(character: str) -> bool:
    """Return whether a character is invisible or drawn with the letter before it, so that it needs no own font."""
    is_selector = "VARIATION SELECTOR" in unicodedata.name(character, "")
    return is_selector or unicodedata.category(character) in _INVISIBLE | _MARKS


@lru_cache(maxsize=4096)
def _has_glyph(character: str, file: str | None = None) -> bool:
    return bool(_drawn(character, font_of_size(_CHECKED_SIZE, file)))


def _drawn(characters: Iterable[str], font: Font | str) -> set[str]:
    """Return those of ``characters`` for which a font, or the one in a file, has a glyph."""
    try:
        font = ImageFont.truetype(font, _CHECKED_SIZE) if isinstance(font, str) else font
    except OSError:  # a font that Pillow cannot use
        return set()
    if (missing := _glyph(_MISSING, font)) is None:
        return set()
    return {c for c in characters if _glyph(c, font) not in (None, missing)}


def _glyph(character: str, font: Font) -> tuple[tuple[int, int], bytes] | None:
    """Return the size and pixels of a drawn character; None if it cannot be drawn."""
    try:
        drawn = font.getmask(character)
    except (OSError, UnicodeEncodeError):  # a damaged font, or a bitmap font of Latin letters
        return None
    return drawn.size, bytes(drawn)
