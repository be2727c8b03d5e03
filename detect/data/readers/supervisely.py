"""Reader of Supervisely's projects: one JSON file per image, with rectangles, polygons and bitmaps.

Format: https://docs.supervisely.com/customization-and-integration/00_ann_format_navi. A project holds ``meta.json``
with its classes, and in each dataset ``ann/a.jpg.json`` (older: ``ann/a.json``) for ``img/a.jpg``, with ``size`` and
``objects``, each ``{"classTitle", "geometryType", "points": {"exterior", "interior"}, "bitmap", ...}``. Rings of
``interior`` are holes. A bitmap is a PNG, compressed with zlib, in base64, at ``origin``. Points, lines and graphs
have no area.

Whole coordinates count pixels, as in Supervisely's own library: a rectangle from 10 to 29 is 20 pixels wide, and a
vertex is at the center of its pixel. Coordinates with fractions are positions in the image.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from detect.data.discovery.image_folders import Source, sources_of_folders
from detect.data.file_listing import FileListing, files_below, is_file, replace_folder, without_suffix
from detect.data.readers.geometry import Geometry, box_outline, from_vertices, mask_in_image
from detect.data.readers.mask_images import decode_png_mask
from detect.data.readers.parsing import json_number, load_json, read_annotation_files, size_on_disk
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.splits import split_from_path
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.errors import DataError
from detect.structures.polygons import polygon_with_holes
from detect.text import unknown

_WITHOUT_AREA = ("point", "line", "polyline", "graph", "cuboid", "cuboid_2d", "point_3d", "multichannel_bitmap")
_ANNOTATIONS, _IMAGES = "ann", "img"  # folders of a dataset
_MAX_PNG_BYTES = 1 << 28


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read the JSON files in the folder ``annotations`` and its subfolders, see ``Reader.parse``.

    The classes are those of meta.json for shapes with an area, then others in use. ``images`` and ``annotations`` may
    both be the folder of a project with several datasets.
    """
    builder = UnvalidatedSplitBuilder(images, annotations, "object")
    listed = _listed_classes(annotations)
    for name in listed:  # so that they are the first ones, also those without objects
        builder.label(name)
    files = [file for file in files_below(annotations, (".json",)) if PurePosixPath(file).name != "meta.json"]
    none_found = f"no Supervisely file in {annotations} (a .json file with a list of 'objects')"
    for file, content, same_name in read_annotation_files(builder, files, _load, none_found, _names_of_image):
        name = same_name or _names_of_image(file)[0]
        hw = _stated_size(content) or size_on_disk(images / name)
        image = builder.add_image(name, hw, source=file)
        for number, entry in enumerate(content["objects"], start=1):
            try:
                _add_object(builder, image, number, entry, hw)
            except InvalidEntryError as problem:
                builder.skip_object(problem, image, number, json.dumps(entry))
    return replace(builder.finish(), classes_listed=bool(listed))


def _recognize(file: AnnotationFile) -> bool:
    return {"size", "objects"} <= file.json_object.keys() and "imgHeight" not in file.json_object


def _find_sources(files: Sequence[PurePosixPath], listing: FileListing) -> list[Source]:
    """Return one source: the folders of a dataset, or the folder of all datasets, whose names may be splits."""
    folders = {file.parent for file in files}
    with_images = {folder for image in listing.images for folder in image.parents}
    if any(_ANNOTATIONS not in folder.parts or _beside(folder) not in with_images for folder in folders):
        return sources_of_folders(files, listing.images)  # images were moved
    if len(folders) > 1:
        return [Source(PurePosixPath(), PurePosixPath(), None)]
    folder = folders.pop()
    return [Source(_beside(folder), folder, split_from_path(folder))]


READER = Reader("Supervisely JSON", (".json",), _recognize, parse, find_sources=_find_sources)


def _beside(path: PurePosixPath) -> PurePosixPath:
    """Return a path with its last folder "ann" replaced by "img"."""
    return replace_folder(path, _ANNOTATIONS, _IMAGES)


def _names_of_image(file: str) -> list[str]:
    """Return the names that the image of an annotation file may have, with or without suffix, the likeliest first."""
    path = PurePosixPath(file.removesuffix(".json"))
    paths = [_beside(path), _beside(path).parent.parent / path.name] if _ANNOTATIONS in path.parts else []
    return [form for one in (*paths, path) for form in (one.as_posix(), without_suffix(one.as_posix()))]


def _listed_classes(annotations: Path) -> list[str]:
    """Return the classes for shapes with an area in the nearest meta.json, in ``annotations`` or a folder above."""
    folders = (annotations, *list(annotations.resolve().parents)[:3])
    below = (annotations / path for path in files_below(annotations, ("meta.json",)) if path.endswith("/meta.json"))
    path = next((path for path in chain((f / "meta.json" for f in folders), below) if is_file(path)), None)
    if path is None:
        return []
    try:
        entries = load_json(path)["classes"]
        kinds = {str(entry["title"]).strip(): entry.get("shape") for entry in entries}
    except (DataError, KeyError, TypeError, AttributeError):  # of another program
        return []
    return [name for name, kind in kinds.items() if name and kind not in _WITHOUT_AREA]


def _load(path: Path) -> dict[str, Any] | None:
    """Return the content of a file, None for a file of another kind. Raises DataError."""
    content = load_json(path)
    if not isinstance(content, dict) or "objects" not in content:
        return None
    if not isinstance(content["objects"], list):
        raise DataError(f"{path} has {str(content['objects'])[:60]!r} for 'objects'; expected a list")
    return content


def _stated_size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    size = content.get("size")
    sides = [size.get(side) if isinstance(size, dict) else None for side in ("height", "width")]
    valid = [side for side in sides if type(side) is int and 0 < side < 2**31]
    return (valid[0], valid[1]) if len(valid) == 2 else None


def _add_object(builder: UnvalidatedSplitBuilder, image: int, number: int, entry: Any, hw: tuple[int, int]) -> None:
    if not isinstance(entry, dict):
        raise InvalidEntryError("malformed_object", f"{str(entry)[:60]!r}; expected a dict")
    label = str(entry.get("classTitle") or "").strip()
    kind = entry.get("geometryType") or ("bitmap" if isinstance(entry.get("bitmap"), dict) else "polygon")
    if kind in _WITHOUT_AREA:
        builder.note("shape_without_area", image, number, f"{kind} {label}")
        return
    if not isinstance(kind, str) or kind not in _GEOMETRIES:
        raise InvalidEntryError("malformed_object", unknown("shape", str(kind)[:60], (*_GEOMETRIES, *_WITHOUT_AREA)))
    if not label:
        raise InvalidEntryError("no_class", "no classTitle")
    box, mask, is_box, _ = _GEOMETRIES[kind](entry, hw)
    builder.add_object(image, builder.label(label), number, box=box, mask=mask, mask_from_box=is_box)


def _rectangle(entry: Mapping[str, Any], _: tuple[int, int]) -> Geometry:
    corners = _points(entry, "exterior")
    if len(corners) != 2:
        raise InvalidEntryError("malformed_object", f"a rectangle has 2 corners, not {len(corners)}")
    (left, right), (upper, lower) = map(sorted, zip(*corners, strict=True))
    if _are_whole(corners):
        right, lower = right + 1, lower + 1
    box = [left, upper, right, lower]
    return Geometry(box, [box_outline(box)], is_box=True)


def _polygon(entry: Mapping[str, Any], _: tuple[int, int]) -> Geometry:
    rings = [_points(entry, "exterior"), *_rings(entry)]
    if few := [len(ring) for ring in rings if len(ring) < 3]:
        raise InvalidEntryError("too_few_points", str(few[0]))
    if _are_whole(chain(*rings)):
        rings = [[(x + 0.5, y + 0.5) for x, y in ring] for ring in rings]
    exterior, *holes = rings
    box, polygon = from_vertices(*zip(*exterior, strict=True))
    # shapely computes with products of coordinates, which must be finite.
    if holes and (far := [number for number in chain(*chain(*rings)) if abs(number) >= 2**31]):
        raise InvalidEntryError("invalid_mask", f"{far[0]:g}")
    if holes and not (polygon := polygon_with_holes(exterior, holes)):
        raise InvalidEntryError("zero_area_box", "the polygon has no area")
    return Geometry(box, [polygon])


def _bitmap(entry: Mapping[str, Any], hw: tuple[int, int]) -> Geometry:
    bitmap = entry.get("bitmap")
    data, origin = (bitmap.get(key) if isinstance(bitmap, dict) else None for key in ("data", "origin"))
    if not isinstance(data, str):
        raise InvalidEntryError("invalid_mask", "the bitmap has no data")
    (x, y), *others = _numbers([origin], "origin")
    if others or not (float(x).is_integer() and float(y).is_integer() and max(abs(x), abs(y)) < 2**31):
        raise InvalidEntryError("malformed_object", f"origin {str(origin)[:60]}; expected two whole numbers")
    return Geometry(None, mask_in_image(decode_png_mask(_unpacked(data)), (int(x), int(y)), hw))


_GEOMETRIES = {"rectangle": _rectangle, "polygon": _polygon, "bitmap": _bitmap, "alpha_mask": _bitmap}


def _unpacked(data: str) -> bytes:
    """Return the PNG of a bitmap, which is compressed with zlib except in the first versions."""
    try:
        packed = base64.b64decode(data)
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(packed, _MAX_PNG_BYTES)
    except zlib.error:
        return packed
    except ValueError:
        raise InvalidEntryError("invalid_mask", "the data of the bitmap are not base64") from None
    if unpacker.unconsumed_tail:
        raise InvalidEntryError("invalid_mask", "the bitmap is too large")
    return content


def _points(entry: Mapping[str, Any], key: str) -> list[tuple[float, float]]:
    points = entry.get("points")
    return _numbers(points.get(key) if isinstance(points, dict) else None, key)


def _rings(entry: Mapping[str, Any]) -> Iterator[list[tuple[float, float]]]:
    rings = entry["points"].get("interior") or []
    if not isinstance(rings, list):
        raise InvalidEntryError("malformed_object", f"interior is {str(rings)[:60]}; expected a list of rings")
    yield from (_numbers(ring, "interior") for ring in rings)


def _numbers(points: Any, key: str) -> list[tuple[float, float]]:
    """Return a list of points as pairs of finite numbers. Raises InvalidEntryError."""
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise InvalidEntryError("malformed_object", f"{key} is {str(points)[:60]}; expected pairs of x and y")
    numbers = [number for n in chain(*points) if (number := json_number(n)) is not None]
    if len(numbers) < 2 * len(points):
        raise InvalidEntryError("malformed_object", f"{key} is {str(points)[:60]}; expected numbers")
    if not all(map(math.isfinite, numbers)):
        raise InvalidEntryError("non_finite_box", f"{key} is {str(points)[:60]}")
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def _are_whole(points: Any) -> bool:
    return all(number.is_integer() for number in chain(*points))
