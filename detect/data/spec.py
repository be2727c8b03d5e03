"""DatasetSpec: the content of datasets/NAME.yaml, and the way from it to records.

A description names the format, the classes where the format does not, and for each split the folder of the
pictures, the annotation file, and optionally ``files`` (only these) or ``without`` (all but these).
``download`` or ``render`` say where files that are not there come from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from detect.data.archive import fetch_archive, verify_files
from detect.data.readers import READERS
from detect.data.sample import render_dataset
from detect.errors import DataError, UsageError, first_few, unknown
from detect.types import ClassNames, ImageRecord

DATASETS = Path(__file__).resolve().parents[2] / "datasets"
# What a description and its sections may hold, and of which kind; what they need is said where they are checked.
_KEYS = {"name": str, "format": str, "classes": list, "root": str, "download": dict, "render": dict, "splits": dict}
_SPLIT_KEYS = {"images": str, "annotations": str, "files": list, "without": list}
_DOWNLOAD_KEYS = {"url": str, "sha256": dict, "images": dict, "via_sizes": list}
_RENDER_KEYS = {"kind": str, "seed": int}
_KIND_WORDS = {str: "text", int: "a whole number", list: "a list of texts", dict: "a mapping"}


@dataclass(frozen=True)
class DatasetSpec:
    """One data set: where it lies (``root``), how it is written, how it is split."""

    name: str
    format: str
    root: Path
    splits: dict[str, dict[str, Any]]
    classes: tuple[str, ...] | None = None
    download: dict[str, Any] | None = None
    render: dict[str, Any] | None = None
    root_given: bool = False

    def prepare(self) -> None:
        """Make sure that the files are there: verify those given, else render or download. DataError if neither."""
        if self.root_given:
            if self.download:
                verify_files(self.download, self.root)
        elif self.download:
            fetch_archive(self.download, self.root)  # which verifies what is there already
        elif self.root.is_dir() and any(self.root.iterdir()):
            return
        elif self.render:
            render_dataset(self.render["kind"], self.root, self.render["seed"])
        else:
            raise DataError(f"data set '{self.name}': no such folder {self.root}")

    def check_split(self, split: str) -> None:
        """UsageError where there is no such split."""
        if split not in self.splits:
            raise UsageError(f"data set '{self.name}': {unknown('split', split, self.splits)}")

    def read(self, split: str) -> tuple[ClassNames, list[ImageRecord]]:
        """The classes and the records of one split; call ``prepare`` first."""
        self.check_split(split)
        part = self.splits[split]
        annotations = self.root / part["annotations"]
        images = self.root / part["images"]
        class_names, records = READERS[self.format](images, annotations, self.classes)
        names = [_name(r.path, images) for r in records]
        chosen = _select(names, part.get("files"), part.get("without"), annotations)
        records = [r for r, name in zip(records, names, strict=True) if name in chosen]
        if not records:
            raise DataError(f"data set '{self.name}': split '{split}' has no pictures")
        return class_names, records


def find_spec(data: str, data_root: str | Path | None = None) -> DatasetSpec:
    """The description called ``data``: a name (datasets/NAME.yaml) or a path of a YAML file.

    ``data_root``: the folder of the data set's files where they lie elsewhere than in datasets/NAME/.
    Raises UsageError for an unknown name or key.
    """
    is_path = data.endswith((".yaml", ".yml"))
    path = Path(data) if is_path else DATASETS / f"{data}.yaml"
    if not path.is_file():
        if is_path:
            raise UsageError(f"no such data set description: {path}")
        if os.path.exists(data):  # noqa: PTH110 - Path.exists raises for names that are too long
            raise UsageError(f"--data {data} is no description of a data set, which is a .yaml file (see README.md)")
        raise UsageError(unknown("data set", data, sorted(p.stem for p in DATASETS.glob("*.yaml"))))
    if data_root and not Path(data_root).is_dir():
        raise DataError(f"--data-root {data_root} is not a folder")
    content = _load(path)
    classes = content.get("classes")
    return DatasetSpec(
        name=content.get("name", path.stem),
        format=content["format"],
        root=Path(data_root) if data_root else path.parent / content.get("root", path.stem),
        splits=content["splits"],
        classes=tuple(classes) if classes else None,
        download=content.get("download"),
        render=content.get("render"),
        root_given=data_root is not None,
    )


def fingerprint(records: Sequence[ImageRecord]) -> list[str]:
    """The sha256 of every picture's bytes, sorted: what a model was trained on, whatever the files are called."""
    return sorted(hashlib.sha256(r.path.read_bytes()).hexdigest() for r in records)


def _load(path: Path) -> dict[str, Any]:
    """The checked content of a description. DataError where it is not YAML, UsageError where it is something else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} does not describe a data set: it should hold 'format' and 'splits'")
    _check(content, _KEYS, ("format", "splits"), str(path))
    if content["format"] not in READERS:
        raise UsageError(f"{path}: {unknown('format', content['format'], READERS)}")
    classes = content.get("classes") or []
    if len(set(classes)) < len(classes):
        raise UsageError(f"{path}: 'classes' names one twice: {', '.join(classes)}")
    if content.get("download") is not None:
        _check(content["download"], _DOWNLOAD_KEYS, ("url",), f"{path}: download")
        for key, kind in (("sha256", str), ("images", int)):
            strange = [n for n, value in content["download"].get(key, {}).items() if not isinstance(value, kind)]
            if strange:
                raise UsageError(f"{path}: download: {key} of {first_few(strange)} should be {_KIND_WORDS[kind]}")
    if content.get("render") is not None:
        _check(content["render"], _RENDER_KEYS, ("kind", "seed"), f"{path}: render")
    for split, part in content["splits"].items():
        _check(part, _SPLIT_KEYS, ("images", "annotations"), f"{path}: split {split}")
    return content


def _check(content: Any, kinds: Mapping[str, type], needed: Sequence[str], where: str) -> None:
    """UsageError for a key that is unknown, missing or holds another kind of value."""
    if not isinstance(content, dict):
        raise UsageError(f"{where} is {content!r}, it should be a mapping with the keys {', '.join(needed)}")
    for key, value in content.items():
        if key not in kinds:
            raise UsageError(f"{where}: {unknown('key', key, kinds)}")
        texts_only = not isinstance(value, list) or all(isinstance(v, str) for v in value)
        if not (isinstance(value, kinds[key]) and texts_only):
            raise UsageError(f"{where}: '{key}' is {value!r}, it should be {_KIND_WORDS[kinds[key]]}")
    for key in needed:
        if content.get(key) is None:
            raise UsageError(f"{where} lacks the key '{key}'")


def _name(path: Path, images: Path) -> str:
    """The file name as the annotations have it, with its folder if any."""
    return path.relative_to(images).as_posix() if path.is_relative_to(images) else str(path)


def _select(names: Collection[str], files: list[str] | None, without: list[str] | None, annotations: Path) -> set[str]:
    """Those of ``names`` that the description takes; DataError for a listed one that is not there."""
    strangers = set(files or []).union(without or []).difference(names)
    if strangers:
        listed = first_few(sorted(strangers))
        raise DataError(f"{annotations} has no annotations for {len(strangers)} listed files: {listed}")
    return set(names if files is None else files).difference(without or [])
