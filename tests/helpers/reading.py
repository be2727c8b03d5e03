"""Annotations read as every script reads them, however much of them is of no use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.structures.class_names import ClassNames


def read_split(
    form: str, images: Path, annotations: Path, classes: Sequence[str] | None = None
) -> tuple[ClassNames, Table]:
    """The classes and records of one split in the format ``form``."""
    split = {"images": str(images), "annotations": str(annotations)}
    spec = DatasetSpec("set", form, Path(), {"train": split}, tuple(classes) if classes else None)
    return spec.read("train", lenient=True)
