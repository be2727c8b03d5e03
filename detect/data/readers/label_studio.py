"""Reader of Label Studio's JSON and JSON-MIN: rectangles, polygons, ellipses and brush masks.

Format: https://labelstud.io/guide/export. A file is a list of tasks, each with one image:

- JSON: ``{"data": {"image": ...}, "annotations": [{"result": [{"type", "value", ...}], "was_cancelled", ...}]}``,
- JSON-MIN: ``{"image": ..., "NAME": [shapes], "annotation_id", ...}``, one entry for each annotation.

Of several annotations of a task one is used: skipped ones (``was_cancelled``) never; those marked ``ground_truth``
before others; then the latest. A shape with several labels is an object of each. An annotation without shapes is an
image without objects; a task without annotations, or only with predictions, is not annotated. Keypoints are left out.
Choices, texts, ratings and relations are no objects.

The name of an image is what Label Studio knows: an uploaded file (``/data/upload/3/1a2b3c4d-a.jpg``), a local one
(``/data/local-files/?d=folder/a.jpg``), or an address. ``detect.data.image_names`` finds the file. Percentages are
those of the image as it is seen, whatever size the file states (``label_studio_shapes``). Rectangles are masks only in
a dataset that also has other shapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from detect.data.file_listing import is_file
from detect.data.image_names import match_to_files
from detect.data.readers.label_studio_shapes import shape_geometry
from detect.data.readers.parsing import SAMPLED, first_list_item, load_json, size_on_disk
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError
from detect.media import formats

_IMAGE_SUFFIXES = tuple(formats.SUFFIXES)
_IMAGE_KEYS = ("image", "img", "image_url", "url", "photo")
_LOCAL_FILE = re.compile(r"/data/local-files/\?d=(.+)")
_UPLOADED_FILE = re.compile(r"/data/upload/(?:\d+/)?(.+)")
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
_NO_SHAPES = ("choices", "taxonomy", "textarea", "rating", "number", "datetime", "pairwise", "relation")
_ASPECT_TOLERANCE = 0.02
_MIN_KEYS = ("annotator", "annotation_id", "lead_time")


class _Annotated(NamedTuple):
    """One annotation of a task: its results, and by what it ranks among the annotations of the same image."""

    results: list[Any]
    ground_truth: bool
    time: str
    number: int


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read a file of Label Studio, see ``Reader.parse``; ``classes`` is ignored."""
    content = load_json(annotations)
    tasks = content if isinstance(content, list) else [content]
    if not any(_is_task(task) or _is_min(task) for task in tasks):
        raise DataError(f"{annotations} is not Label Studio's JSON: it should hold a list of tasks with annotations")
    builder = UnvalidatedSplitBuilder(images, annotations, "result")
    annotations_of: dict[str, list[_Annotated]] = {}
    for position, task in enumerate(tasks):
        if not isinstance(task, dict) or not (written := _written_image(task)):
            where = Location(annotations.name, f"task {_id_of(task, position)}", "no image")
            builder.skip("malformed_image_entry", where, raw=json.dumps(task))
            continue
        name = name_in_address(written)
        annotations_of.setdefault(name, []).extend(_annotations_of_task(task, position))
    if not any(annotations_of.values()) and not any(entry for entry in tasks if _is_min(entry)):
        raise DataError(f"{annotations} holds {len(tasks)} tasks without annotations; submit annotations, then export")
    files = _files_of(list(annotations_of), images)
    for name, candidates in annotations_of.items():
        if not candidates:
            builder.skip("unannotated_image", Location(files.get(name, name), "", "no annotation in Label Studio"))
            continue
        best = max(candidates, key=lambda one: (one.ground_truth, one.time, one.number))
        file = files.get(name, name)
        image = _add_image(builder, file, size_on_disk(images / file), best.results)
        if not _is_same_name(name, file):
            builder.note("renamed_image", image, value=f"annotated as {name}")
    return builder.finish()


def name_in_address(written: str) -> str:
    """Return the file name or relative path in what Label Studio writes for an image."""
    if local := _LOCAL_FILE.search(written):
        return unquote(local[1].split("&")[0]).replace("\\", "/").lstrip("/")
    if uploaded := _UPLOADED_FILE.search(written):
        return unquote(uploaded[1].split("?")[0])
    if "://" in written:
        try:
            path = urlsplit(written).path
        except ValueError:
            return written
        return unquote(path).lstrip("/") or written
    return written.replace("\\", "/").removeprefix("/data/").lstrip("/")


def _is_same_name(name: str, file: str) -> bool:
    """Return whether ``file`` is ``name`` without folders and without the prefix of uploaded files."""
    return f"/{name}".endswith(f"/{file}") or _UPLOAD_PREFIX.sub("", name) == file.rpartition("/")[2]


def _recognize(file: AnnotationFile) -> bool:
    start = file.head.lstrip(b"\xef\xbb\xbf \r\n\t")
    if start.startswith(b"{"):
        return "data" in file.json_object and bool({"annotations", "completions"} & file.json_object.keys())
    if not start.startswith(b"["):
        return False
    first = first_list_item(file.path)
    return _is_task(first) or _is_min(first)


def _sample_image_names(annotations: Path) -> Iterator[str]:
    """Yield image names with and without the prefix of uploaded files."""
    content = load_json(annotations)
    for task in islice(content if isinstance(content, list) else [content], SAMPLED):
        if isinstance(task, dict) and (written := _written_image(task)):
            name = name_in_address(written)
            yield from dict.fromkeys((name, _UPLOAD_PREFIX.sub("", name)))


READER = Reader("Label Studio JSON", (".json",), _recognize, parse, _sample_image_names)


def _is_task(task: Any) -> bool:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        return False
    return any(key in task for key in ("annotations", "completions", "predictions"))


def _is_min(task: Any) -> bool:
    return isinstance(task, dict) and "id" in task and "data" not in task and any(key in task for key in _MIN_KEYS)


def _id_of(task: Any, position: int) -> object:
    return task.get("id", f"at position {position}") if isinstance(task, dict) else f"at position {position}"


def _written_image(task: Mapping[str, Any]) -> str:
    """Return the image of a task as written: the text under a usual key, else the first one with an image's suffix."""
    data = task.get("data", task)
    texts = {key: text for key, text in data.items() if isinstance(text, str)} if isinstance(data, dict) else {}
    for key in _IMAGE_KEYS:
        if texts.get(key):
            return texts[key]
    return next((text for text in texts.values() if name_in_address(text).lower().endswith(_IMAGE_SUFFIXES)), "")


def _annotations_of_task(task: Mapping[str, Any], position: int) -> Iterator[_Annotated]:
    """Yield the annotations of a task that were not skipped."""
    if "data" not in task:
        time = str(task.get("updated_at") or task.get("created_at") or "")
        shapes: list[Any] = [
            {"value": item, "type": kind} | item
            for value in task.values()
            if isinstance(value, list)
            for item in value
            if isinstance(item, dict) and (kind := _labels_key(item) or _shape_type(item))
        ]
        yield _Annotated(shapes, False, time, position)
        return
    entries = task.get("annotations", task.get("completions"))
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        if not isinstance(entry, dict) or entry.get("was_cancelled") or entry.get("skipped"):
            continue
        results = entry.get("result")
        time = str(entry.get("updated_at") or entry.get("created_at") or "")
        yield _Annotated(results if isinstance(results, list) else [], bool(entry.get("ground_truth")), time, number)


def _labels_key(value: Mapping[str, Any]) -> str:
    """Return the key of the class names of a shape: rectanglelabels, polygonlabels, ..., or labels."""
    return next((key for key in value if key.endswith("labels") and isinstance(value[key], list)), "")


def _shape_type(value: Mapping[str, Any]) -> str:
    keys = {"points": "polygon", "radiusX": "ellipse", "rle": "brush", "height": "rectangle"}
    return next((kind for key, kind in keys.items() if key in value), "")


def _files_of(names: Sequence[str], images: Path) -> dict[str, str]:
    """Return {name: image file} for the names that match a file with another name."""
    return match_to_files(images, names, [name for name in names if not is_file(images / name)])


def _add_image(builder: UnvalidatedSplitBuilder, name: str, hw: tuple[int, int], results: Sequence[Any]) -> int:
    """Add an image with the objects of one annotation, and return its index.

    hw: (height, width) of the image file, (0, 0) if it cannot be read.
    """
    sizes = [size for result in results if (size := _original_hw(result)) != (0, 0)]
    original = sizes[0] if sizes else hw
    seen = hw if hw[0] else original
    same_image = any(_similar_aspect(seen, other) for other in (original, original[::-1]))
    image = builder.add_image(name, seen if same_image else original)
    names_of_id = {str(r.get("id")): names for r in results if isinstance(r, dict) and (names := _class_names(r))}
    with_shape = set()
    for number, result in enumerate(results, start=1):
        try:
            if _is_object(builder, image, number, result):
                key = str(result.get("id", number))
                names = _class_names(result) or names_of_id.get(key, [])
                if key not in with_shape:  # <Rectangle> with <Labels> is listed twice with one id
                    with_shape.add(key)
                    _add_object(builder, image, number, result, names, seen)
        except InvalidEntryError as problem:
            builder.skip_object(problem, image, number, json.dumps(result))
    return image


def _is_object(builder: UnvalidatedSplitBuilder, image: int, number: int, result: Any) -> bool:
    """Return whether a result is a shape with an area. Raises InvalidEntryError if it cannot be read."""
    if not isinstance(result, dict):
        raise InvalidEntryError("malformed_object", f"{str(result)[:60]!r}; expected a dict")
    kind = str(result.get("type", ""))
    if kind in _NO_SHAPES:
        return False
    value = result.get("value")
    if not isinstance(value, dict):
        raise InvalidEntryError("malformed_object", f"value {str(value)[:60]!r}; expected a dict")
    if kind.startswith(("keypoint", "vector")) or "keypointlabels" in value:
        builder.note("shape_without_area", image, number, kind)
        return False
    if not _shape_type(value):
        if kind.removesuffix("labels") in ("bitmask", "video", "videorectangle", "timeline"):
            raise InvalidEntryError("malformed_object", f"{kind[:60]} is not supported; export COCO or brush masks")
        raise InvalidEntryError("malformed_object", f"a result of type {kind[:60]!r} without a known shape")
    return True


def _add_object(
    builder: UnvalidatedSplitBuilder,
    image: int,
    number: int,
    result: Mapping[str, Any],
    names: Sequence[str],
    hw: tuple[int, int],
) -> None:
    if not names:
        raise InvalidEntryError("no_class", "no label")
    if result.get("image_rotation"):
        raise InvalidEntryError(
            "malformed_object",
            f"drawn on the image rotated by {str(result['image_rotation'])[:20]} degrees in Label Studio; export COCO",
        )
    if not hw[0]:
        raise InvalidEntryError("malformed_object", "percent of an image of unknown size")
    box, mask, is_box, is_rotated = shape_geometry(result["value"], hw, _original_hw(result) or hw)
    if is_rotated:
        builder.note("rotated_box", image, number, f"by {result['value']['rotation']} degrees")
    for name in dict.fromkeys(names):
        builder.add_object(image, builder.label(name), number, box=box, mask=mask, mask_from_box=is_box)


def _class_names(result: Mapping[str, Any]) -> list[str]:
    value = result.get("value")
    if not isinstance(value, dict) or not (key := _labels_key(value)):
        return []
    return [name for name in (str(n).strip() for n in value[key]) if name]


def _original_hw(result: Any) -> tuple[int, int]:
    """Return the (height, width) that a result states, (0, 0) without."""
    written = [result.get(f"original_{side}") if isinstance(result, dict) else None for side in ("height", "width")]
    sides = [round(side) for side in written if isinstance(side, int | float) and 1 <= side < 2**31]
    return (sides[0], sides[1]) if len(sides) == 2 else (0, 0)


def _similar_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two sizes may be those of one image at different resolutions."""
    if not (all(one) and all(other)):
        return True
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= _ASPECT_TOLERANCE
