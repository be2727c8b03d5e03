"""DatasetSpec: where a dataset lies, how it is written and split, and the way from it to records."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from detect.data.download import fetch_archive, verify_files
from detect.data.quality.checks.image_headers import with_names_on_disk
from detect.data.quality.cleaning import check_left, clean, told, told_of_masks
from detect.data.readers import READERS
from detect.data.synthetic.datasets import render_dataset
from detect.data.table import Table
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.errors import DataError, UsageError
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.structures.image_record import ImageRecord
from detect.text import first_few, unknown


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset.

    root: its folder.  splits: of each the folder of the images and the annotations, relative to the root, and
    optionally ``files``, the names of the images it has, or ``without``, those it has not.
    found: where it was found out from the files, in words what was found.
    """

    name: str
    format: str
    root: Path
    splits: dict[str, dict[str, Any]]
    classes: tuple[str, ...] | None = None
    download: dict[str, Any] | None = None
    render: dict[str, Any] | None = None
    root_given: bool = False
    discovery_note: str = ""
    _drafts: dict[tuple[Path, Path], UnvalidatedSplit] = field(default_factory=dict, repr=False, compare=False)

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
            raise DataError(f"dataset '{self.name}': no such folder {self.root}")

    def check_split(self, split: str) -> None:
        """UsageError where there is no such split."""
        if split not in self.splits:
            raise UsageError(f"dataset '{self.name}': {unknown('split', split, self.splits)}")

    def read(
        self, split: str, class_names: ClassNames | None = None, *, lenient: bool = False
    ) -> tuple[ClassNames, Table]:
        """The classes and the records of one split; call ``prepare`` first. class_names: see ``selected``.

        What is plainly broken is left out or put right (see ``cleaning``), with a warning. DataError where nothing is
        left, and where most of the images are not there or, unless ``lenient``, most of the objects of no use.
        """
        class_names, draft = self.select(split, class_names)
        table, problems = clean(draft)
        if not lenient:
            check_left(problems, draft, table)
        for line in (*told(problems, draft), *told_of_masks(table, draft.annotations)):
            warn(line)
        if not len(table):
            raise DataError(f"dataset '{self.name}': split '{split}' has no images in {draft.annotations}")
        return class_names, table

    def select(self, split: str, class_names: ClassNames | None = None) -> tuple[ClassNames, UnvalidatedSplit]:
        """The classes, and what the files say of the images and the classes that the description takes.

        class_names: other classes than the split's own, such as ``all_classes``; objects are matched by their names.
        """
        self.check_split(split)
        part, draft = self.splits[split], self.read_unvalidated(split)
        names = list(draft.table.names)
        chosen = _select(names, part.get("files"), part.get("without"), draft.annotations)
        draft = draft.take_images(np.array([i for i, name in enumerate(names) if name in chosen], np.int64))
        class_names = class_names or self._class_names(draft)
        return class_names, replace(draft, table=draft.table.relabel(class_names, draft.names))

    def classes_per_split(self) -> dict[str, ClassNames]:
        """The classes of each split; where annotation files list them, each may list others."""
        return {split: self._class_names(self.read_unvalidated(split)) for split in self.splits}

    def all_classes(self) -> ClassNames:
        """The classes of all splits in one list: those of the first, and then what others have besides."""
        ids: dict[str, int] = {}
        for class_names in self.classes_per_split().values():
            for name, category in zip(class_names.names, class_names.ids, strict=True):
                if name not in ids:
                    ids[name] = max(ids.values()) + 1 if category in ids.values() else category
        return ClassNames(tuple(ids), tuple(ids.values()))

    def paths(self) -> list[Path]:
        """Every image that the annotations of any split name."""
        drafts = (self.read_unvalidated(split) for split in self.splits)
        return [draft.table.path(i) for draft in drafts for i in range(len(draft.table))]

    def read_unvalidated(self, split: str) -> UnvalidatedSplit:
        """What the files of a split say, and with it those of the other splits that lie in the same files."""
        part = self.splits[split]
        images, annotations = self.root / part["images"], self.root / part["annotations"]
        if (images, annotations) not in self._drafts:
            draft = READERS[self.format](images, annotations, self.classes)
            self._drafts[images, annotations] = replace(draft, table=with_names_on_disk(draft.table))
        return self._drafts[images, annotations]

    def _class_names(self, draft: UnvalidatedSplit) -> ClassNames:
        """Those that the format lists, else those in use in any of the splits; of them, the chosen ones."""
        names, ids = draft.names, draft.ids
        if not draft.listed:
            names = tuple(sorted({name for split in self.splits for name in self.read_unvalidated(split).names}))
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


def fingerprint(records: Sequence[ImageRecord]) -> list[str]:
    """The sha256 of every image's bytes, sorted: what a model was trained on, whatever the files are called."""
    return sorted(hashlib.sha256(r.path.read_bytes()).hexdigest() for r in records)


def _select(names: Collection[str], files: list[str] | None, without: list[str] | None, annotations: Path) -> set[str]:
    """Those of ``names`` that the description takes; DataError for a listed one that is not there."""
    strangers = set(files or []).union(without or []).difference(names)
    if strangers:
        listed = first_few(sorted(strangers))
        raise DataError(f"{annotations} has no annotations for {len(strangers)} listed files: {listed}")
    return set(names if files is None else files).difference(without or [])
