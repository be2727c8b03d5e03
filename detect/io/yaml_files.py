"""YAML files: read with texts as they were typed, written with a comment above each value.

YAML 1.1 reads ``no``, ``off``, ``007``, ``12:30``, ``1_000``, ``0x10`` and ``2024-01-01`` as booleans, numbers and
dates (https://yaml.org/type/). A class, an image or a folder may have such a name. So the callers of ``read_yaml`` say
which places of a file hold texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from detect.errors import UsageError
from detect.io.files import write_text

Place = tuple[str, ...]
"""Keys that lead to a value of a YAML file, such as ``("splits", "*", "files")``; ``*`` stands for every key."""

_TAG = "tag:yaml.org,2002:"
_NULL, _MERGE = f"{_TAG}null", f"{_TAG}merge"
_CONVERTED = {f"{_TAG}{kind}" for kind in ("bool", "int", "float", "timestamp", "value")}  # from plain text


class YamlError(ValueError):
    """Content of a YAML file that cannot be used. The message names the file and, where it is known, the line."""


class MissingTextError(YamlError):
    """A list or mapping of texts with an item that is empty, ``null`` or ``~``."""


def read_yaml(path: Path, texts: Collection[Place] = ()) -> Any:
    """Return the content of a YAML file.

    texts: places whose values are texts, as typed: a scalar, and all scalars of a list or mapping at that place, keys
        included. A place that is itself empty or ``null`` stays None.

    Raises OSError for a file that cannot be opened, YamlError for one that is not YAML or has a key twice in a
    mapping, and MissingTextError.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
        root = loader.get_single_node()
        if root is None:
            return None
        _check_keys(root, path)
        for place in texts:
            for node in _nodes_at(root, place):
                _keep_text(node, path)
        return loader.construct_document(root)
    except UnicodeDecodeError:
        raise YamlError(f"{path} is not a YAML file (not UTF-8 text)") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise YamlError(f"{path}{f', line {mark.line + 1}' if mark else ''}: not YAML: {problem}") from None
    except RecursionError:
        raise YamlError(f"{path}: not usable YAML: nested too deeply") from None
    except YamlError:
        raise
    except ValueError as error:  # of a date such as 2024-13-45, or of an integer with thousands of digits
        raise YamlError(f"{path}: not usable YAML: {error}") from None


def load_yaml(path: Path, texts: Collection[Place] = ()) -> dict[str, Any]:
    """Return the mapping in a YAML file, keys as written. Raises UsageError for any other file.

    texts: see ``read_yaml``.
    """
    try:
        content = read_yaml(path, texts)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except YamlError as error:
        raise UsageError(str(error)) from None
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


def _check_keys(root: yaml.Node, path: Path) -> None:
    """Raise YamlError for a key that a mapping has twice, since PyYAML would keep only the last one."""
    for node in _all_nodes(root):
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if key.value in seen:
                raise YamlError(f"{path}, line {_line(key)}: the key '{key.value}' is given twice")
            seen.add(key.value)


def _nodes_at(node: yaml.Node, place: Place) -> Iterator[yaml.Node]:
    if not place:
        yield node
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if place[0] in ("*", key.value):
                yield from _nodes_at(value, place[1:])


def _keep_text(place: yaml.Node, path: Path) -> None:
    """Turn the scalars at and below a node into texts. Raises MissingTextError for an empty one below it."""
    for node in _all_nodes(place):
        if not isinstance(node, yaml.ScalarNode):
            continue
        if node.tag in _CONVERTED:
            node.tag = f"{_TAG}str"
        elif node.tag == _NULL and node is not place:
            what = (
                f"'{node.value}' means no value; as a text, write it in quotes" if node.value else "an item is empty"
            )
            raise MissingTextError(f"{path}, line {_line(node)}: {what}")


def _all_nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield a node and those below it, each once: an alias (``*name``) is the same node as its anchor (``&name``)."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        yield node
        below = []
        if isinstance(node, yaml.SequenceNode):
            below = node.value
        elif isinstance(node, yaml.MappingNode):
            below = [one for pair in node.value for one in pair]
        for one in reversed(below):
            if id(one) not in seen:
                seen.add(id(one))
                waiting.append(one)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
