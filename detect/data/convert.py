"""Conversion of a dataset to another annotation format, with its images."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from detect import progress
from detect.data.exporters import get_exporter
from detect.data.exporters.exporter import ExportLoss
from detect.data.exporters.file_names import choose_names
from detect.data.table import Table
from detect.errors import DataError, UsageError
from detect.io.files import disk_errors_naming, make_folder
from detect.structures.class_names import ClassNames


def convert(
    parts: Mapping[str, Table],
    class_names: ClassNames,
    to: str,
    folder: Path,
    names: Mapping[str, Sequence[str]] | None = None,
    extra_files: Mapping[str, str] | None = None,
) -> list[ExportLoss]:
    """Write the splits ``parts`` into ``folder`` and return the information that the format cannot hold.

    Image files are copied unchanged. After an error ``folder`` is as before.

    to: key of ``detect.data.exporters.EXPORTERS``.
    folder: a new or empty folder.
    names: split -> new path of each image in its image folder, one per image. By default the exporter's choice.
    extra_files: {file name: text} to write into ``folder``.
    Raises UsageError for an unknown format, a folder that is not empty and a split name that cannot be a file name,
    DataError for an unreadable image, DiskError when the disk is full.
    """
    exporter = get_exporter(to)
    for split in parts:
        if PurePath(split).parts != (split,) or split.startswith("."):
            raise UsageError(f"the split name '{split}' cannot be the name of a folder; rename the split")
    names = choose_names(parts, exporter) if names is None else names
    with _filled_at_once(folder) as temporary:
        losses = exporter.write(temporary, parts, class_names, names)
        for name, text in (extra_files or {}).items():
            (temporary / name).write_text(text, encoding="utf-8")
        copies = {
            temporary / exporter.image_folder(split) / name: table.path(i)
            for split, table in parts.items()
            for i, name in zip(range(len(table)), names[split], strict=True)
        }
        for target, source in progress.bar(copies.items(), desc="copying images"):
            _copy(source, target)
    return losses


@contextmanager
def _filled_at_once(folder: Path) -> Iterator[Path]:
    """Give a temporary folder whose content becomes that of ``folder`` if the block ends without an error."""
    exists = folder.is_dir()
    if folder.exists() and not exists:
        raise UsageError(f"{folder} is not a folder; name a new one")
    if exists and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; name a new one")
    # An existing folder may be a mounted disk, so the temporary folder goes inside.
    parent = make_folder(folder if exists else folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
    try:
        with disk_errors_naming(folder):
            temporary.chmod(0o755)  # mkdtemp makes it accessible only to its owner
            yield temporary
            if exists:
                for entry in list(temporary.iterdir()):
                    entry.rename(folder / entry.name)
            else:
                temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    try:
        with source.open("rb"):
            pass
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
