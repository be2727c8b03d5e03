"""A folder as a dataset with the splits train, val and test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from detect.data.discovery import Discovery, discover
from detect.data.discovery.image_folders import Source, merge_sources
from detect.data.discovery.split_groups import split_groups
from detect.data.file_listing import is_file
from detect.data.image_names import match_names
from detect.data.readers import get_reader
from detect.data.spec import DatasetSpec
from detect.data.splits import SPLIT_FRACTIONS, read_splits, split_at_random, split_from_path, write_splits
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.data.validation.cleaning import usable_images
from detect.errors import DataError, DiskError
from detect.progress import warn
from detect.text import counted, first_few

SPLITS_FILE = "splits.yaml"
_POOL = "train"  # the split of images that no file or name assigns to a split, which may be split further

Part = dict[str, Any]  # one split as in datasets/NAME.yaml: images, annotations and optionally files


def spec_of_folder(
    folder: Path, format: str, fallback: Path, *, save_splits: bool = True, draw_splits: bool = True
) -> DatasetSpec:
    """Return the dataset in ``folder``.

    Files in the folder may declare the splits; if none does, the names of files and folders decide. If there is no
    validation split, one is drawn at random from the training images and saved, so that it stays the same.

    format: as in ``discover``.
    fallback: file for the random splits when the folder is not writable.
    save_splits: whether to save random splits. Without, they are the same next time only if the folder is unchanged.
    draw_splits: whether to draw random splits if none are saved. Without, all images are in train.
    Raises what ``discover`` raises, and DataError when there are too few images to split.
    """
    found = discover(folder, format)
    spec = DatasetSpec(folder.resolve().name, found.format, folder, {}, found.classes)
    splits, how = _declared_splits(spec, found) or _splits_from_paths(found)
    splits_file = None
    if "val" not in splits and _POOL in splits:  # a folder with only a test split stays as it is
        spec = replace(spec, splits={_POOL: splits[_POOL]})
        missing = [split for split in SPLIT_FRACTIONS if split not in splits or split == _POOL]
        drawn, how_drawn, splits_file = _draw_splits(spec, missing, fallback, save=save_splits, draw=draw_splits)
        splits = {**splits, **drawn}
        how = ", ".join(filter(None, (how, f"{' and '.join(missing[1:])} {how_drawn}")))
    splits = {split: splits[split] for split in SPLIT_FRACTIONS if split in splits}
    sources = dict.fromkeys(f"{s.annotations}, images in {s.images}" for s in found.sources)
    note = f"{folder}: {found.format} ({first_few(sources, 3)}); splits {', '.join(splits)}: {how}"
    note += found.remark and f"; {found.remark}"
    return replace(spec, splits=splits, discovery_note=note, splits_file=splits_file)


def _part(source: Source) -> Part:
    return {"images": str(source.images), "annotations": str(source.annotations)}


def _declared_splits(spec: DatasetSpec, found: Discovery) -> tuple[dict[str, Part], str] | None:
    """Return splits that files declare or the folders of the images name, and which of the two; None without any."""
    reader = get_reader(found.format)
    source = found.sources[0] if len(found.sources) == 1 else None
    if source is None and not reader.one_file_per_split:
        source = merge_sources(found.sources)
    if source is None:
        return None
    names = list(replace(spec, splits={_POOL: _part(source)}).read_unvalidated(_POOL).table.names)
    declared = reader.declared_splits(names, source.images, found.listing) if reader.declared_splits else {}
    if declared := {split: files for split, files in declared.items() if files}:
        how = f"from {reader.splits_source}"
    else:
        declared, how = _splits_from_image_folders(names), "from the names of the image folders"
        if len(declared) < 2:
            return None
    if num_unused := len(names) - len(set().union(*declared.values())):
        how += f", {counted(num_unused, 'image')} in no split"
    return {split: {**_part(source), "files": sorted(files)} for split, files in declared.items()}, how


def _splits_from_image_folders(names: Sequence[str]) -> dict[str, set[str]]:
    members = defaultdict(set)
    for name in names:
        if split := split_from_path(PurePosixPath(name).parent):
            members[split].add(name)
    return dict(members)


def _splits_from_paths(found: Discovery) -> tuple[dict[str, Part], str]:
    """Return the splits that the paths of the sources name, and how; sources without a split become the pool."""
    by_split = defaultdict(list)
    for source in found.sources:
        by_split[source.split].append(source)
    without_split = by_split.pop(None, [])
    if without_split and _POOL not in by_split:
        by_split[_POOL] = without_split  # such as all.json beside test.json
    elif without_split:
        paths = first_few([str(source.annotations) for source in without_split])
        warn(f"{found.listing.folder}: ignored annotations that no name assigns to a split: {paths}")
    for same_split in by_split.values():
        if len(same_split) > 1:
            paths = first_few([str(source.annotations) for source in same_split])
            raise DataError(
                f"{found.listing.folder} has several annotations for the same images or split: {paths}; use a folder "
                "with one of them, or describe the splits in a YAML file"
            )
    how = "" if without_split and len(by_split) == 1 else "from the names of files and folders"
    return {split: _part(same_split[0]) for split, same_split in by_split.items() if split}, how


def _draw_splits(
    spec: DatasetSpec, splits: list[str], fallback: Path, *, save: bool, draw: bool
) -> tuple[dict[str, Part], str, Path | None]:
    """Divide the pool into ``splits``, as saved before or at random; without ``draw``, only as saved before.

    Images that are skipped when they are read, such as those without a file, stay in the pool.
    Returns the splits, how they were made (for a message), and the file that holds them, None without one.
    """
    part = spec.splits[_POOL]
    pool = spec.read_unvalidated(_POOL)
    names = part.get("files") or list(pool.table.names)
    if len(names) == 1:
        return {_POOL: part}, "not drawn, since there is 1 image", None
    paths = (spec.root / SPLITS_FILE, fallback)
    for path in paths:
        if (saved := read_splits(path)) is not None:
            return _parts_of(part, names, saved, splits, path), f"from {path}", path
    if not draw:
        return {_POOL: part}, "not drawn", None
    missing = len(names) - len(_with_file(pool, names))
    is_usable = zip(pool.table.names, usable_images(pool).tolist(), strict=True)
    usable = {name for name, usable in is_usable if usable}.intersection(names)
    if len(usable) < min(2, len(names)):
        reason = f"{missing} of {len(names)} image files are missing" if missing else "fewer than 2 images are usable"
        return {_POOL: part}, f"not drawn, since {reason}", None
    drawn, together = _draw_at_random(pool, usable, splits)
    together = together and f" ({together})"
    if not save or missing > len(names) / 2:  # then reading the pool is an error: see ``cleaning.warnings_of``
        return _parts_of(part, names, drawn, splits, spec.root), f"drawn at random{together}", None
    for path in paths:
        try:
            write_splits(path, drawn)
            return _parts_of(part, names, drawn, splits, path), f"drawn at random{together} and saved in {path}", path
        except DiskError as error:
            problem = error
    raise problem


def _parts_of(
    part: Part, names: list[str], saved: dict[str, list[str]], splits: list[str], path: Path
) -> dict[str, Part]:
    """Divide the images of ``part`` into the ``saved`` splits. Images that no saved split lists go to training.

    Names that other folders or suffixes changed are matched. Listed images that no longer exist are left out, with a
    warning. Raises DataError if these are more than half of the listed images.

    path: file of the saved splits, for messages.
    """
    existing, every = set(names), set().union(*saved.values())
    found = match_names(sorted(every - existing), sorted(existing - every))
    saved = {split: [found.get(name, name) for name in files] for split, files in saved.items()}
    listed = {split: [name for name in files if name in existing] for split, files in saved.items()}
    gone = sorted(set().union(*saved.values()) - existing)
    if len(gone) > len(every) / 2:
        raise DataError(
            f"{path} was made for another version of the folder: of the {counted(len(every), 'image')} that it lists, "
            f"{len(gone)} are not annotated here ({first_few(gone, 3)}); delete the file to split again"
        )
    if gone:
        warn(f"{path}: no annotations any more for {counted(len(gone), 'listed image')}: {first_few(gone)}")
    for split in [split for split in listed if split not in splits]:
        images = counted(len(listed.pop(split)), "image")
        warn(f"{path}: ignored the split '{split}' ({images}), because the folder has another split of that name")
    rest = existing.difference(*saved.values())
    for split, files in ((_POOL, rest), ("val", listed.get("val"))):
        if not files:
            raise DataError(f"{path} leaves no image for {split}; edit it, or delete it to split again")
    pool = {**part, "files": sorted(rest), "drawn_from": len(names)}
    return {_POOL: pool, **{split: {**part, "files": files} for split, files in listed.items() if files}}


def _with_file(pool: UnvalidatedSplit, names: Sequence[str]) -> set[str]:
    """Return those of the image ``names`` whose file exists."""
    chosen = set(names)
    return {n for i, n in enumerate(pool.table.names) if n in chosen and is_file(pool.table.path(i))}


def _draw_at_random(pool: UnvalidatedSplit, names: set[str], splits: list[str]) -> tuple[dict[str, list[str]], str]:
    """Return the image names of each split except the first, which gets all others, and what is kept together."""
    table = pool.table.take_images(np.array([i for i, n in enumerate(pool.table.names) if n in names], np.int64))
    if len(table) < 2:
        skipped = f"; skipped: {first_few([entry.location for entry in pool.skipped], 2)}" if pool.skipped else ""
        images = counted(len(table), "image")
        raise DataError(f"{pool.annotations} describes {images}; train and val need at least 2{skipped}")
    counts = np.zeros((len(table), len(pool.names)), np.int64)
    np.add.at(counts, (table.images, table.labels - 1), 1)
    groups, together = split_groups(list(table.names), [table.path(i) for i in range(len(table))])
    split = split_at_random(counts, groups, {split: SPLIT_FRACTIONS[split] for split in splits})
    members = {
        name: [n for n, of in zip(table.names, split, strict=True) if splits[of] == name] for name in splits[1:]
    }
    return {split: sorted(files) for split, files in members.items() if files}, together
