"""What doctor.py tells: a dataset in numbers, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from detect.data.quality.checks.classes import check_classes, check_lists
from detect.data.quality.checks.duplicates import check_copies, check_listed_twice
from detect.data.quality.checks.geometry import check_shapes
from detect.data.quality.checks.image_files import check_files
from detect.data.quality.checks.image_headers import read_headers
from detect.data.quality.cleaning import clean, of_images, of_objects
from detect.data.quality.problems import KINDS, NOTE, Place, Problem, Severity
from detect.data.quality.summary import Summary, summarize
from detect.data.readers import ONE_FILE_FORMATS
from detect.data.readers.folders import images_below
from detect.data.spec import DatasetSpec
from detect.data.table import Table, renumber_duplicates
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.media.fingerprint import Look, look_at_all
from detect.structures.class_names import ClassNames


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about a dataset.

    form: the format.  found: how the files were found, see ``DatasetSpec``.
    drafts: what the files say, and tables: what of it can be trained on, of each split.
    looks: of each image of the tables.  problems: of each split, and under "" of all.
    """

    name: str
    form: str
    found: str
    class_names: ClassNames
    drafts: dict[str, UnvalidatedSplit]
    tables: dict[str, Table]
    looks: dict[str, list[Look]]
    problems: dict[str, list[Problem]] = field(default_factory=dict)

    @property
    def severity(self) -> Severity | None:
        """Of the worst problem, None without any."""
        return max((KINDS[p.kind].severity for found in self.problems.values() for p in found), default=None)

    @property
    def is_invalid(self) -> bool:
        """Whether something is broken or hurts."""
        return self.severity is not None and self.severity > NOTE

    @property
    def summaries(self) -> dict[str, Summary]:
        return {split: summarize(table, self.class_names) for split, table in self.tables.items()}

    def by_kind(self) -> list[tuple[str, list[tuple[str, Problem]]]]:
        """The kinds that were found, the worst first, each with its splits and problems."""
        found: dict[str, list[tuple[str, Problem]]] = {}
        for split, problems in self.problems.items():
            for problem in problems:
                found.setdefault(problem.kind, []).append((split, problem))
        order = list(KINDS)
        return sorted(found.items(), key=lambda item: (-KINDS[item[0]].severity, order.index(item[0])))


def diagnose(spec: DatasetSpec) -> Diagnosis:
    """Reads all annotations and all images of all splits. Raises what reading raises where files are of no format
    at all."""
    drafts, tables, looks = {}, {}, {}
    problems: dict[str, list[Problem]] = {}
    class_names = spec.all_classes()
    for split in spec.splits:
        _, drafts[split] = spec.select(split, class_names)
        tables[split], problems[split] = clean(drafts[split])
        looks[split] = look_at_all([tables[split].path(i) for i in range(len(tables[split]))])
        problems[split] += _of_split(drafts[split], tables[split], looks[split])
    problems[next(iter(problems))].append(_unlisted(spec, drafts))
    for split, found in check_copies(tables, looks).items():
        problems[split] += found
    for split, problem in (*check_lists(spec.classes_per_split()), *check_classes(tables, class_names)):
        problems.setdefault(split, []).append(problem)
    return Diagnosis(spec.name, spec.format, spec.discovery_note, class_names, drafts, tables, looks, _told_once(problems))


def _of_split(draft: UnvalidatedSplit, table: Table, looks: Sequence[Look]) -> Iterator[Problem]:
    """Everything in one split that does not keep it from being read."""
    cleaned = replace(draft, table=table)
    yield from (of_images(table, found) for found in check_files(table, read_headers(table), looks))
    yield check_listed_twice(table)
    yield _doubled_ids(draft)
    yield from (of_objects(cleaned, found) for found in check_shapes(table))


def _unlisted(spec: DatasetSpec, drafts: Mapping[str, UnvalidatedSplit]) -> Problem:
    """Images beside those that are listed, which a file about many images may have forgotten."""
    if spec.format not in ONE_FILE_FORMATS:  # the others' readers tell
        return Problem("not_annotated", [])
    folders = {draft.table.folder for draft in drafts.values() if draft.table.folder.is_dir()}
    told = {draft.table.folder / reject.place.file for draft in drafts.values() for reject in draft.skipped}
    listed = {path.resolve() for path in (*spec.image_paths(), *told)}
    there = sorted({folder / name for folder in folders for name in images_below(folder)})
    names = [path.relative_to(spec.root).as_posix() for path in there if path.resolve() not in listed]
    return Problem("not_annotated", [Place(name, "", "") for name in names])


def _doubled_ids(draft: UnvalidatedSplit) -> Problem:
    """Annotation ids that an earlier object has."""
    ids = draft.table.annotation_ids
    _, rows = renumber_duplicates(ids)
    return Problem("doubled_id", [draft.place(row) for row in rows.tolist()], ids[rows])


def _told_once(problems: dict[str, list[Problem]]) -> dict[str, list[Problem]]:
    """Without those that have no place, and without what was told of an earlier split: files of no image, which
    nobody can tell the split of."""
    seen: set[tuple[str, Place]] = set()
    told: dict[str, list[Problem]] = {}
    for split, found in problems.items():
        for problem in found:
            if not len(problem.ids) and KINDS[problem.kind].of != "class":
                new = [place for place in problem.places if (problem.kind, place) not in seen]
                seen.update((problem.kind, place) for place in new)
                problem = replace(problem, places=new)
            if problem.places:
                told.setdefault(split, []).append(problem)
    return told
