"""labelme's JSON: one file an image, with polygons, boxes, circles and masks (``labelme_shapes``).

Format: https://github.com/wkentaro/labelme, ``{"shapes": [{"label", "points", "shape_type", "group_id", ...}],
"imagePath", "imageHeight", "imageWidth", "imageData", ...}``. Shapes with the same label and the same group_id are one
object, as in labelme's own exports. The image that is packed into ``imageData`` is passed over: the one in the
folder of the images counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
import numpy as np

from detect.data.quality.problems import Place
from detect.data.readers.folders import files_below, images_below, stem, text_of
from detect.data.readers.labelme_shapes import Drawn, draw, typed
from detect.data.readers.parsing import image_name, is_file, load_json
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.errors import DataError, MediaError
from detect.media.images import image_hw
from detect.structures import masks
from detect.structures.masks import Polygons, Rle


class _Document(msgspec.Struct, rename="camel"):
    """What is read of a file; the rest, imageData above all, is skipped and never made an object."""

    shapes: Any = msgspec.UNSET
    image_path: Any = None
    image_height: Any = None
    image_width: Any = None


class _Part(NamedTuple):
    """A shape of an object. number: its place in the file, from 1."""

    number: int
    label: str
    drawn: Drawn


_decode = msgspec.json.Decoder(_Document).decode


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """What the JSON files in the folder ``annotations`` say of the images in ``images``; it may be the same folder.

    Files without ``shapes`` are another's and passed over. Of several about one image, that of the image's name
    counts, else the first. DataError where there is no file of labelme's.
    """
    builder = UnvalidatedSplitBuilder(images, annotations, "shape")
    pictures = images_below(images)
    by_stem = {stem(name): name for name in reversed(pictures)}
    files = files_below(annotations, (".json",))
    called = {stem(file): file for file in files}
    file_of: dict[str, str] = {}
    broken = set()
    for file in files:
        try:
            document = _load(annotations / file)
        except DataError as error:
            problem = str(error).removeprefix(f"{annotations / file} ")
            builder.skip("broken_annotations", Place(file, "", problem), raw=text_of(annotations / file))
            broken.add(by_stem.get(stem(file), ""))  # said once
            continue
        if document is None:
            continue
        name = _image(images, annotations, file, document.image_path, by_stem)
        other = file_of.get(name, called.get(stem(name), file))  # a.json goes before "a (copy).json"
        if other != file:
            place = Place(file, "", f"it is about {name}, whose file is {other}")
            builder.skip("malformed_image", place, raw=text_of(annotations / file))
            continue
        file_of[name] = file
        _add(builder, name, file, document)
    if not (file_of or broken):
        raise DataError(f"no labelme file in {annotations}, which would be a .json file with a list of 'shapes'")
    for name in pictures:
        if name not in file_of and name not in broken:
            builder.skip("not_annotated", Place(name, "", ""))
    return builder.finish()


def _load(path: Path) -> _Document | None:
    """The content of a file, None where it is not labelme's; DataError where it is no JSON, or its shapes no list."""
    try:
        document = _decode(path.read_bytes())
    except (OSError, ValueError, RecursionError):  # not there, with NaN, with a byte order mark, or no JSON
        content = load_json(path)
        document = msgspec.convert(content, _Document) if isinstance(content, dict) else _Document()
    if document.shapes is msgspec.UNSET:
        return None
    if not isinstance(document.shapes, list):
        raise DataError(f"{path} has {str(document.shapes)[:60]!r} for 'shapes', it should be a list")
    return document


def _image(images: Path, annotations: Path, file: str, written: Any, by_stem: Mapping[str, str]) -> str:
    """The image that a file is about, as its name in ``images``.

    It is the first that is there: the path that the file names, seen from the file; that path, then its last part,
    seen from where the file would lie among the images; the image with the file's own stem; the last part.
    """
    own = PurePosixPath(file).parent
    path = image_name((annotations / file).parent, written) if isinstance(written, str) else ""
    last = PurePosixPath(path).name
    if not last:
        path = last = stem(PurePosixPath(file).name)
    meant = [annotations / own / path, images / own / path, images / own / last]
    names = [name for one in meant if (name := _inside(images, one))]
    names += [by_stem[stem(file)]] if stem(file) in by_stem else []
    names.append(last)
    return next((name for name in names if is_file(images / name)), names[0])


def _inside(images: Path, path: Path) -> str:
    """The name in ``images`` of a path, "" where it lies elsewhere."""
    try:
        name = os.path.relpath(path, images)  # and not resolved, since an image may be a link to elsewhere
    except ValueError:  # another drive, or a name that no file system takes
        return ""
    return "" if Path(name).parts[:1] in ((), ("..",)) else Path(name).as_posix()


def _add(builder: UnvalidatedSplitBuilder, name: str, file: str, document: _Document) -> None:
    """Adds an image with its objects."""
    hw = _size(document, builder.images / name)
    image = builder.add_image(name, hw, source=file)
    objects: dict[Any, list[_Part]] = {}
    for number, entry in enumerate(document.shapes, start=1):
        try:
            shape = typed(entry)
            part = _Part(number, shape.label, draw(shape, hw))
        except InvalidEntryError as problem:
            where = Place(file, f"shape {number}", str(problem))
            builder.skip(problem.kind, where, image, json.dumps(entry))
            continue
        key = number if shape.group_id is None else (shape.label, shape.group_id)
        objects.setdefault(key, []).append(part)
    for parts in objects.values():
        box = parts[0].drawn[0] if len(parts) == 1 else None  # of several, the mask says
        mask = _joined(builder, image, file, parts, hw)
        builder.add_object(image, builder.label(parts[0].label), parts[0].number, box=box, mask=mask)


def _joined(
    builder: UnvalidatedSplitBuilder, image: int, file: str, parts: Sequence[_Part], hw: tuple[int, int]
) -> Polygons | Rle:
    """The mask of an object: the polygons of its parts, or one run-length code where a part of it is one."""
    polygons = [part.drawn[1] for part in parts if isinstance(part.drawn[1], list)]
    codes = [part.drawn[1] for part in parts if isinstance(part.drawn[1], dict)]
    if len(polygons) == len(parts):
        return polygons
    if len(codes) == len(parts) == 1:
        return codes[0]
    for part in parts:
        if isinstance(part.drawn[1], list):
            try:
                codes.append(masks.from_polygons([part.drawn[1]], hw))
            except ValueError as problem:
                builder.skip("bad_mask", Place(file, f"shape {part.number}", str(problem)), image)
    return masks.from_bitmap(reduce(np.maximum, map(masks.to_bitmap, codes)))


def _size(document: _Document, path: Path) -> tuple[int, int]:
    """(height, width): as it is written, else the image's own, (0, 0) where that cannot be read."""
    height, width = document.image_height, document.image_width
    if all(type(side) is int and 0 < side < 2**31 for side in (height, width)):
        return height, width
    try:
        return image_hw(path)
    except MediaError:  # said when the images are looked at
        return 0, 0
