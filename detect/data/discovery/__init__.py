"""Annotations in a folder: their format, their images and, where paths name them, their splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath

from detect.data.discovery.image_folders import Source, source_of_file, sources_of_folders
from detect.data.discovery.recognition import (
    files_by_format,
    formats_of_images,
    incomplete_coco_files,
    tables_without_boxes,
)
from detect.data.discovery.same_content import Content, ContradictionError, best_content, prefer_usual_labels
from detect.data.discovery.unsupported import class_folders
from detect.data.file_listing import FileListing
from detect.data.readers import READERS, get_reader
from detect.data.readers.mask_pairs import without_masks
from detect.data.splits import split_from_path
from detect.errors import DataError, UsageError
from detect.text import first_few


@dataclass(frozen=True)
class Discovery:
    """What was discovered in a folder.

    Attributes:
        format: key of ``detect.data.readers.READERS``.
        sources: annotations with the folders of their images, at least one.
        classes: class names from a separate file, such as YOLO's data.yaml; None if the annotations name them.
        listing: all files of the folder.
        remark: what was found and not used, "" if everything is used.
    """

    format: str
    sources: list[Source]
    classes: tuple[str, ...] | None
    listing: FileListing
    remark: str = ""


def discover(folder: Path, format: str = "auto") -> Discovery:
    """Find the annotations in ``folder`` and its subfolders.

    format: which format to use when the folder holds several. With "auto", formats that say the same about the same
        images are compared, and the one with most images, else with masks, is used.
    Raises DataError when there are no annotations, and UsageError when there are several formats that differ and none
    is chosen, or when the chosen one is missing.
    """
    listing = FileListing.of(folder)
    files, errors = files_by_format(listing)
    if not any(get_reader(name).embeds_images for name in files):
        listing.check_has_images()
    if not files or format not in ("auto", *files):
        files |= formats_of_images(listing, format)
    if format != "auto" and format not in files:
        get_reader(format)  # raises for an unknown name
        found = f"; found {' and '.join(sorted(files))}" if files else _first_error(errors)
        raise UsageError(f"`format='{format}'`: {folder} has no annotations of this format{found}")
    if format == "auto" and not files:
        raise DataError(_why_no_annotations(errors, listing))
    names = sorted(files) if format == "auto" else [format]
    try:
        found_by_format = [_discover_format(name, files[name], errors, listing) for name in names]
        chosen, remark = _choose_format(found_by_format)
    except (DataError, ContradictionError) as problem:
        if len(names) == 1:
            raise
        raise UsageError(
            f"{_several_formats(names, files, listing)}; they cannot be used together: {problem}"
        ) from None
    return replace(chosen, remark=", ".join(filter(None, (chosen.remark, remark))))


def _discover_format(
    format: str, files: list[PurePosixPath], errors: dict[PurePosixPath, str], listing: FileListing
) -> Discovery:
    """Return the annotations of one format, whose files are ``files``."""
    reader, folder, remark = get_reader(format), listing.folder, ""
    images = without_masks(listing.images)
    if format == "yolo":
        files, remark = prefer_usual_labels(files, images)
    if reader.find_sources:
        sources = reader.find_sources(files, listing)
    elif reader.sample_image_names:
        _check_neighbors(folder, files, errors)
        sources = [
            source_of_file(file, reader.sample_image_names(folder / file), images) for file in _prefer_instances(files)
        ]
    else:
        sources = sources_of_folders(files, images)
    classes = reader.find_classes(listing) if reader.find_classes else None
    sources = sorted(sources, key=lambda s: (s.split or "", s.annotations))
    sources, note = _without_repetition(format, sources, classes, listing)
    return Discovery(format, sources, classes, listing, ", ".join(filter(None, (remark, note))))


def _without_repetition(
    format: str, sources: list[Source], classes: tuple[str, ...] | None, listing: FileListing
) -> tuple[list[Source], str]:
    """Return the sources without those that say the same as another one about the same images, and a remark.

    Raises DataError if annotations of the same images differ.
    """
    by_images: dict[tuple[PurePosixPath, str | None], list[Source]] = {}
    for source in sources:
        by_images.setdefault((source.images, source.split), []).append(source)
    kept, remarks = [], []
    for same in by_images.values():
        if len(same) > 1:
            contents = [Content.of(str(s.annotations), format, listing.folder, [s], classes) for s in same]
            try:
                best, reason = best_content(contents)
            except ContradictionError as problem:
                raise DataError(
                    f"{listing.folder} has several annotations for the same images or split: "
                    f"{first_few([s.annotations for s in same])}: {problem}; move all but one out of the folder, or "
                    "describe the splits in a YAML file"
                ) from None
            others = first_few([s.annotations for s in same if s is not same[best]])
            remarks.append(f"{same[best].annotations} is used instead of {others}, since it {reason}")
            same = [same[best]]
        kept += same
    return kept, ", ".join(remarks)


def _choose_format(found: Sequence[Discovery]) -> tuple[Discovery, str]:
    """Return the annotations to use of several formats, and why. Raises ContradictionError and DataError."""
    if len(found) == 1:
        return found[0], ""
    contents = [Content.of(one.format, one.format, one.listing.folder, one.sources, one.classes) for one in found]
    best, reason = best_content(contents)
    others = " and ".join(one.format for one in found if one is not found[best])
    return found[best], f"{found[best].format} is used instead of {others} of the same content, since it {reason}"


def _several_formats(names: Sequence[str], files: dict[str, list[PurePosixPath]], listing: FileListing) -> str:
    found = " and ".join(f"{name} ({files[name][0]})" for name in names)
    choices = " or ".join(f"`format='{name}'`" for name in names)
    return f"{listing.folder} holds {found}; choose one with {choices}"


def _why_no_annotations(errors: dict[PurePosixPath, str], listing: FileListing) -> str:
    supported = ", ".join(get_reader(name).title for name in READERS)
    hints = chain(incomplete_coco_files(listing), tables_without_boxes(listing), class_folders(listing))
    reason = _first_error(errors) or next((f"; {text}" for text in hints), "")
    return (
        f"no annotations in {listing.folder}, only images ({len(listing.images)}); supported are {supported}{reason}"
    )


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
