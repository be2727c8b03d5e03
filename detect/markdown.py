"""Markdown: tables, and the part of a file that a program writes anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detect.errors import UsageError
from detect.files import write_text


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markers(name: str) -> tuple[str, str]:
    """The lines that stand before and after the part ``name`` of a file; a reader does not see them."""
    return f"<!-- begin {name} -->", f"<!-- end {name} -->"


def check_part(path: Path, name: str) -> None:
    """Raise UsageError where ``path`` has no part ``name`` to replace: worth knowing before long work."""
    _split(path, name)


def replace_part(path: Path, name: str, text: str) -> None:
    """Put ``text`` in the place of what stands between the markers. Raises UsageError as ``check_part`` does."""
    before, after = _split(path, name)
    begin, end = markers(name)
    write_text(path, f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def _split(path: Path, name: str) -> tuple[str, str]:
    begin, end = markers(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a text file (not UTF-8)") from None
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UsageError(f"{path} must hold the line {begin} once and after it the line {end} once")
    return text[: text.index(begin)], text[text.index(end) + len(end) :]
