"""The files of a folder, and what kind of annotations each of them holds."""

from __future__ import annotations

import csv
import json
import mmap
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from detect.data.readers.folders import files_below
from detect.errors import DataError
from detect.media import formats
from detect.text import first_few

_IMAGES = tuple(formats.SUFFIXES)
_ANNOTATIONS = (".json", ".xml", ".txt", ".csv", ".yaml", ".yml", ".names", ".labels", ".data")
_LOOKED_AT = 100  # of the files of one kind in one folder, since they are alike, and so many of the largest
_HEAD = 4096  # bytes of a text file that tell what it is
_VIA_COLUMNS = {"filename", "region_shape_attributes"}
_CSV_COLUMNS = {"xmin", "ymin", "xmax", "ymax"}


@dataclass(frozen=True)
class Listing:
    """A folder's files, hidden ones left out, as sorted relative paths with slashes.

    broken: what is wrong with each file that looked like annotations and could not be read.
    """

    folder: Path
    images: list[PurePosixPath]
    files: dict[str, list[PurePosixPath]]
    broken: dict[PurePosixPath, str]

    @classmethod
    def of(cls, folder: Path) -> Listing:
        """DataError where the folder holds no image."""
        files: dict[str, list[PurePosixPath]] = defaultdict(list)
        images: list[PurePosixPath] = []
        for name in map(PurePosixPath, files_below(folder, (*_IMAGES, *_ANNOTATIONS))):
            suffix = name.suffix.lower()
            (images if suffix in _IMAGES else files[suffix]).append(name)
        if not images:
            others = [str(name) for names in files.values() for name in names] or [p.name for p in folder.iterdir()]
            there = f"; there is {first_few(sorted(others), 3)}" if others else ""
            raise DataError(f"no image in {folder} or below it (JPEG, PNG, TIFF, WebP and the like){there}")
        return cls(folder, images, dict(files), {})

    def holding(self, suffix: str) -> Iterator[tuple[PurePosixPath, str]]:
        """The files with ``suffix`` and the format of what they hold: "coco", "via", "labelme", "voc", "yolo", "csv".

        In folders of many files some are looked at, and the others are taken to be as most of these; those of no
        format are passed over.
        """
        by_folder = defaultdict(list)
        for name in self.files.get(suffix, []):
            by_folder[name.parent].append(name)
        for names in by_folder.values():
            forms = {name: self._form(name) for name in self._some(names)}
            usual = max(filter(None, forms.values()), key=list(forms.values()).count, default="")
            yield from ((name, form) for name in names if (form := forms.get(name, usual)))

    def _some(self, names: list[PurePosixPath]) -> list[PurePosixPath]:
        """All of few; of many some from end to end, and the largest, which may be about all images."""
        if len(names) <= 2 * _LOOKED_AT:
            return names
        largest = sorted(names, key=lambda name: (self.folder / name).stat().st_size)[-_LOOKED_AT:]
        return [*names[:: len(names) // _LOOKED_AT], *largest]

    def _form(self, name: PurePosixPath) -> str:
        path = self.folder / name
        try:
            return _FORMS[name.suffix.lower()](path)
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            self.broken[name] = str(error)
            return ""


def _of_json(path: Path) -> str:
    """ValueError where it is no JSON."""
    content = _outline(path)
    keys = content.keys()
    if {"images", "annotations", "categories"} <= keys:
        return (
            "" if b"segments_info" in bytes(content["annotations"][:_HEAD]) else "coco"
        )  # COCO's panoptic ground truth
    if "shapes" in keys and "imagePath" in keys:
        return "labelme"
    if any(key.startswith("_via_") for key in keys) or {"project", "metadata", "file"} <= keys:
        return "via"
    first = next(iter(content.values()), b"")
    return "via" if all(key in bytes(first) for key in (b'"filename"', b'"regions"')) else ""


def _outline(path: Path) -> dict[str, bytes | memoryview]:
    """The keys of the file's one dict, with the JSON of their values; empty where it is something else."""
    with path.open("rb") as file:
        text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # lives as long as the values
    try:
        return {
            k: memoryview(v) for k, v in msgspec.json.decode(memoryview(text), type=dict[str, msgspec.Raw]).items()
        }
    except msgspec.ValidationError:  # a list
        entries = msgspec.json.decode(memoryview(text))
        if (
            isinstance(entries, list)
            and entries
            and isinstance(entries[0], dict)
            and {"annotations", "data"} <= set(entries[0])
        ):
            raise ValueError("it is Label Studio's own JSON; export COCO in its place") from None
        return {}
    except msgspec.DecodeError:  # NaN, or a byte order mark, which Python's reader takes
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        return {k: json.dumps(v).encode() for k, v in content.items()} if isinstance(content, dict) else {}


def _of_xml(path: Path) -> str:
    head = _head(path)
    if b"<annotations>" in head and b"<meta>" in head:
        raise ValueError("it is CVAT's own XML; export COCO or Pascal VOC in its place")
    if b"<polygon>" in head and b"<bndbox>" not in head:
        raise ValueError("it is the XML of LabelMe's web page, which is not read; export COCO in its place")
    return "voc" if re.search(rb"<annotation[\s>/]", head) else ""


def _of_csv(path: Path) -> str:
    first = _head(path).decode("utf-8-sig", errors="replace").partition("\n")[0]
    for delimiter in ",;":
        columns = {name.strip().lstrip("#").lower() for name in next(csv.reader([first], delimiter=delimiter), [])}
        if columns >= _VIA_COLUMNS:
            return "via"
        if columns >= _CSV_COLUMNS:
            return "csv"
    raise ValueError("its first line does not name filename, class, xmin, ymin, xmax and ymax")


def _of_txt(path: Path) -> str:
    """Whether its first line that is not empty is a class and numbers in parts of an image."""
    lines = [line for line in _head(path).decode("utf-8-sig", errors="replace").splitlines() if line.strip()]
    try:
        values = [float(word) for word in lines[0].split()] if lines else []
    except ValueError:
        return ""
    return "yolo" if len(values) >= 5 and values[0].is_integer() and all(-1 < v < 2 for v in values[1:]) else ""


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


_FORMS = {".json": _of_json, ".xml": _of_xml, ".csv": _of_csv, ".txt": _of_txt}
