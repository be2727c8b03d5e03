"""What readers share: files of JSON and of CSV, their entries, and the names of images."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any, TextIO

from detect.errors import DataError

LONGEST_CELL = 1 << 24  # characters: an outline of a million points; csv's own 1 << 17 are some ten thousand

_KINDS = {int: "a whole number", str: "text", list: "a list", dict: "a dict"}
_PLAIN_NAME = re.compile(r"[^\\/:.][^\\/:]*(/[^\\/:.][^\\/:]*)*")


def load_json(path: Path) -> Any:
    """The content of a JSON file; DataError says where it breaks off."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # some Windows programs begin with a byte order mark
    except FileNotFoundError:
        raise DataError(f"no such annotation file: {path}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, and a thousand brackets
        raise DataError(f"{path} is not JSON: {error}") from None


@contextmanager
def open_csv(path: Path) -> Iterator[TextIO]:
    """The text of a CSV file; DataError where it cannot be read, or where csv fails on it inside the block."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))  # the process's, so it is never lowered
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"no such annotation file: {path}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not CSV: {error}") from None


def need(entry: Any, key: str, where: str, kind: type | None = None) -> Any:
    """``entry[key]``, or a DataError that names the place and the key.

    kind: int, str, list or dict, where the value must be one; 3.0 counts as the int 3, True does not.
    """
    if not isinstance(entry, dict):
        raise DataError(f"{where} is a {type(entry).__name__}, it should be a dict with the key '{key}'")
    if key not in entry:
        raise DataError(f"{where} lacks the key '{key}'")
    value = entry[key]
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is int and isinstance(value, int) and abs(value) >= 2**63:
        raise DataError(f"{where}: '{key}' is {value}, it should fit into 64 bits")
    if kind and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise DataError(f"{where}: '{key}' is {str(value)[:60]!r}, it should be {_KINDS[kind]}")
    return value


def image_name(images: Path, written: str) -> str:
    """The name in the folder ``images`` of an image that an annotation file names, maybe one of another machine.

    It is as written where that file is there; else the backslashes of Windows are slashes, and of an absolute path the
    last part counts. The disk is asked for these alone: a COCO file may name 118,000 images.
    """
    if _PLAIN_NAME.fullmatch(written):
        return written
    path = PureWindowsPath(written)  # splits at both kinds of slash
    if (path.anchor or "\\" in written) and is_file(images / written):
        return Path(written).as_posix()
    return path.name if path.anchor else path.as_posix()


def is_file(path: Path) -> bool:
    """``path.is_file()``, and False for a name that no file system takes, which raises below Python 3.14."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
