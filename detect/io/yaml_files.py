"""YAML files of settings: read as one mapping, written with a comment above each value."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from detect.errors import UsageError
from detect.io.files import write_text


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, keys as written. Raises UsageError for any other file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a YAML file (not UTF-8 text)") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path} must hold 'key: value' lines, not a {type(content).__name__}")
    return {str(key): value for key, value in content.items()}


def save_config(
    config: Any, path: Path, without: Iterable[str] = (), comments: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write the fields of a config dataclass to ``path`` as YAML that ``--config`` reads.

    without: names of fields that are not written.  comments: field name -> comment in the line above it.
    Raises DiskError.
    """
    skipped = set(without)
    lines = []
    for name in (f.name for f in dataclasses.fields(config) if f.name not in skipped):
        lines += [f"# {comments[name]}\n"] if name in comments else []
        lines.append(yaml.safe_dump({name: _plain(getattr(config, name))}, sort_keys=False, allow_unicode=True))
    write_text(path, "".join(lines))


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
