"""DatasetSpec: the content of datasets/NAME.yaml, and the way from it to records.

A description names the format, the classes where the format does not, and for each split the folder of the
pictures, the annotation file, and optionally ``files`` (only these) or ``without`` (all but these).
``download`` or ``render`` say where files that are not there come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
_KEYS = ("name", "format", "classes", "root", "download", "render", "splits")
_SPLIT_KEYS = ("images", "annotations", "files", "without")


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
            if not self.root.is_dir():
                raise DataError(f"--data-root {self.root} is not a folder")
            if self.download:
                verify_files(self.download, self.root)
        elif self.root.is_dir():
            return
        elif self.render:
            render_dataset(self.render["kind"], self.root, self.render["seed"])
        elif self.download:
            fetch_archive(self.download, self.root)
        else:
            raise DataError(f"data set '{self.name}': no such folder {self.root}")

    def read(self, split: str) -> tuple[ClassNames, list[ImageRecord]]:
        """The classes and the records of one split; call ``prepare`` first."""
        if split not in self.splits:
            raise UsageError(f"data set '{self.name}': {unknown('split', split, self.splits)}")
        part = self.splits[split]
        annotations = self.root / part["annotations"]
        class_names, records = READERS[self.format](self.root / part["images"], annotations, self.classes)
        records = _select(records, part.get("files"), part.get("without"), annotations)
        if not records:
            raise DataError(f"data set '{self.name}': split '{split}' has no pictures")
        return class_names, records


def find_spec(data: str, data_root: str | Path | None = None) -> DatasetSpec:
    """The description called ``data``: a name (datasets/NAME.yaml) or a path of a YAML file.

    ``data_root``: the folder of the data set's files where they lie elsewhere than in datasets/NAME/.
    Raises UsageError for an unknown name or key.
    """
    path = Path(data) if data.endswith((".yaml", ".yml")) else DATASETS / f"{data}.yaml"
    if not path.is_file():
        if path.suffix and path != DATASETS / f"{data}.yaml":
            raise UsageError(f"no such data set description: {path}")
        raise UsageError(unknown("data set", data, sorted(p.stem for p in DATASETS.glob("*.yaml"))))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    _check(content, path)
    classes = content.get("classes")
    return DatasetSpec(
        name=content.get("name", path.stem),
        format=content["format"],
        root=Path(data_root) if data_root else path.parent / content.get("root", path.stem),
        splits=content["splits"],
        classes=tuple(str(c) for c in classes) if classes else None,
        download=content.get("download"),
        render=content.get("render"),
        root_given=data_root is not None,
    )


def fingerprint(records: Sequence[ImageRecord]) -> list[str]:
    """The sha256 of every picture's bytes, sorted: what a model was trained on, whatever the files are called."""
    return sorted(hashlib.sha256(r.path.read_bytes()).hexdigest() for r in records)


def _check(content: Any, path: Path) -> None:
    """UsageError for a key that is unknown, missing, or names an unknown format."""
    if not isinstance(content, dict):
        raise UsageError(f"{path} does not describe a data set: it should hold 'format' and 'splits'")
    for key in content:
        if key not in _KEYS:
            raise UsageError(f"{path}: {unknown('key', key, _KEYS)}")
    for key in ("format", "splits"):
        if key not in content:
            raise UsageError(f"{path} lacks the key '{key}'")
    if content["format"] not in READERS:
        raise UsageError(f"{path}: {unknown('format', content['format'], READERS)}")
    if not isinstance(content["splits"], dict):
        raise UsageError(f"{path}: 'splits' should map train, val and test to their images and annotations")
    for split, part in content["splits"].items():
        for key in part:
            if key not in _SPLIT_KEYS:
                raise UsageError(f"{path}: split {split}: {unknown('key', key, _SPLIT_KEYS)}")
        for key in ("images", "annotations"):
            if key not in part:
                raise UsageError(f"{path}: split {split} lacks the key '{key}'")


def _select(
    records: list[ImageRecord], files: list[str] | None, without: list[str] | None, annotations: Path
) -> list[ImageRecord]:
    names = {r.path.name for r in records}
    strangers = [f for f in [*(files or []), *(without or [])] if f not in names]
    if strangers:
        raise DataError(f"{annotations} has no annotations for {len(strangers)} listed files: {first_few(strangers)}")
    if files is not None:
        records = [r for r in records if r.path.name in set(files)]
    return [r for r in records if r.path.name not in set(without or [])]
