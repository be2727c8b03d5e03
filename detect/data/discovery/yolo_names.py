"""What lies beside YOLO's text files: the names of the classes, and which images are of which split."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from detect.data.discovery.listing import Listing
from detect.data.splits import split_from_path
from detect.errors import DataError
from detect.progress import warn
from detect.text import first_few

_NAME_LISTS = ("classes.txt", "obj.names", "labels.txt", "predefined_classes.txt", "_darknet.labels")
_LISTS = {"train.txt": "train", "val.txt": "val", "valid.txt": "val", "test.txt": "test"}


def find(listing: Listing) -> tuple[str, ...]:
    """The names of the classes, from ``data.yaml`` or ``classes.txt``. DataError where there is neither."""
    for path, content in _descriptions(listing):
        names = content.get("names")
        if isinstance(names, dict):  # {0: "kite", 1: "balloon"}
            if set(names) != set(range(len(names))):
                listed = first_few(map(str, names))
                raise DataError(f"{path}: the numbers of 'names' should be 0, 1, ..., not {listed}")
            names = [names[number] for number in range(len(names))]
        if isinstance(names, list) and names:
            if not all(isinstance(name, str | int | float) for name in names):
                raise DataError(f"{path}: 'names' should be texts")
            return tuple(map(str, names))
    suffixes = (".txt", ".names", ".labels")
    lists = [name for suffix in suffixes for name in listing.files.get(suffix, ()) if name.name in _NAME_LISTS]
    found: dict[tuple[str, ...], PurePosixPath] = {}
    for name in sorted(lists, key=lambda name: len(name.parts)):
        if classes := tuple(line.strip() for line in read_lines(listing.folder / name) if line.strip()):
            found.setdefault(classes, name)
    if len({name.name for name in found.values()}) < len(found):  # of other names the nearest counts
        listed = " and ".join(str(name) for name in found.values())
        raise DataError(
            f"{listing.folder}: {listed} differ, and a number can stand for one class alone; make them alike"
        )
    if found:
        return next(iter(found))
    raise DataError(
        f"the classes of the text files in {listing.folder} are numbers, and nothing names them; "
        "put the names into classes.txt, a line each, or data.yaml into the folder"
    )


def declared(listing: Listing) -> dict[str, set[PurePosixPath]]:
    """The images of each split, relative to the folder, that ``data.yaml`` tells, else lists called ``train.txt``
    and so on; of those that are there."""
    for path, content in _descriptions(listing):
        if "names" in content:
            found: dict[str, set[PurePosixPath]] = {}
            for key in ("train", "val", "valid", "test"):
                if not content.get(key):
                    continue
                found[key.removesuffix("id")] = images = set(_images(content, key, path, listing))
                if not images:
                    warn(f"{path}: there are no images at {reprlib.repr(content[key])}, which should be '{key}'")
            return {split: images for split, images in found.items() if images}
    lists = {name: split for name in listing.files.get(".txt", ()) if (split := _LISTS.get(name.name))}
    found = {}
    for name, split in lists.items():
        found.setdefault(split, set()).update(_listed(name, listing))
    return {split: images for split, images in found.items() if images}


def _descriptions(listing: Listing) -> Iterator[tuple[Path, dict[str, Any]]]:
    """YAML files and darknet's ``obj.data`` with their content, those nearest to the folder first; one that cannot be
    read is passed over with a warning, since it may be about anything."""
    names = [name for suffix in (".yaml", ".yml", ".data") for name in listing.files.get(suffix, ())]
    for name in sorted(names, key=lambda name: len(name.parts)):
        path = listing.folder / name
        if name.suffix == ".data":
            pairs = (line.partition("=")[::2] for line in read_lines(path))
            yield path, {key.strip(): value.strip() for key, value in pairs if value}
            continue
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            warn(f"{path} cannot be read: {' '.join(str(error).split())}")
            continue
        if isinstance(content, dict):
            yield path, content


def read_lines(path: Path) -> list[str]:
    """The lines of a list of names. DataError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _images(content: dict[str, Any], key: str, path: Path, listing: Listing) -> Iterator[PurePosixPath]:
    """A split is a folder, a text file with the names of images, or a list of these."""
    values = content[key] if isinstance(content[key], list) else [content[key]]
    for value in (value for value in values if isinstance(value, str) and value):
        for place in _places(value, content.get("path"), path, listing.folder):
            if place.suffix == ".txt" and (listing.folder / place).is_file():
                yield from _listed(place, listing)
                break
            inside = [image for image in listing.images if place in image.parents]
            if inside:
                yield from inside
                break


def _places(value: str, root: Any, path: Path, folder: Path) -> Iterator[PurePosixPath]:
    """Where ``value`` may be, relative to the folder: programs write it relative to the YAML file, to its ``path``,
    to a folder beside it (``../train/images``), or as it was on another machine."""
    base = PurePosixPath(path.parent.relative_to(folder).as_posix())
    parts = _parts(value)
    roots = _parts(root if isinstance(root, str) else "")
    for start in (base / PurePosixPath(*roots), base):
        for skipped in range(len(parts)):
            if skipped and split_from_path(PurePosixPath(parts[skipped - 1])):
                break  # which would be the folder of all splits
            place = start / PurePosixPath(*parts[skipped:])
            if os.path.exists(folder / place):  # noqa: PTH110 - Path.exists raises for names that are too long
                yield place


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _listed(place: PurePosixPath, listing: Listing) -> Iterator[PurePosixPath]:
    """The images that a text file names, by as much of the end of their paths as tells them apart."""
    by_name: dict[str, list[PurePosixPath]] = {}
    for image in listing.images:
        by_name.setdefault(image.name, []).append(image)
    for line in read_lines(listing.folder / place):
        parts = PurePosixPath(line.strip().replace("\\", "/")).parts
        same = by_name.get(parts[-1], []) if parts else []
        best = max(same, key=lambda image: _common_end(image.parts, parts), default=None)
        if best and _may_be(best, PurePosixPath(*parts), alone=len(same) == 1):
            yield best


def _may_be(image: PurePosixPath, written: PurePosixPath, alone: bool) -> bool:
    """Whether an image is the one that a path of another machine names: all of its own path is the end of that, or
    its folder too has the name, or there is no other of its name, and no other split in the way."""
    common = _common_end(image.parts, written.parts)
    here, there = split_from_path(image.parent), split_from_path(written.parent)
    return common == len(image.parts) or common >= 2 or (alone and (here == there or not (here and there)))


def _common_end(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count
