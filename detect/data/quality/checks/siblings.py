"""Images of different splits that come from the same image or video, by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from detect.data.near_duplicates import fingerprint_signatures
from detect.data.siblings import sibling_leaks
from detect.data.table import Table
from detect.data.validation.annotations import Finding
from detect.data.validation.cleaning import image_problem
from detect.data.validation.problems import Problem
from detect.media.fingerprint import Fingerprint
from detect.text import counted

_ORDER = ("train", "val", "test")


def check_siblings(
    tables: Mapping[str, Table], fingerprints: Mapping[str, Sequence[Fingerprint]]
) -> Iterator[tuple[str, Problem]]:
    """Yield for each split the images with a sibling in an earlier split; train is compared with first.

    fingerprints: one per image of each table.
    """
    names = {split: list(tables[split].names) for split in sorted(tables, key=_position)}
    vectors = {split: fingerprint_signatures(fingerprints[split]) for split in names}
    for split, leaks in sibling_leaks(names, vectors).items():
        pairs = [(leak.row, f"{leak.sibling} in {leak.split}") for leak in leaks]
        yield split, image_problem(tables[split], Finding.of_pairs("sibling_leak", pairs))


def describe_leak(train: Table, val: Table) -> str:
    """Return one line if images of ``val`` are in ``train`` or have a sibling there, "" otherwise."""
    if train.folder == val.folder and (both := set(train.names) & set(val.names)):
        are = "is" if len(both) == 1 else "are"
        return (
            f"{len(both)} of {counted(len(val), 'val image')} {are} in train too (such as {min(both)}), so that the"
            " metrics on val are too high"
        )
    leaks = sibling_leaks({"train": list(train.names), "val": list(val.names)})["val"]
    if not leaks:
        return ""
    have = "has" if len(leaks) == 1 else "have"
    example = f"{val.names[leaks[0].row]} and {leaks[0].sibling}"
    return (
        f"{len(leaks)} of {counted(len(val), 'val image')} {have} a copy or another frame of the same source in train"
        f" (such as {example}), so that the metrics on val are too high"
    )


def _position(split: str) -> int:
    return _ORDER.index(split) if split in _ORDER else len(_ORDER)
