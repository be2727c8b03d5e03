"""The wording of messages: plurals, lists, near names."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

_MAX_GAP = 0.15  # names that resemble a name less than the nearest one by more than this are not suggested


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return at most three of the ``known`` names that resemble ``name`` most, ignoring case, nearest first.

    If none does, the only one of which ``name`` is a word is returned, such as ``labels_yolo`` for ``yolo``.
    Flags are compared without their dashes, which would make all of them similar.
    """
    by_lower = {k.lower().removeprefix("--"): k for k in map(str, known)}
    name = str(name).lower().removeprefix("--")
    near = difflib.get_close_matches(name, by_lower, n=3, cutoff=0.6)
    if not near:
        with_word = [full for lower, full in by_lower.items() if name in re.split(r"[ _-]", lower)]
        return with_word if len(with_word) == 1 else []
    similarity = [difflib.SequenceMatcher(None, k, name).ratio() for k in near]
    return [by_lower[k] for k, value in zip(near, similarity, strict=True) if value >= similarity[0] - _MAX_GAP]


def unknown(what: str, name: str, known: Iterable[str], near: Sequence[str] | None = None) -> str:
    """Return the message for an unknown name: ``unknown backbone 'resnet5': did you mean resnet50? known are ...``.

    near: what to suggest, by default ``near_names``.
    """
    known = [str(k) for k in known]
    near = near_names(name, known) if near is None else near
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    shown = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return f"unknown {what} '{name}': {hint}known are {shown}"


def first_few(items: Iterable[object], n: int = 5) -> str:
    """Return the first ``n`` items for a message: ``a, b, c, d, e and 7 more``."""
    shown = [str(i) for i in items]
    more = f" and {len(shown) - n} more" if len(shown) > n else ""
    return ", ".join(shown[:n]) + more


def thresholds_in_words(thresholds: Mapping[str, float]) -> str:
    """Return minimum scores of classes for a message: ``balloon 0.62, kite 0.4``, or ``0.5 for all classes``."""
    if len(thresholds) > 1 and len(set(thresholds.values())) == 1:
        return f"{next(iter(thresholds.values())):.3g} for all classes"
    return first_few(f"{name} {threshold:.3g}" for name, threshold in thresholds.items())


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 epoch``, ``2 epochs``; ``many`` is an irregular plural."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def type_in_words(value: object) -> str:
    """Return the type of a value for a message: ``None``, ``str`` or ``torch.Tensor``."""
    if value is None:
        return "None"
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def one_line(text: str, length: int = 80) -> str:
    """Return a text of unknown origin for a message: at most ``length`` characters, and ? for unprintable ones."""
    shown = "".join(c if c.isprintable() else "?" for c in text[: length + 1])
    return shown if len(shown) <= length else f"{shown[: length - 3]}..."


def display_width(text: str) -> int:
    """Return the number of columns that a text takes on a terminal.

    Wide characters of East Asia and emoji take two (https://www.unicode.org/reports/tr11/), combining marks none.
    """
    return sum(_columns(c) for c in unicodedata.normalize("NFC", text))


def pad(text: str, width: int) -> str:
    """Return a text with spaces after it, so that it takes at least ``width`` columns on a terminal."""
    return text + " " * (width - display_width(text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
