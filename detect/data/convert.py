"""A dataset in another format, with its images: all of it or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from detect import progress
from detect.data.exporters import EXPORTERS
from detect.data.exporters.annotated_images import ExportLoss
from detect.data.exporters.file_names import choose_names
from detect.data.table import Table
from detect.errors import DataError, UsageError
from detect.io.files import disk_errors_naming, make_folder
from detect.structures.class_names import ClassNames
from detect.text import unknown


def convert(
    parts: Mapping[str, Table],
    class_names: ClassNames,
    to: str,
    folder: Path,
    names: Mapping[str, Sequence[str]] | None = None,
    beside: Mapping[str, str] | None = None,
) -> list[ExportLoss]:
    """Write the splits ``parts`` in the format ``to`` into the new or empty ``folder``, and copy their images byte
    for byte. Returns what the format cannot hold.

    names: of the images in the new dataset, see ``exporters``; chosen where not given.
    beside: further text files by their names.
    Raises UsageError for an unknown format, a folder that holds something and a split that cannot name one, DataError
    for an image that cannot be read, DiskError where the disk is full. Then ``folder`` is as before.
    """
    if to not in EXPORTERS:
        raise UsageError(unknown("format", to, EXPORTERS))
    for split in parts:
        if PurePath(split).parts != (split,) or split.startswith("."):
            raise UsageError(f"the split '{split}' cannot name a folder or a file; rename it")
    exporter = EXPORTERS[to]
    names = choose_names(parts, exporter) if names is None else names
    with _filled(folder) as temporary:
        found = exporter.write(temporary, parts, class_names, names)
        for name, text in (beside or {}).items():
            (temporary / name).write_text(text, encoding="utf-8")
        copies = {
            temporary / exporter.images(split) / name: table.path(i)
            for split, table in parts.items()
            for i, name in zip(range(len(table)), names[split], strict=True)
        }
        for target, source in progress.bar(copies.items(), desc="copying images"):
            _copy(source, target)
    return found


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """A temporary folder whose content becomes ``folder``'s when the block ends well."""
    there = folder.is_dir()
    if folder.exists() and not (there and not any(folder.iterdir())):
        raise UsageError(f"{folder} {'is not empty' if there else 'is not a folder'}; name a new one")
    # In the folder itself where there is one, which may be a disk of its own.
    parent = make_folder(folder if there else folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
    try:
        with disk_errors_naming(folder):
            temporary.chmod(0o755)  # mkdtemp makes it private
            yield temporary
            if there:
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
