"""Class names and splits of YOLO datasets, from ``data.yaml``, ``classes.txt``, ``train.txt`` and similar files."""

from __future__ import annotations

import os
import reprlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from detect.data.file_listing import FileListing
from detect.data.splits import read_name_list, split_from_path
from detect.errors import DataError
from detect.io.yaml_files import MissingTextError, YamlError, read_yaml
from detect.progress import warn
from detect.text import first_few

_CLASS_LISTS = ("classes.txt", "obj.names", "labels.txt", "predefined_classes.txt", "_darknet.labels")
# Keys of data.yaml whose values are texts: a class may be called ``no`` and a folder ``2024``.
_TEXTS = [(key,) for key in ("names", "path", "train", "val", "valid", "test")]
_SPLIT_LISTS = {"train.txt": "train", "val.txt": "val", "valid.txt": "val", "test.txt": "test"}


def find_classes(listing: FileListing) -> tuple[str, ...]:
    """Return the class names from ``data.yaml``, else from ``classes.txt``. Raises DataError when both are missing."""
    for path, content in _descriptions(listing):
        names = content.get("names")
        if isinstance(names, dict):  # {0: "kite", 1: "balloon"}
            names = _in_order(names, path)
        if isinstance(names, list) and names:
            if wrong := [name for name in names if not isinstance(name, str) or not name.strip()]:
                raise DataError(f"{path}: 'names' has the item {reprlib.repr(wrong[0])}; expected the name of a class")
            return tuple(names)
    return _read_class_list(listing)


def read_task(annotations: Path) -> tuple[list[int] | None, str]:
    """Return ``kpt_shape``, [K, D], and ``task`` from data.yaml in a folder of labels or up to three folders above.

    The first is None and the second "" if data.yaml does not state them.
    """
    for folder in (annotations, *annotations.absolute().parents[:3]):
        for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
            try:
                content = read_yaml(path)
            except (OSError, YamlError):
                continue
            if isinstance(content, dict) and "names" in content:
                shape, task = content.get("kpt_shape"), content.get("task")
                valid = isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and n > 0 for n in shape)
                return (shape if valid else None), (task if isinstance(task, str) else "")
    return None, ""


def _in_order(names: dict[str, Any], path: Path) -> list[Any]:
    """Return class names in the order of the class numbers that are their keys. Raises DataError for other keys."""
    by_number = {int(key): name for key, name in names.items() if str(key).isdecimal()}
    if len(by_number) < len(names) or set(by_number) != set(range(len(names))):
        numbers = first_few(map(str, names))
        raise DataError(f"{path}: the numbers of 'names' must be 0, 1, ..., not {numbers}")
    return [by_number[number] for number in range(len(names))]


def _read_class_list(listing: FileListing) -> tuple[str, ...]:
    """Return the class names of the list nearest to the folder. Raises DataError for lists that contradict."""
    suffixes = (".txt", ".names", ".labels")
    lists = [path for suffix in suffixes for path in listing.files.get(suffix, ()) if path.name in _CLASS_LISTS]
    found: dict[tuple[str, ...], PurePosixPath] = {}
    for path in sorted(lists, key=lambda path: len(path.parts)):
        if classes := tuple(line.strip() for line in read_name_list(listing.folder / path) if line.strip()):
            found.setdefault(classes, path)
    if len({path.name for path in found.values()}) < len(found):  # lists of the same name in several folders
        paths = " and ".join(str(path) for path in found.values())
        raise DataError(f"{listing.folder}: {paths} list different classes; all files must list the same classes")
    if not found:
        raise DataError(
            f"the classes of the text files in {listing.folder} are numbers, and no file names them; "
            "add classes.txt with one name per line, or data.yaml, to the folder"
        )
    return next(iter(found))


def declared_splits(names: Sequence[str], images: PurePosixPath, listing: FileListing) -> dict[str, set[str]]:
    """Return the images of each split, see ``Reader.declared_splits``."""
    declared = _declared_paths(listing)
    if declared.get("val") and declared["val"] == declared.get("train"):
        warn(f"{listing.folder}: 'train' and 'val' are the same images, so val is split off at random")
        del declared["val"]
    return {split: {name for name in names if images / name in paths} for split, paths in declared.items()}


def _declared_paths(listing: FileListing) -> dict[str, set[PurePosixPath]]:
    """Return the image paths, relative to the folder, of each split in ``data.yaml``, else in ``train.txt`` etc."""
    splits = defaultdict(set)
    for path, content in _descriptions(listing):
        if "names" in content:
            for key in filter(content.get, ("train", "val", "valid", "test")):
                splits[key.removesuffix("id")] = paths = set(_images_of_split(content, key, path, listing))
                if not paths:
                    warn(f"{path}: no images at {reprlib.repr(content[key])}, the value of '{key}'")
            return {split: paths for split, paths in splits.items() if paths}
    for path_of_list in listing.files.get(".txt", ()):
        if split := _SPLIT_LISTS.get(path_of_list.name):
            splits[split].update(_images_in_list(path_of_list, listing))
    return {split: paths for split, paths in splits.items() if paths}


def _descriptions(listing: FileListing) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the YAML files and darknet's ``obj.data`` with their content, those nearest to the folder first.

    An unreadable file gives a warning and is skipped, since it may have nothing to do with the dataset.
    Raises DataError for a class name or a path that is empty.
    """
    names = [name for suffix in (".yaml", ".yml", ".data") for name in listing.files.get(suffix, ())]
    for name in sorted(names, key=lambda name: len(name.parts)):
        path = listing.folder / name
        if name.suffix == ".data":
            pairs = (line.partition("=")[::2] for line in read_name_list(path))
            yield path, {key.strip(): value.strip() for key, value in pairs if value}
            continue
        try:
            content = read_yaml(path, _TEXTS)
        except MissingTextError as error:
            raise DataError(str(error)) from None
        except OSError as error:
            warn(f"{path} cannot be read: {error.strerror}")
            continue
        except YamlError as error:
            warn(f"{error}; the file is ignored")
            continue
        if isinstance(content, dict):
            yield path, content


def _images_of_split(content: dict[str, Any], key: str, path: Path, listing: FileListing) -> Iterator[PurePosixPath]:
    """Yield the images of a split, whose value is a folder, a text file with image names, or a list of these."""
    values = content[key] if isinstance(content[key], list) else [content[key]]
    for value in (value for value in values if isinstance(value, str) and value):
        for candidate in _candidate_paths(value, content.get("path"), path, listing.folder):
            if candidate.suffix == ".txt" and (listing.folder / candidate).is_file():
                yield from _images_in_list(candidate, listing)
                break
            inside = [image for image in listing.images if candidate in image.parents]
            if inside:
                yield from inside
                break


def _candidate_paths(value: str, root: Any, path: Path, folder: Path) -> Iterator[PurePosixPath]:
    """Yield existing paths, relative to ``folder``, that the text ``value`` in the YAML file ``path`` may mean.

    Programs write paths relative to the YAML file, relative to its key ``path``, relative to a sibling folder
    (``../train/images``), or as absolute paths of another machine.
    """
    base = PurePosixPath(path.parent.relative_to(folder).as_posix())
    parts = _path_parts(value)
    roots = _path_parts(root if isinstance(root, str) else "")
    for start in (base / PurePosixPath(*roots), base):
        for skipped in range(len(parts)):
            if skipped and split_from_path(PurePosixPath(parts[skipped - 1])):
                break  # what remains after the name of the split is a folder of all splits
            candidate = start / PurePosixPath(*parts[skipped:])
            if os.path.exists(folder / candidate):  # noqa: PTH110 - Path.exists raises for names that are too long
                yield candidate


def _path_parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _images_in_list(path: PurePosixPath, listing: FileListing) -> Iterator[PurePosixPath]:
    """Yield the images that a text file names, matched by the longest common end of their paths."""
    by_name = defaultdict(list)
    for image in listing.images:
        by_name[image.name].append(image)
    for line in read_name_list(listing.folder / path):
        written = PurePosixPath(line.strip().replace("\\", "/"))
        candidates = by_name.get(written.name, [])
        best = max(candidates, key=lambda image: _common_end(image.parts, written.parts), default=None)
        if best and _matches(best, written, only_candidate=len(candidates) == 1):
            yield best


def _matches(image: PurePosixPath, written: PurePosixPath, only_candidate: bool) -> bool:
    """Return whether ``image`` is the file that the path ``written``, maybe of another machine, means.

    It is if the written path ends with the whole path of the image or with its folder and name, or if no other image
    has its name and the two paths do not name different splits.
    """
    common = _common_end(image.parts, written.parts)
    ours, theirs = split_from_path(image.parent), split_from_path(written.parent)
    same_split = ours == theirs or not (ours and theirs)
    return common == len(image.parts) or common >= 2 or (only_candidate and same_split)


def _common_end(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Return the number of equal parts at the end of two paths."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count
