"""DatasetSpec: the content of datasets/NAME.yaml, and the way from it to records.

A description names the format, the classes where the format does not, and for each split the folder of the
pictures, the annotation file, and optionally ``files`` (only these) or ``without`` (all but these).
``download`` or ``render`` say where files that are not there come from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from detect.data.archive import fetch_archive, verify_files
from detect.data.cleaning import clean, relabelled, told, told_of_masks
from detect.data.draft import Draft
from detect.data.readers import READERS
from detect.data.sample import render_dataset
from detect.data.table import Table
from detect.errors import DataError, UsageError, first_few, unknown, warn
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
    _drafts: dict[tuple[Path, Path], Draft] = field(default_factory=dict, repr=False, compare=False)

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

    def read(self, split: str) -> tuple[ClassNames, Table]:
        """The classes and the records of one split; call ``prepare`` first.

        What is plainly broken is left out or put right (see ``cleaning``), with a warning. DataError where nothing is
        left, and where most of the pictures are not there.
        """
        self.check_split(split)
        part = self.splits[split]
        draft = self._draft(split)
        names = list(draft.table.names)
        chosen = _select(names, part.get("files"), part.get("without"), draft.annotations)
        draft = draft.take_pictures(np.array([i for i, name in enumerate(names) if name in chosen], np.int64))
        class_names = self._class_names(draft)
        draft = replace(draft, table=relabelled(draft.table, draft.names, class_names))
        table, problems = clean(draft)
        for line in (*told(problems, draft), *told_of_masks(table, draft.annotations)):
            warn(line)
        if not len(table):
            raise DataError(f"data set '{self.name}': split '{split}' has no pictures in {draft.annotations}")
        return class_names, table

    def paths(self) -> list[Path]:
        """Every picture that the annotations of any split name."""
        drafts = (self._draft(split) for split in self.splits)
        return [draft.table.path(i) for draft in drafts for i in range(len(draft.table))]

    def _draft(self, split: str) -> Draft:
        """What the files of a split say, with those of the other splits that lie in the same files."""
        part = self.splits[split]
        images, annotations = self.root / part["images"], self.root / part["annotations"]
        if (images, annotations) not in self._drafts:
            self._drafts[images, annotations] = READERS[self.format](images, annotations, self.classes)
        return self._drafts[images, annotations]

    def _class_names(self, draft: Draft) -> ClassNames:
        """Those that the format lists, else those in use in any of the splits; of them, the chosen ones."""
        names, ids = draft.names, draft.ids
        if not draft.listed:
            names = tuple(sorted({name for split in self.splits for name in self._draft(split).names}))
            ids = tuple(range(1, len(names) + 1))
        try:
            every = ClassNames(names, ids)
        except ValueError as error:
            raise DataError(f"{draft.annotations}: {error}") from None
        for name in self.classes or ():
            if name not in every.names:
                raise UsageError(f"{draft.annotations}: {unknown('class', name, every.names)}")
        chosen = self.classes or every.names
        return ClassNames(chosen, tuple(every.ids[every.names.index(name)] for name in chosen))


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


def _select(names: Collection[str], files: list[str] | None, without: list[str] | None, annotations: Path) -> set[str]:
    """Those of ``names`` that the description takes; DataError for a listed one that is not there."""
    strangers = set(files or []).union(without or []).difference(names)
    if strangers:
        listed = first_few(sorted(strangers))
        raise DataError(f"{annotations} has no annotations for {len(strangers)} listed files: {listed}")
    return set(names if files is None else files).difference(without or [])
