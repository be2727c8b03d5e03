"""Functions that read annotations as every program does, also when most of them are invalid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.data.validation.cleaning import clean
from detect.structures.class_names import ClassNames


def spec_of(format: str, images: Path, annotations: Path, classes: Sequence[str] | None = None) -> DatasetSpec:
    """Return a dataset with the split train."""
    split = {"images": str(images), "annotations": str(annotations)}
    return DatasetSpec("set", format, Path(), {"train": split}, tuple(classes) if classes else None)


def read_split(
    format: str, images: Path, annotations: Path, classes: Sequence[str] | None = None
) -> tuple[ClassNames, Table]:
    """Return the classes and the records of one split in the given format."""
    return spec_of(format, images, annotations, classes).read("train", lenient=True)


def read_problems(
    format: str, images: Path, annotations: Path, classes: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """Return the problems of one split as pairs (kind, location)."""
    _, problems = clean(spec_of(format, images, annotations, classes).select("train")[1])
    return [(problem.kind, str(location)) for problem in problems for location in problem.locations]
