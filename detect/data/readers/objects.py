"""What every reader shares: loading JSON, collecting the objects of one picture, naming what it drops."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detect import masks
from detect.errors import DataError, first_few, warn
from detect.masks import Polygons, Rle
from detect.types import ImageRecord


def load_json(path: Path) -> Any:
    """The content of a JSON file; DataError says where it breaks off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"no such annotation file: {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}") from None


def need(entry: Any, key: str, where: str) -> Any:
    """``entry[key]``, or a DataError that names the place and the key."""
    if not isinstance(entry, dict) or key not in entry:
        raise DataError(f"{where} lacks the key '{key}'")
    return entry[key]


def check_images(paths: list[Path], annotations: Path) -> None:
    """DataError with the count and the first five of the pictures that the annotations name and nobody has."""
    missing = [p for p in paths if not p.is_file()]
    if missing:
        raise DataError(
            f"{annotations} names {len(missing)} of {len(paths)} images that are not there: {first_few(missing)}"
        )


@dataclass
class Objects:
    """The objects of one picture while a reader collects them."""

    image_hw: tuple[int, int]
    boxes: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    iscrowd: list[bool] = field(default_factory=list)
    annotation_ids: list[int] = field(default_factory=list)
    masks: list[Polygons | Rle | None] = field(default_factory=list)

    def add(
        self,
        box: list[float] | None,
        label: int,
        annotation_id: int,
        mask: Polygons | Rle | None = None,
        area: float | None = None,
        iscrowd: bool = False,
    ) -> str | None:
        """Add one object, box xyxy in pixels; without a box or an area, the mask's own.

        Returns why it was dropped, or None when it was kept: a box must be finite and have an area (a box
        without one makes a loss NaN), a polygon needs 3 points.
        """
        try:
            rle = masks.from_coco(mask, self.image_hw) if mask and (box is None or area is None) else None
            if isinstance(mask, list):
                for polygon in mask:
                    if len(polygon) < 6:
                        raise ValueError("a polygon needs at least 3 points")
            box = masks.box(rle).tolist() if box is None and rle else box
            if box is None or len(box) != 4 or not np.all(np.isfinite(box)):
                raise ValueError(f"box {box} is not four finite numbers")
            if box[2] <= box[0] or box[3] <= box[1]:
                raise ValueError(f"box {box} (xyxy) has no area")
        except (ValueError, TypeError) as problem:
            return f"annotation {annotation_id}: {problem}"
        self.boxes.append(box)
        self.labels.append(label)
        if area is None:
            area = masks.area(rle) if rle else (box[2] - box[0]) * (box[3] - box[1])
        self.areas.append(float(area))
        self.iscrowd.append(bool(iscrowd))
        self.annotation_ids.append(int(annotation_id))
        self.masks.append(mask or None)
        return None

    def record(self, path: Path, image_id: int) -> ImageRecord:
        """The finished record; masks only if every object has one."""
        return ImageRecord(
            path=path,
            image_hw=self.image_hw,
            image_id=image_id,
            boxes=np.array(self.boxes, np.float32).reshape(-1, 4),
            labels=np.array(self.labels, np.int64),
            areas=np.array(self.areas, np.float64),
            iscrowd=np.array(self.iscrowd, bool),
            annotation_ids=np.array(self.annotation_ids, np.int64),
            masks=None if None in self.masks else [m for m in self.masks if m is not None],
        )


def finish(records: list[ImageRecord], dropped: list[str], annotations: Path) -> list[ImageRecord]:
    """Say what was dropped; give up masks everywhere when some objects have none, since a Mask R-CNN needs all."""
    if dropped:
        warn(f"{annotations}: {len(dropped)} objects cannot be used and are left out: {first_few(dropped)}")
    without = [r for r in records if r.masks is None]
    if without and any(r.masks for r in records):
        warn(f"{annotations}: {len(without)} pictures have objects without a mask, so no masks are used")
    if without:
        records = [ImageRecord(**{**r.__dict__, "masks": None}) for r in records]
    return records
