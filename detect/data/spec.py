"""The specification of a dataset: where its files are, their format and its splits; and how a split is read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from detect.data.download import fetch_archive, verify_files
from detect.data.numbered_classes import merge_classes
from detect.data.readers import get_reader
from detect.data.synthetic.datasets import render_dataset
from detect.data.table import Table
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.data.validation.cleaning import check_enough_left, clean, missing_mask_warnings, warnings_of
from detect.data.validation.repeated_images import merge_repeated_images
from detect.errors import DataError, UsageError
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.text import counted, first_few, unknown


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset, as a description (``description.find_spec``) or a folder specifies it.

    Attributes:
        name: str.
        format: str, key of ``detect.data.readers.READERS``.
        root: Path, folder of the files.
        splits: for each split the paths ``images`` (folder) and ``annotations`` (file or folder) relative to ``root``,
            and optionally ``files``, the image names to use, or ``without``, those to exclude, and ``drawn_from``, see
            ``UnvalidatedSplit``.
        classes: class names to use, in label order; None for all classes of the annotations.
        download: arguments of ``detect.data.download.fetch_archive`` for missing files.
        render: ``kind`` and ``seed`` of a rendered dataset, for missing files.
        iscrowd: "ignore" to read crowds as single objects, "keep" to read them as crowds.
        root_given: bool, whether the user gave ``root``. Then files are verified and never downloaded or rendered.
        discovery_note: one line about what was found, if the dataset is a folder without a description.
        merged: {class name in the annotations: one of ``classes``} for classes that are merged.
        splits_file: file of the random splits, if they were drawn at random and saved.
    """

    name: str
    format: str
    root: Path
    splits: dict[str, dict[str, Any]]
    classes: tuple[str, ...] | None = None
    download: dict[str, Any] | None = None
    render: dict[str, Any] | None = None
    root_given: bool = False
    iscrowd: str = "keep"
    discovery_note: str = ""
    merged: dict[str, str] = field(default_factory=dict)
    splits_file: Path | None = None
    _noted: set[str] = field(default_factory=set, repr=False, compare=False)  # kinds that a warning named
    _warned: set[str] = field(default_factory=set, repr=False, compare=False)  # warnings that were printed
    _unvalidated: dict[tuple[Path, Path], UnvalidatedSplit] = field(default_factory=dict, repr=False, compare=False)

    def prepare(self) -> None:
        """Make sure that the files exist: verify, download or render them. Raises DataError when they are missing."""
        if self.root_given:
            if self.download:
                verify_files(self.download, self.root)
        elif self.download:
            fetch_archive(self.download, self.root)  # only verifies files that exist
        elif self.root.is_dir() and any(self.root.iterdir()):
            return
        elif self.render:
            render_dataset(self.render["kind"], self.root, self.render["seed"])
        else:
            raise DataError(f"dataset '{self.name}': no such folder {self.root}")

    def check_split(self, split: str) -> None:
        """Raise UsageError when the dataset has no split of that name."""
        if split not in self.splits:
            raise UsageError(f"dataset '{self.name}': {unknown('split', split, self.splits)}")

    def read(
        self, split: str, class_names: ClassNames | None = None, *, lenient: bool = False
    ) -> tuple[ClassNames, Table]:
        """Return the classes and the validated records of one split; call ``prepare`` first.

        Invalid images and annotations are skipped or repaired with a warning (see ``validation.cleaning``), which is
        printed once per DatasetSpec. A note about data that is read otherwise than written is printed once for each
        kind, for the first split that has it.

        class_names: classes to use instead of those of the split, see ``select``.
        lenient: whether to accept a split with more invalid than valid annotations.
        Raises DataError when no image remains, when most images are missing, and unless ``lenient`` when most
        annotations are invalid.
        """
        class_names, unvalidated = self.select(split, class_names)
        table, problems = clean(unvalidated)
        if not lenient:
            check_enough_left(problems, unvalidated, table)
        noticed = warnings_of(problems, unvalidated, split, self._noted)
        for line in (*noticed, *missing_mask_warnings(table, unvalidated.annotations)):
            if line not in self._warned:
                self._warned.add(line)
                warn(line)
        if not len(table):
            raise DataError(f"dataset '{self.name}': split '{split}' has no images in {unvalidated.annotations}")
        return class_names, table

    def select(self, split: str, class_names: ClassNames | None = None) -> tuple[ClassNames, UnvalidatedSplit]:
        """Return the classes and the unvalidated annotations of one split, restricted to its images and classes.

        class_names: classes to use instead of those of the split, such as ``all_classes()``. Objects are assigned by
            class name; objects of other classes are dropped.

        Without a real mask in any split, masks that are outlines of annotated boxes are removed.
        """
        self.check_split(split)
        part, unvalidated = self.splits[split], self.read_unvalidated(split)
        names = list(unvalidated.table.names)
        chosen = _choose_files(names, part.get("files"), part.get("without"), unvalidated.annotations)
        unvalidated = unvalidated.take_images(
            np.array([i for i, name in enumerate(names) if name in chosen], np.int64)
        )
        if not unvalidated.table.lacks_mask.all() and not self._has_real_masks(split):
            unvalidated = replace(unvalidated, table=unvalidated.table.without_masks())
        if self.iscrowd == "ignore":
            unvalidated = replace(unvalidated, table=unvalidated.table.without_crowds())
        class_names = class_names or self._classes_of(unvalidated)
        table = unvalidated.table.relabel(class_names, unvalidated.names)
        return class_names, replace(unvalidated, table=table, drawn_from=part.get("drawn_from", 0))

    def classes_per_split(self) -> dict[str, ClassNames]:
        """Return the classes of each split. They may differ when annotation files list different categories."""
        return {split: self._classes_of(self.read_unvalidated(split)) for split in self.splits}

    def all_classes(self) -> ClassNames:
        """Return the classes of all splits: those of the first split, then those that later splits add."""
        ids: dict[str, int] = {}
        for class_names in self.classes_per_split().values():
            for name, category in zip(class_names.names, class_names.ids, strict=True):
                if name not in ids:
                    ids[name] = max(ids.values()) + 1 if category in ids.values() else category
        return ClassNames(tuple(ids), tuple(ids.values()))

    def image_paths(self) -> list[Path]:
        """Return the path of every image in the annotations of any split."""
        tables = (self.read_unvalidated(split).table for split in self.splits)
        return [table.path(i) for table in tables for i in range(len(table))]

    def read_unvalidated(self, split: str) -> UnvalidatedSplit:
        """Return everything in the annotations of a split, also images of other splits in the same file."""
        part = self.splits[split]
        images, annotations = self.root / part["images"], self.root / part["annotations"]
        if (images, annotations) not in self._unvalidated:
            unvalidated = get_reader(self.format).parse(images, annotations, tuple(self.merged) or self.classes)
            if self.merged:
                unvalidated = self._with_merged_classes(unvalidated)
            self._unvalidated[images, annotations] = merge_repeated_images(unvalidated.with_names_on_disk())
        return self._unvalidated[images, annotations]

    def _with_merged_classes(self, unvalidated: UnvalidatedSplit) -> UnvalidatedSplit:
        for name in self.merged if unvalidated.classes_listed else ():
            if name not in unvalidated.names:
                raise UsageError(f"{unvalidated.annotations}: {unknown('class', name, unvalidated.names)}")
        return merge_classes(unvalidated, self.merged)

    def _has_real_masks(self, split: str) -> bool:
        """Return whether the annotations of any split have real masks; other splits than ``split`` are read last."""
        return any(self.read_unvalidated(name).has_real_masks for name in (split, *self.splits))

    def _classes_of(self, unvalidated: UnvalidatedSplit) -> ClassNames:
        """Return the classes of a split.

        These are the classes that its annotations list, else those of all annotated objects of all splits, sorted;
        restricted to ``self.classes`` if given.
        """
        names, ids = unvalidated.names, unvalidated.ids
        if not unvalidated.classes_listed:
            names = tuple(sorted({name for split in self.splits for name in self.read_unvalidated(split).names}))
            ids = tuple(range(1, len(names) + 1))
        try:
            listed = ClassNames(names, ids)
        except ValueError as error:
            raise DataError(f"{unvalidated.annotations}: {error}") from None
        for name in self.classes or ():
            if name not in listed.names:
                raise UsageError(f"{unvalidated.annotations}: {unknown('class', name, listed.names)}")
        chosen = self.classes or listed.names
        return ClassNames(chosen, tuple(listed.ids[listed.names.index(name)] for name in chosen))


def _choose_files(
    names: Collection[str], files: list[str] | None, without: list[str] | None, annotations: Path
) -> set[str]:
    """Return the image ``names`` of a split. Raises DataError for a listed name that is not annotated.

    files, without: see ``DatasetSpec.splits``.
    """
    if unannotated := set(files or []).union(without or []).difference(names):
        listed = first_few(sorted(unannotated))
        raise DataError(f"{annotations} has no annotations for {counted(len(unannotated), 'listed file')}: {listed}")
    return set(names if files is None else files).difference(without or [])
