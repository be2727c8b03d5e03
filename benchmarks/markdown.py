"""Markdown: tables, and the part of a file that a program writes anew."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile, takewhile
from operator import methodcaller
from pathlib import Path

from detect.errors import UsageError
from detect.io.files import write_text


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
    before, _, after = _split(path, name)
    begin, end = markers(name)
    write_text(path, f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def part(path: Path, name: str) -> str:
    """What stands between the markers of the part ``name``. Raises UsageError as ``check_part`` does."""
    return _split(path, name)[1].strip()


def rows(text: str) -> list[dict[str, str]]:
    """The first table in ``text``: of each row the cells, by the names of their columns. [] where there is none."""
    is_row = methodcaller("startswith", "|")
    table = takewhile(is_row, dropwhile(lambda line: not is_row(line), text.splitlines()))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def _split(path: Path, name: str) -> tuple[str, str, str]:
    """What stands before, between and after the markers."""
    begin, end = markers(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a text file (not UTF-8)") from None
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UsageError(f"{path} must hold the line {begin} once and after it the line {end} once")
    before, _, rest = text.partition(begin)
    inside, _, after = rest.partition(end)
    return before, inside, after
