"""Which annotation format each file of a folder has."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from detect.data.discovery.unsupported import unsupported_suffixes, why_unsupported
from detect.data.file_listing import FileListing
from detect.data.image_names import comparable
from detect.data.readers import READERS, get_reader
from detect.data.readers.csv_layout import EXAMPLE_HEADER, why_unclear
from detect.data.readers.reader import AnnotationFile

_COCO_KEYS = ("images", "annotations", "categories")
_EXAMINED = 100  # files per folder and suffix, evenly spaced, and as many of the largest


def files_by_format(listing: FileListing) -> tuple[dict[str, list[PurePosixPath]], dict[PurePosixPath, str]]:
    """Return the annotation files of each format, and the error of each file that looks like annotations but is not.

    In a folder with many files of one suffix only some are examined; the others count as the most frequent format.
    """
    files: dict[str, list[PurePosixPath]] = {}
    errors: dict[PurePosixPath, str] = {}
    unmatched: dict[PurePosixPath, str] = {}
    image_names = {comparable(image.name) for image in listing.images}
    for suffix in (*_suffixes(), *unsupported_suffixes(listing)):
        by_folder = defaultdict(list)
        for name in listing.files.get(suffix, []):
            by_folder[name.parent].append(name)
        for names in by_folder.values():
            for name, found in _formats_in_folder(listing.folder, names, errors):
                if comparable(name.stem) in image_names or not get_reader(found).needs_matching_image:
                    files.setdefault(found, []).append(name)
                else:
                    unmatched.setdefault(name, f"no image has the same name, as {get_reader(found).title} need")
    return files, errors or ({} if files else unmatched)


def formats_of_images(listing: FileListing, format: str) -> dict[str, list[PurePosixPath]]:
    """Return the formats whose annotations are images, with the folders of the annotations; all, or the given one.

    format: "auto" or the name of a format.
    Raises DataError for images that look like annotations but cannot be used.
    """
    found = {}
    for name in READERS:
        reader = get_reader(name)
        if format in ("auto", name) and reader.find_sources and not reader.suffixes:
            found[name] = [source.annotations for source in reader.find_sources((), listing)]
    return {name: folders for name, folders in found.items() if folders}


def _suffixes() -> list[str]:
    return list(dict.fromkeys(suffix for name in READERS for suffix in get_reader(name).suffixes))


def _formats_in_folder(
    folder: Path, names: list[PurePosixPath], errors: dict[PurePosixPath, str]
) -> list[tuple[PurePosixPath, str]]:
    """Return the files of one folder and suffix whose format is known, with their format. Adds to ``errors``."""
    examined = {name: _format_or_error(folder, name, errors) for name in _examined_files(folder, names)}
    usual = max(filter(None, examined.values()), key=list(examined.values()).count, default="")
    return [(name, found) for name in names if (found := examined.get(name, usual))]


def _examined_files(folder: Path, names: list[PurePosixPath]) -> list[PurePosixPath]:
    """Return all of a few files; of many, evenly spaced ones and the largest, one of which may describe all images."""
    if len(names) <= 2 * _EXAMINED:
        return names
    largest = sorted(names, key=lambda name: (folder / name).stat().st_size)[-_EXAMINED:]
    return [*names[:: len(names) // _EXAMINED], *largest]


def _format_or_error(folder: Path, name: PurePosixPath, errors: dict[PurePosixPath, str]) -> str:
    """Return the format of a file, "" for none. A file that cannot be parsed is added to ``errors``."""
    try:
        return recognize_format(folder / name)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        errors[name] = str(error)
        return ""


def recognize_format(path: Path) -> str:
    """Return the name of the first reader that recognizes a file, "" for other content.

    Raises OSError or ValueError for a file that cannot be parsed and for known formats that no reader supports.
    """
    file = AnnotationFile(path)
    for name in READERS:
        reader = get_reader(name)
        if file.suffix in reader.suffixes and reader.recognize(file):
            return name
    if reason := _unsupported(file):
        raise ValueError(reason)
    return ""


def _unsupported(file: AnnotationFile) -> str:
    """Return the reason why a file of a known but unsupported annotation format cannot be read, "" for other files."""
    return why_unclear(file.first_line) if file.suffix in (".csv", ".tsv") else why_unsupported(file)


def tables_without_boxes(listing: FileListing) -> Iterator[str]:
    """Yield a message for each CSV file, which may hold anything, with the columns that a file of boxes needs."""
    for name in (*listing.files.get(".csv", ()), *listing.files.get(".tsv", ())):
        yield f"the header line of {name} names no columns such as {EXAMPLE_HEADER}"


def incomplete_coco_files(listing: FileListing) -> Iterator[str]:
    """Yield a message with the missing keys for each JSON file that has some keys of COCO, but not all.

    COCO itself publishes such files (captions, image lists), so they are an error only without other annotations.
    """
    for name in listing.files.get(".json", [])[:_EXAMINED]:
        try:
            content = msgspec.json.decode((listing.folder / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        missing = [f"'{key}'" for key in _COCO_KEYS if not isinstance(content, dict) or key not in content]
        if 0 < len(missing) < len(_COCO_KEYS):
            yield f"{name} lacks {' and '.join(missing)}, which COCO JSON requires"
