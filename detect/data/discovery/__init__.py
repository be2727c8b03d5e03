"""What lies in a folder: the format of its annotations, the images they are of, and the splits."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from detect.data.discovery import yolo_names
from detect.data.discovery.listing import Listing
from detect.data.discovery.sources import Source, of_file, of_folders
from detect.data.readers import ONE_FILE_FORMATS
from detect.data.splits import split_from_path
from detect.errors import DataError, UsageError
from detect.text import first_few

_NAMES = re.compile(rb'"file_?name"\s*:\s*("(?:[^"\\]|\\.)*")')
_LOOKED_AT = 200


@dataclass(frozen=True)
class Found:
    """form: a key of READERS.  sources: one a split or more.  classes: where the format does not list them itself.
    listing: all files of the folder."""

    form: str
    sources: list[Source]
    classes: tuple[str, ...] | None
    listing: Listing


def discover(folder: Path, form: str = "auto") -> Found:
    """The annotations in ``folder`` and below it.

    form: a format, where several are there. Raises DataError where nothing is found, UsageError where several
    formats are and none is chosen.
    """
    listing = Listing.of(folder)
    files = _by_format(listing)
    if form == "auto":
        form = _only(files, listing)
    elif form not in files:
        there = f"; there is {' and '.join(sorted(files))}" if files else _broken(listing)
        raise UsageError(f"--format {form}: nothing in {folder} is of this format{there}")
    if form in ONE_FILE_FORMATS:
        for name, problem in listing.broken.items():
            # It may well be the one of another split.
            beside = name.parent in {file.parent for file in files[form]}
            if name.suffix == files[form][0].suffix and (beside or split_from_path(name)):
                raise DataError(f"{folder / name} cannot be read: {problem}; mend it, or move it out of the way")
        sources = [of_file(file, _names(folder / file), listing.images) for file in _wanted(files[form])]
    else:
        sources = of_folders(files[form], listing.images)
    classes = yolo_names.find(listing) if form == "yolo" else None
    return Found(form, sorted(sources, key=lambda s: (s.split or "", s.annotations)), classes, listing)


def _by_format(listing: Listing) -> dict[str, list[PurePosixPath]]:
    files: dict[str, list[PurePosixPath]] = {}
    stems = {image.stem for image in listing.images}
    for suffix in (".json", ".xml", ".csv", ".txt"):
        for name, form in listing.holding(suffix):
            if form != "yolo" or name.stem in stems:  # of numbers there are other texts too
                files.setdefault(form, []).append(name)
    return files


def _only(files: dict[str, list[PurePosixPath]], listing: Listing) -> str:
    if len(files) > 1:
        both = " and ".join(f"{form} ({names[0]})" for form, names in sorted(files.items()))
        raise UsageError(f"{listing.folder} holds {both}; say which to take: --format {'|'.join(sorted(files))}")
    if not files:
        raise DataError(
            f"no annotations found in {listing.folder} beside {len(listing.images)} images "
            f"(looked for COCO, VIA and labelme JSON, VOC XML, YOLO text files, CSV){_broken(listing)}"
        )
    return next(iter(files))


def _broken(listing: Listing) -> str:
    return "".join(f"; {name} cannot be read: {problem}" for name, problem in islice(listing.broken.items(), 1))


def _wanted(files: list[PurePosixPath]) -> list[PurePosixPath]:
    """Without COCO's key points and the like where its instances lie beside them."""
    beside: dict[PurePosixPath, list[PurePosixPath]] = {}
    for file in files:
        beside.setdefault(file.parent, []).append(file)
    instances = {folder: [f for f in same if f.name.startswith("instances_")] for folder, same in beside.items()}
    return [file for folder, same in beside.items() for file in instances[folder] or same]


def _names(file: Path) -> Iterator[str]:
    """Some of the file names in an annotation file, found without reading all of it."""
    if file.suffix.lower() == ".csv":
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            for line in islice(lines, _LOOKED_AT):
                yield from (cell.strip().strip('"') for cell in re.split("[,;]", line))
        return
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for match in islice(_NAMES.finditer(text), _LOOKED_AT):
            try:
                yield json.loads(match[1])
            except ValueError:  # no UTF-8; said when the file is read
                continue


def several(sources: list[Source], folder: Path) -> DataError:
    """The error for sources of which one alone can be taken."""
    listed = first_few([str(source.annotations) for source in sources])
    return DataError(
        f"{folder} has annotations in several places, and nothing says which are for what: {listed}; give a "
        "folder with one of them, or describe the splits in a YAML file"
    )
