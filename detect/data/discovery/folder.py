"""A folder as a dataset: what was found in it, divided into train, val and test."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from detect.data.discovery import Found, discover, several, yolo_names
from detect.data.discovery.sources import Source, joined
from detect.data.discovery.yolo_names import read_lines
from detect.data.quality.near_duplicates import groups_alike, signatures, united
from detect.data.readers import ONE_FILE_FORMATS
from detect.data.readers.folders import stem
from detect.data.spec import DatasetSpec
from detect.data.splits import SPLIT_FRACTIONS, read_splits, split_at_random, split_from_path, write_splits
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.errors import DataError, DiskError
from detect.media.fingerprint import look_at_all
from detect.progress import warn
from detect.text import first_few

KEPT = "splits.yaml"
_VOC_LISTS = {"train.txt": "train", "trainval.txt": "train", "val.txt": "val", "test.txt": "test"}
_OF_A_CLASS = re.compile(r"\s+-?[01]$")  # whether an image shows the class that a list is of
_POOL = "train"  # what lacks a split yet, or is divided
Part = dict[str, Any]  # of a split: images, annotations, files, as in datasets/NAME.yaml


def spec_of_folder(folder: Path, form: str, elsewhere: Path, keep: bool = True) -> DatasetSpec:
    """The dataset in ``folder``, its splits as files there declare them, else as the names of folders and files tell,
    else dealt out at random and kept in the folder, or in the file ``elsewhere`` where it cannot be written to.

    keep: whether splits are kept; they come out the same next time while nothing in the folder changes.
    Raises what ``discover`` raises, and DataError where there is too little to deal out.
    """
    found = discover(folder, form)
    spec = DatasetSpec(folder.resolve().name, found.form, folder, {}, found.classes)
    splits, how = _declared(spec, found) or _named(found)
    if "val" not in splits and _POOL in splits:  # and not where a test set lies alone
        spec = replace(spec, splits={_POOL: splits[_POOL]})
        missing = [split for split in SPLIT_FRACTIONS if split not in splits or split == _POOL]
        dealt, kept = _dealt_out(spec, missing, elsewhere, keep)
        splits, how = {**splits, **dealt}, ", ".join(filter(None, (how, f"{' and '.join(missing[1:])} {kept}")))
    splits = {split: splits[split] for split in SPLIT_FRACTIONS if split in splits}
    places = dict.fromkeys(f"{s.annotations}, images in {s.images}" for s in found.sources)
    where = f"{found.form} ({first_few(places, 3)})"
    return replace(spec, splits=splits, discovery_note=f"{folder}: {where}; {', '.join(splits)}: {how}")


def _part(source: Source) -> Part:
    return {"images": str(source.images), "annotations": str(source.annotations)}


def _declared(spec: DatasetSpec, found: Found) -> tuple[dict[str, Part], str] | None:
    """The splits that a file declares or that the images' own folders tell, and which; None where nothing does."""
    source = found.sources[0] if len(found.sources) == 1 else None
    if source is None and found.form not in ONE_FILE_FORMATS:
        source = joined(found.sources)
    if source is None:
        return None
    names = _read_names(spec, source)
    for declare, how in _DECLARING.items():
        members = {split: sorted(files) for split, files in declare(names, source, found).items() if files}
        if members and (len(members) > 1 or how != _BY_FOLDERS):
            left = len(names) - len(set().union(*members.values()))
            aside = f", which leave {left} images out" if left else ""
            return {split: {**_part(source), "files": files} for split, files in members.items()}, how + aside
    return None


def _read_names(spec: DatasetSpec, source: Source) -> list[str]:
    return list(replace(spec, splits={_POOL: _part(source)}).read_unvalidated(_POOL).table.names)


def _named(found: Found) -> tuple[dict[str, Part], str]:
    """The splits that the sources are named after; a single source that is not is the pool."""
    by_split = defaultdict(list)
    for source in found.sources:
        by_split[source.split].append(source)
    strangers = by_split.pop(None, [])
    if strangers and _POOL not in by_split:
        by_split[_POOL] = strangers  # such as all.json beside test.json
    elif strangers:
        aside = first_few([str(source.annotations) for source in strangers])
        warn(f"{found.listing.folder}: left aside is what no split is named by: {aside}")
    for same in by_split.values():
        if len(same) > 1:
            raise several(same, found.listing.folder)
    how = "" if strangers and len(by_split) == 1 else "by their names"
    return {split: _part(same[0]) for split, same in by_split.items() if split}, how


def _listed_by_voc(names: list[str], source: Source, found: Found) -> dict[str, set[str]]:
    """ImageSets/Main/train.txt and its like, lists of names without suffix; in Layout and Segmentation are parts."""
    if found.form != "voc":
        return {}
    texts = [name for name in found.listing.files.get(".txt", ()) if "ImageSets" in name.parts]
    texts = [name for name in texts if name.parent.name == "Main"] or texts
    lists = {name.name: name for name in texts if name.name in _VOC_LISTS}
    by_stem = {key: name for name in names for key in (PurePosixPath(stem(name)).name, stem(name))}
    members: dict[str, set[str]] = {}
    strangers = []
    for file, path in sorted(lists.items()):  # trainval after train, test and before val
        if file == "trainval.txt" and "train.txt" in lists:
            continue
        of_split = members.setdefault(_VOC_LISTS[file], set())
        for line in filter(None, map(str.strip, read_lines(found.listing.folder / path))):
            name = by_stem.get(line) or by_stem.get(_OF_A_CLASS.sub("", line))
            strangers += [] if name else [line]
            of_split |= {name} if name else set()
    if strangers:
        warn(f"{found.listing.folder}: {len(strangers)} listed images have no annotations: {first_few(strangers)}")
    if "train" in members:
        members["train"] -= members.get("val", set()) | members.get("test", set())  # where train is trainval, or all
    return members


def _listed_by_yolo(names: list[str], source: Source, found: Found) -> dict[str, set[str]]:
    if found.form != "yolo":
        return {}
    declared = yolo_names.declared(found.listing)
    if declared.get("val") and declared["val"] == declared.get("train"):
        warn(f"{found.listing.folder}: the images declared for val are those for train, so val is dealt out of them")
        del declared["val"]
    return {split: {n for n in names if source.images / n in images} for split, images in declared.items()}


def _told_by_folders(names: list[str], source: Source, found: Found) -> dict[str, set[str]]:
    members = defaultdict(set)
    for name in names:
        if split := split_from_path(PurePosixPath(name).parent):
            members[split].add(name)
    return members


_BY_FOLDERS = "by the names of their folders"
_DECLARING = {
    _listed_by_voc: "as ImageSets says",
    _listed_by_yolo: "as its YAML file or lists say",
    _told_by_folders: _BY_FOLDERS,
}


def _dealt_out(spec: DatasetSpec, splits: list[str], elsewhere: Path, keep: bool) -> tuple[dict[str, Part], str]:
    """The pool divided into ``splits``, as it was kept, else anew; and in words how."""
    part = spec.splits[_POOL]
    draft = spec.read_unvalidated(_POOL)
    names = part.get("files") or list(draft.table.names)
    for path in (spec.root / KEPT, elsewhere):
        if (kept := read_splits(path)) is not None:
            return _members(part, names, kept, splits, path), f"as {path} keeps"
    dealt = _deal_anew(draft, set(names), splits)
    for path in (spec.root / KEPT, elsewhere) if keep else ():
        try:
            write_splits(path, dealt)
            return _members(part, names, dealt, splits, path), f"dealt out at random, which {path} keeps from now on"
        except DiskError as error:
            problem = error
    if keep:
        raise problem
    return _members(part, names, dealt, splits, spec.root), "dealt out at random"


def _members(
    part: Part, names: list[str], kept: dict[str, list[str]], splits: list[str], path: Path
) -> dict[str, Part]:
    """The part of each split: what is kept for it, and the others for training."""
    there = set(names)
    listed = {split: [name for name in files if name in there] for split, files in kept.items()}
    if gone := sorted(set().union(*kept.values()) - there):
        warn(f"{path} lists {len(gone)} images that have no annotations any more: {first_few(gone)}")
    for split in [split for split in listed if split not in splits]:
        warn(f"{path}: the {len(listed.pop(split))} images of its '{split}' are left out, as there is another")
    left = there.difference(*kept.values())
    for split, files in ((_POOL, left), ("val", listed.get("val"))):
        if not files:
            raise DataError(f"{path} leaves no image for {split}; change it, or delete it to deal out anew")
    return {split: {**part, "files": files} for split, files in {_POOL: sorted(left), **listed}.items() if files}


def _deal_anew(draft: UnvalidatedSplit, names: set[str], splits: list[str]) -> dict[str, list[str]]:
    """The names of the images of each split but the pool."""
    table = draft.table.take_images(np.array([i for i, n in enumerate(draft.table.names) if n in names], np.int64))
    if len(table) < 2:
        images = "1 image" if len(table) else "no image"
        raise DataError(f"{draft.annotations} is about {images}; to train and to validate takes two")
    counts = np.zeros((len(table), len(draft.names)), np.int64)
    np.add.at(counts, (table.images, table.labels - 1), 1)
    groups = _groups([table.path(i) for i in range(len(table))])
    split = split_at_random(counts, groups, {split: SPLIT_FRACTIONS[split] for split in splits})
    members = {
        name: [n for n, of in zip(table.names, split, strict=True) if splits[of] == name] for name in splits[1:]
    }
    return {split: sorted(files) for split, files in members.items() if files}


def _groups(paths: list[Path]) -> np.ndarray:
    """A number for each image, int64 [N], the same for those that are or look alike; each its own where all are."""
    looks = look_at_all(paths)
    sketches = signatures(np.stack([_NOTHING if look.thumbnail is None else look.thumbnail for look in looks]))
    first: dict[str, int] = {}
    same = np.array([first.setdefault(look.digest or str(i), i) for i, look in enumerate(looks)])
    groups = united(groups_alike(sketches)[0], same)
    return groups if groups.any() else np.arange(len(paths))


_NOTHING = np.zeros((16, 16, 3), np.uint8)
