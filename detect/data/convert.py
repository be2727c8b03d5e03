"""Conversion of a dataset to another annotation format, with its images."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePath

from detect import progress
from detect.data.exporters import get_exporter
from detect.data.exporters.file_names import choose_names
from detect.data.exporters.table_rows import export_of
from detect.data.table import Table
from detect.errors import DataError, UsageError
from detect.io.files import disk_errors_naming, filled_folder, make_folder
from detect.structures.class_names import ClassNames


def convert(
    parts: Mapping[str, Table],
    class_names: ClassNames,
    to: str,
    folder: Path,
    names: Mapping[str, Sequence[str]] | None = None,
    extra_files: Mapping[str, str] | None = None,
    copy: Callable[[Path, Path], None] | None = None,
) -> dict[str, int]:
    """Write the splits ``parts`` into ``folder`` and return what was lost: {plural noun: number of cases}.

    The nouns name information that the format cannot hold, such as "masks".
    Image files are copied unchanged by default. After an error ``folder`` is as before.

    to: key of ``detect.data.exporters.EXPORTERS``.
    folder: a new or empty folder.
    names: split -> new path of each image in its image folder, one per image. By default the exporter's choice.
    extra_files: {file name: text} to write into ``folder``.
    copy: function that writes an image; by default the file is copied.
    Raises UsageError for an unknown format, a folder that is not empty and a split name that cannot be a file name,
    DataError for an unreadable image, DiskError when the disk is full.
    """
    exporter = get_exporter(to)
    for split in parts:
        if PurePath(split).parts != (split,) or split.startswith("."):
            raise UsageError(f"the split name '{split}' cannot be the name of a folder; rename the split")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; name a new one")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; name a new one")
    make_folder(folder if folder.is_dir() else folder.parent)
    names = choose_names(parts, exporter) if names is None else names
    export = export_of(parts, class_names, names)
    texts: Iterable[tuple[str, Iterable[str]]] = ((name, [text]) for name, text in (extra_files or {}).items())
    with disk_errors_naming(folder), filled_folder(folder) as temporary:
        for name, pieces in chain(exporter.files(export), texts):
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8") as file:
                file.writelines(pieces)
        copies = {
            temporary / exporter.image_folder(split) / name: table.path(i)
            for split, table in parts.items()
            for i, name in enumerate(names[split])
        }
        for target, source in progress.bar(copies.items(), desc="copying images"):
            target.parent.mkdir(parents=True, exist_ok=True)
            (copy or copy_image)(source, target)
    return dict(export.losses)


def copy_image(source: Path, target: Path) -> None:
    """Copy an image file unchanged. Raises DataError if it cannot be read."""
    try:
        with source.open("rb"):
            pass
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}") from None
    shutil.copyfile(source, target)
