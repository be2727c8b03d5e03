"""Annotations in a folder: their format, their images and, where paths name them, their splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from detect.data.discovery.image_folders import Source, source_of_file, sources_of_folders
from detect.data.discovery.recognition import files_by_format, incomplete_coco_files, tables_without_boxes
from detect.data.file_listing import FileListing
from detect.data.readers import READERS, get_reader
from detect.data.splits import split_from_path
from detect.errors import DataError, UsageError


@dataclass(frozen=True)
class Discovery:
    """What was discovered in a folder.

    Attributes:
        format: key of ``detect.data.readers.READERS``.
        sources: annotations with the folders of their images, at least one.
        classes: class names from a separate file, such as YOLO's data.yaml; None if the annotations name them.
        listing: all files of the folder.
    """

    format: str
    sources: list[Source]
    classes: tuple[str, ...] | None
    listing: FileListing


def discover(folder: Path, format: str = "auto") -> Discovery:
    """Find the annotations in ``folder`` and its subfolders.

    format: which format to use when the folder holds several. Raises DataError when there are no annotations, and
    UsageError when there are several formats and none is chosen, or when the chosen one is missing.
    """
    listing = FileListing.of(folder)
    files, errors = files_by_format(listing)
    if not any(get_reader(name).embeds_images for name in files):
        listing.check_has_images()
    if format == "auto":
        format = _only_format(files, errors, listing)
    elif format not in files:
        get_reader(format)  # raises for an unknown name
        found = f"; found {' and '.join(sorted(files))}" if files else _first_error(errors)
        raise UsageError(f"`format='{format}'`: {folder} has no annotations of this format{found}")
    reader = get_reader(format)
    if reader.find_sources:
        sources = reader.find_sources(files[format], listing)
    elif reader.sample_image_names:
        _check_neighbors(folder, files[format], errors)
        sources = [
            source_of_file(file, reader.sample_image_names(folder / file), listing.images)
            for file in _prefer_instances(files[format])
        ]
    else:
        sources = sources_of_folders(files[format], listing.images)
    classes = reader.find_classes(listing) if reader.find_classes else None
    return Discovery(format, sorted(sources, key=lambda s: (s.split or "", s.annotations)), classes, listing)


def _only_format(files: dict[str, list[PurePosixPath]], errors: dict[PurePosixPath, str], listing: FileListing) -> str:
    if len(files) > 1:
        found = " and ".join(f"{name} ({paths[0]})" for name, paths in sorted(files.items()))
        choices = " or ".join(f"`format='{name}'`" for name in sorted(files))
        raise UsageError(f"{listing.folder} holds {found}; choose one with {choices}")
    if not files:
        supported = ", ".join(get_reader(name).title for name in READERS)
        hints = chain(incomplete_coco_files(listing), tables_without_boxes(listing))
        reason = _first_error(errors) or next((f"; {text}" for text in hints), "")
        raise DataError(
            f"no annotations in {listing.folder}, only images ({len(listing.images)}); supported are {supported}"
            f"{reason}"
        )
    return next(iter(files))


def _first_error(errors: dict[PurePosixPath, str]) -> str:
    return "".join(f"; {name} cannot be read: {error}" for name, error in list(errors.items())[:1])


def _check_neighbors(folder: Path, files: Sequence[PurePosixPath], errors: dict[PurePosixPath, str]) -> None:
    """Raise DataError for an unreadable file that may hold the annotations of another split."""
    folders = {file.parent for file in files}
    for name, error in errors.items():
        if name.suffix == files[0].suffix and (name.parent in folders or split_from_path(name)):
            raise DataError(f"{folder / name} cannot be read: {error}; repair the file, or move it out of the folder")


def _prefer_instances(files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Return the files instances_*.json of each folder; of a folder without such files, all its files.

    COCO's own folders also hold files of the same format with key points.
    """
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = {}
    for file in files:
        by_folder.setdefault(file.parent, []).append(file)
    return [
        file for same in by_folder.values() for file in [f for f in same if f.name.startswith("instances_")] or same
    ]
