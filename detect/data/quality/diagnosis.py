"""Check of a whole dataset: statistics and every problem of all splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from detect.data.file_listing import images_below
from detect.data.quality.checks.classes import check_classes, check_lists
from detect.data.quality.checks.duplicates import check_copies
from detect.data.quality.checks.geometry import check_shapes
from detect.data.quality.checks.image_files import check_files
from detect.data.quality.checks.siblings import check_siblings
from detect.data.quality.checks.stuck_boxes import check_stuck_boxes
from detect.data.quality.summary import Summary, summarize
from detect.data.readers import get_reader
from detect.data.spec import DatasetSpec
from detect.data.table import Table, renumber_duplicates
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.data.validation.cleaning import clean, image_problem, object_problem
from detect.data.validation.image_headers import read_headers
from detect.data.validation.problems import KINDS, NOTE, Location, Problem, Severity
from detect.media.fingerprint import Fingerprint, fingerprint_images
from detect.structures.class_names import ClassNames


@dataclass(frozen=True)
class Diagnosis:
    """Result of the check of a dataset.

    name: name of the dataset.
    format: annotation format, such as "coco".
    layout: description of the folder layout that was recognized; "" for a dataset with a description file.
    class_names: classes of all splits.
    splits: content of the annotation files by split.
    tables: usable images and objects by split.
    fingerprints: one per image of each table.
    problems: by split; problems of the whole dataset are under "".
    """

    name: str
    format: str
    layout: str
    class_names: ClassNames
    splits: dict[str, UnvalidatedSplit]
    tables: dict[str, Table]
    fingerprints: dict[str, list[Fingerprint]]
    problems: dict[str, list[Problem]] = field(default_factory=dict)

    @property
    def severity(self) -> Severity | None:
        """Severity of the worst problem; None if there is no problem."""
        return max((KINDS[p.kind].severity for found in self.problems.values() for p in found), default=None)

    @property
    def is_invalid(self) -> bool:
        """Whether there is an error or a warning."""
        return self.severity is not None and self.severity > NOTE

    @property
    def summaries(self) -> dict[str, Summary]:
        """Statistics by split."""
        return {split: summarize(table, self.class_names) for split, table in self.tables.items()}

    def by_kind(self) -> list[tuple[str, list[tuple[str, Problem]]]]:
        """Return the kinds that occur, most severe first, each with its problems and their splits."""
        found: dict[str, list[tuple[str, Problem]]] = {}
        for split, problems in self.problems.items():
            for problem in problems:
                found.setdefault(problem.kind, []).append((split, problem))
        order = list(KINDS)
        return sorted(found.items(), key=lambda item: (-KINDS[item[0]].severity, order.index(item[0])))


def diagnose(spec: DatasetSpec) -> Diagnosis:
    """Read all annotations and all images of a dataset and return every problem.

    Raises DataError if the annotation files of a split cannot be read at all.
    """
    splits, tables, fingerprints = {}, {}, {}
    problems: dict[str, list[Problem]] = {}
    class_names = spec.all_classes()
    for split in spec.splits:
        _, splits[split] = spec.select(split, class_names)
        tables[split], problems[split] = clean(splits[split])
        fingerprints[split] = fingerprint_images([tables[split].path(i) for i in range(len(tables[split]))])
        problems[split] += _split_problems(splits[split], tables[split], fingerprints[split])
    problems[next(iter(problems))].append(_unannotated_images(spec, splits))
    for split, found in check_copies(tables, fingerprints).items():
        problems[split] += found
    for split, table in tables.items():
        problems[split].append(check_stuck_boxes(table, class_names))
    for split, problem in check_siblings(tables, fingerprints):
        problems[split].append(problem)
    for split, problem in (*check_lists(spec.classes_per_split()), *check_classes(tables, class_names)):
        problems.setdefault(split, []).append(problem)
    return Diagnosis(
        spec.name,
        spec.format,
        spec.discovery_note,
        class_names,
        splits,
        tables,
        fingerprints,
        _without_repetition(problems),
    )


def _split_problems(split: UnvalidatedSplit, table: Table, fingerprints: Sequence[Fingerprint]) -> Iterator[Problem]:
    """Yield the problems inside one split that reading it for training does not look for."""
    cleaned = replace(split, table=table)
    yield from (image_problem(table, finding) for finding in check_files(table, read_headers(table), fingerprints))
    yield _duplicate_annotation_ids(split)
    yield from (object_problem(cleaned, finding) for finding in check_shapes(table))


def _unannotated_images(spec: DatasetSpec, splits: Mapping[str, UnvalidatedSplit]) -> Problem:
    """Return the images in the dataset's folders that the annotation files do not list."""
    if not get_reader(spec.format).one_file_per_split:  # readers of one file per image report them
        return Problem("unannotated_image", [])
    folders = {split.table.folder for split in splits.values() if split.table.folder.is_dir()}
    skipped = {split.table.folder / entry.location.file for split in splits.values() for entry in split.skipped}
    listed = {path.resolve() for path in (*spec.image_paths(), *skipped)}
    images = sorted({folder / name for folder in folders for name in images_below(folder)})
    names = [path.relative_to(spec.root).as_posix() for path in images if path.resolve() not in listed]
    return Problem("unannotated_image", [Location(name, "", "") for name in names])


def _duplicate_annotation_ids(split: UnvalidatedSplit) -> Problem:
    """Return the objects whose annotation id an earlier object has."""
    ids = split.table.annotation_ids
    _, rows = renumber_duplicates(ids)
    return Problem("duplicate_annotation_id", [split.location(row) for row in rows.tolist()], ids[rows])


def _without_repetition(problems: dict[str, list[Problem]]) -> dict[str, list[Problem]]:
    """Return the problems without empty ones, and without files reported for an earlier split.

    A file that belongs to no image cannot be assigned to a split, so every split reports it.
    """
    seen: set[tuple[str, Location]] = set()
    kept: dict[str, list[Problem]] = {}
    for split, found in problems.items():
        for problem in found:
            found_by_reader = KINDS[problem.kind].subject != "class" or KINDS[problem.kind].when_read
            if not len(problem.ids) and found_by_reader:
                new = [location for location in problem.locations if (problem.kind, location) not in seen]
                seen.update((problem.kind, location) for location in new)
                problem = replace(problem, locations=new)
            if problem.locations:
                kept.setdefault(split, []).append(problem)
    return kept
