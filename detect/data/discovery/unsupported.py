"""Annotation formats that are recognized but not read, each with the export to choose instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from detect.data.file_listing import FileListing
from detect.data.readers.parsing import first_list_item, is_number
from detect.data.readers.reader import AnnotationFile
from detect.data.splits import split_from_path
from detect.text import first_few

# Suffixes of formats that no reader reads. A TFRecord may have a number after it: train.record-00000-of-00010.
_BY_SUFFIX = {
    ".tfrecord": "TFRecord; export COCO JSON, Pascal VOC or CSV",
    ".tfrecords": "TFRecord; export COCO JSON, Pascal VOC or CSV",
    ".record": "TFRecord; export COCO JSON, Pascal VOC or CSV",
    ".mat": "MATLAB; export COCO JSON, or write the boxes as CSV",
    ".parquet": "Parquet; export COCO JSON",
}
_COCO = "export COCO JSON"
_LABELBOX = "convert it to COCO JSON with Labelbox's own library"
_USUAL_FOLDERS = ("", "images", "img", "imgs", "image", "data", "jpegimages", "photos")
# (format, keys that the JSON object has all of, what to do)
_OBJECTS: tuple[tuple[str, frozenset[str], str], ...] = tuple(
    (title, frozenset(keys.split()), export)
    for title, keys, export in (
        ("VoTT 2", "assets tags", "export Pascal VOC or CSV in VoTT"),
        ("VoTT 2", "asset regions", "export Pascal VOC or CSV in VoTT"),
        ("VoTT 1", "frames inputTags", "export Pascal VOC in VoTT"),
        ("Cityscapes", "imgHeight imgWidth objects", "convert it to COCO JSON"),
        ("BDD100K", "name frames attributes", "convert it to COCO JSON with bdd100k.label.to_coco"),
        ("BDD100K", "frames config", "convert it to COCO JSON with bdd100k.label.to_coco"),
        ("V7 Darwin", "item annotations version", f"{_COCO} in V7"),
        ("V7 Darwin", "image annotations dataset", f"{_COCO} in V7"),
        ("Datumaro", "categories items", f"{_COCO} with datum convert -f coco_instances"),
        ("SuperAnnotate", "metadata instances", f"{_COCO} in SuperAnnotate"),
        ("Hasty", "project_name label_classes images", f"{_COCO} in Hasty"),
        ("Scale AI", "task_id response", "convert it to COCO JSON"),
        ("Labelbox", "data_row projects", _LABELBOX),
    )
)
# (format, keys that the first item of a JSON list, or the first line of a file of JSON lines, has all of, what to do)
_ITEMS: tuple[tuple[str, frozenset[str], str], ...] = (
    *_OBJECTS,
    *(
        (title, frozenset(keys.split("|")), export)
        for title, keys, export in (
            ("BDD100K", "name|labels", "convert it to COCO JSON with bdd100k.label.to_coco"),
            ("BDD100K", "name|attributes|timestamp", "convert it to COCO JSON with bdd100k.label.to_coco"),
            ("Labelbox", "Label|Labeled Data", _LABELBOX),
            ("Labelbox", "DataRow ID|Label", _LABELBOX),
            ("SuperAnnotate", "className|type|points", "export COCO JSON in SuperAnnotate"),
            ("incomplete JSON-MIN of Label Studio", "annotation_id|lead_time", "export JSON in Label Studio"),
            ("createML", "image|annotations", "export COCO JSON instead of createML"),
        )
    ),
)
_TEXT_COLUMNS = {15: "KITTI", 16: "KITTI with scores"}


def why_unsupported(file: AnnotationFile) -> str:
    """Return which unsupported format a file seems to have, and what to export instead; "" for other files.

    Raises ValueError for a file that cannot be parsed.
    """
    suffix = "." + file.suffix.split("-of-")[0].lstrip(".").split("-")[0]
    if suffix in _BY_SUFFIX:
        return f"it seems to be {_BY_SUFFIX[suffix]}"
    if file.suffix in (".ndjson", ".jsonl"):
        return _in_words(_match(_first_line(file), _ITEMS)) or f"JSON lines are not read; {_COCO}"
    if file.suffix == ".json":
        return _json(file)
    if file.suffix == ".xml" and b"<polygon>" in file.head and b"<bndbox>" not in file.head:
        return "it seems to be XML of the LabelMe web page; export COCO JSON"
    return _text(file) if file.suffix == ".txt" else ""


def unsupported_suffixes(listing: FileListing) -> Iterator[str]:
    """Yield the suffixes in a folder by which ``why_unsupported`` recognizes a format, and those of JSON lines."""
    for suffix in listing.files:
        if suffix.split("-")[0] in _BY_SUFFIX or suffix in (".ndjson", ".jsonl"):
            yield suffix


def class_folders(listing: FileListing) -> Iterator[str]:
    """Yield a message if each image is in a folder that may be named after its class, as for classification."""
    names = {image.parent.name for image in listing.images}
    if len(names) >= 2 and not any(split_from_path(PurePosixPath(n)) or n.lower() in _USUAL_FOLDERS for n in names):
        shown = first_few(sorted(names), 3)
        yield (
            f"if the folders {shown} are classes, the dataset is for classification and has no boxes; draw them in "
            "CVAT, Label Studio or labelme"
        )


def _json(file: AnnotationFile) -> str:
    content = file.json_object
    if content:
        keys = set(content)
        if "frames" in keys and "framerate" in keys:
            return _in_words(("VoTT 1", "export Pascal VOC in VoTT"))
        return _in_words(_match(keys, _OBJECTS))
    item = first_list_item(file.path)
    return _in_words(_match(set(item), _ITEMS)) if isinstance(item, dict) else ""


def _first_line(file: AnnotationFile) -> set[str]:
    with file.path.open(encoding="utf-8-sig", errors="replace") as lines:
        content: Any = json.loads(lines.readline() or "null")
    return set(content) if isinstance(content, dict) else set()


def _match(keys: set[str], table: tuple[tuple[str, frozenset[str], str], ...]) -> tuple[str, str] | None:
    return next(((title, export) for title, needed, export in table if needed <= keys), None)


def _in_words(found: tuple[str, str] | None) -> str:
    return f"it seems to be {found[0]}, which is not read; {found[1]}" if found else ""


def _text(file: AnnotationFile) -> str:
    """Return the message for text files of KITTI, MOT and WIDER FACE."""
    lines = [line for line in file.head_text.splitlines()[:4] if line.strip()]
    words = lines[0].split() if lines else []
    if len(words) in _TEXT_COLUMNS and not is_number(words[0]) and all(map(is_number, words[1:])):
        return _in_words((_TEXT_COLUMNS[len(words)], "convert it to Pascal VOC or COCO JSON"))
    cells = lines[0].split(",") if lines else []
    if 7 <= len(cells) <= 10 and all(map(is_number, cells)) and (file.path.name in ("gt.txt", "det.txt")):
        return _in_words(("MOT", "convert it to COCO JSON"))
    image_and_count = (
        len(lines) >= 3 and lines[0].strip().lower().endswith((".jpg", ".png")) and lines[1].strip().isdecimal()
    )
    if image_and_count and len(lines[2].split()) == 10 and all(map(is_number, lines[2].split())):
        return _in_words(("WIDER FACE", "convert it to COCO JSON or CSV"))
    return ""
