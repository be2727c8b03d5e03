"""What readers of JSON share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detect.errors import DataError

_KINDS = {int: "a whole number", str: "text", list: "a list", dict: "a dict"}


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


def is_file(path: Path) -> bool:
    """``path.is_file()``, and False for a name that no file system takes, which raises below Python 3.14."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
