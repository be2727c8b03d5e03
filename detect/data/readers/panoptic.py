"""Classes and ids of panoptic masks, from JSON files in the format of COCO's panoptic ground truth.

Format: https://cocodataset.org/#format-data. The color of a segment is its id, R + 256 G + 65536 B. Segments of
categories that are not things, such as the sky, are no objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from detect.data.file_listing import files_below
from detect.data.readers.parsing import load_json
from detect.data.readers.reader import AnnotationFile
from detect.data.splits import split_from_path
from detect.errors import DataError


class Segment(NamedTuple):
    """An object: its id in the mask, its category id, and whether it is a region of many objects."""

    id: int
    category: int
    is_crowd: bool


@dataclass(frozen=True)
class Panoptic:
    """Segments of masks.

    Attributes:
        categories: {category id: class name} of things.
        segments: {file name of a mask: {split that the path of the JSON file names, or None: its segments}}, without
            those of categories that are not things.
    """

    categories: dict[int, str] = field(default_factory=dict)
    segments: dict[str, dict[str | None, list[Segment]]] = field(default_factory=dict)

    def of_mask(self, mask: PurePosixPath) -> list[Segment] | None:
        """Return the segments of a mask, None if no JSON file lists it."""
        of_splits = self.segments.get(mask.name, {})
        return of_splits.get(split_from_path(mask), next(iter(of_splits.values()), None))


def read_panoptic(folder: Path) -> Panoptic:
    """Return the segments of all panoptic JSON files in ``folder``, its subfolders and the folder above."""
    panoptic = Panoptic()
    paths = [folder / name for name in files_below(folder, (".json",))]
    for path in dict.fromkeys([*paths, *sorted(folder.parent.glob("*.json"))]):
        if _is_panoptic(path):
            content = load_json(path)
            things = [c for c in content["categories"] if isinstance(c, dict) and c.get("isthing", 1)]
            panoptic.categories.update({c["id"]: str(c["name"]) for c in things if {"id", "name"} <= c.keys()})
            for entry in content["annotations"]:
                if isinstance(entry, dict) and isinstance(entry.get("file_name"), str):
                    name = PurePosixPath(entry["file_name"]).name
                    segments = _segments(entry.get("segments_info"), panoptic.categories)
                    panoptic.segments.setdefault(name, {})[split_from_path(PurePosixPath(path))] = segments
    return panoptic


def _is_panoptic(path: Path) -> bool:
    try:
        content = AnnotationFile(path).json_object
    except (OSError, ValueError, RecursionError):
        return False
    return {"annotations", "categories"} <= content.keys() and b'"segments_info"' in bytes(content["annotations"])


def _segments(entries: Any, categories: dict[int, str]) -> list[Segment]:
    segments = []
    for entry in entries if isinstance(entries, list) else ():
        segment, category = (entry.get(key) if isinstance(entry, dict) else None for key in ("id", "category_id"))
        if not (isinstance(segment, int) and isinstance(category, int)):
            raise DataError(f"a segment is {str(entry)[:60]}; expected whole numbers for 'id' and 'category_id'")
        if category in categories:
            segments.append(Segment(segment, category, bool(entry.get("iscrowd"))))
    return segments
