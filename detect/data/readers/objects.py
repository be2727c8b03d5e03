"""What every reader shares: loading JSON, collecting the objects of one picture, naming what it drops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detect import masks
from detect.errors import DataError, first_few, warn
from detect.masks import Polygons, Rle
from detect.types import ImageRecord

_KINDS = {int: "a whole number", str: "text", list: "a list", dict: "a dict"}
_LARGEST = float(np.finfo(np.float32).max)


def load_json(path: Path) -> Any:
    """The content of a JSON file; DataError says where it breaks off."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # some Windows programs begin with a byte order mark
    except FileNotFoundError:
        raise DataError(f"no such annotation file: {path}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, and a thousand brackets
        raise DataError(f"{path} is not JSON: {error}") from None


def need(entry: Any, key: str, where: str, kind: type | None = None) -> Any:
    """``entry[key]``, or a DataError that names the place and the key.

    kind: int, str, list or dict, where the value must be one; 3.0 counts as the int 3, True does not.
    """
    if not isinstance(entry, dict):
        raise DataError(f"{where} is a {type(entry).__name__}, it should be a dict with the key '{key}'")
    if key not in entry:
        raise DataError(f"{where} lacks the key '{key}'")
    value = entry[key]
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is int and isinstance(value, int) and abs(value) >= 2**63:
        raise DataError(f"{where}: '{key}' is {value}, it should fit into 64 bits")
    if kind and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise DataError(f"{where}: '{key}' is {str(value)[:60]!r}, it should be {_KINDS[kind]}")
    return value


def check_images(paths: Sequence[Path], annotations: Path) -> None:
    """DataError with the count and the first five of the pictures that the annotations name and nobody has."""
    missing = [p for p in paths if not is_file(p)]
    if missing:
        raise DataError(
            f"{annotations} names {len(missing)} of {len(paths)} images that are not there: {first_few(missing)}"
        )


def is_file(path: Path) -> bool:
    """``path.is_file()``, and False for a name that no file system takes, which raises below Python 3.14."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@dataclass
class Objects:
    """The objects of one picture while a reader collects them."""

    path: Path
    image_id: int
    image_hw: tuple[int, int]
    boxes: list[np.ndarray] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    iscrowd: list[bool] = field(default_factory=list)
    annotation_ids: list[int] = field(default_factory=list)
    masks: list[Polygons | Rle | None] = field(default_factory=list)

    def add(
        self,
        box: Sequence[float] | None,
        label: int,
        annotation_id: int,
        mask: Polygons | Rle | None = None,
        area: float | None = None,
        iscrowd: bool = False,
        name: str | None = None,
    ) -> str | None:
        """Add one object, box xyxy in pixels; without a box or an area, the mask's own. ``name`` is what messages
        call it where its user knows it by something else than its id.

        Returns why it was dropped, or None when it was kept: a box must be finite, have an area (a box without
        one makes a loss NaN) and touch the picture, and a mask must be one that ``masks.from_coco`` can code.
        """
        mask = mask or None  # COCO writes [] where there is none
        try:
            if mask is not None:
                masks.check(mask, self.image_hw)
            rle = masks.from_coco(mask, self.image_hw) if mask and (box is None or area is None) else None
            if box is None and rle is None:
                raise ValueError("it has neither a box nor a mask")
            checked = _box(masks.box(rle).tolist() if box is None and rle else box, self.image_hw)
            if area is None:
                area = masks.area(rle) if rle else float(np.prod(checked[2:] - checked[:2]))
            if not _is_finite(area) or area < 0:
                raise ValueError(f"its area {str(area)[:60]!r} is not a number of pixels")
        except ValueError as problem:
            return f"{self.path.name}, {name or f'annotation {annotation_id}'}: {problem}"
        self.boxes.append(checked)
        self.labels.append(label)
        self.areas.append(float(area))
        self.iscrowd.append(bool(iscrowd))
        self.annotation_ids.append(annotation_id)
        self.masks.append(mask)
        return None

    def record(self, with_masks: bool) -> ImageRecord:
        """The finished record; ``with_masks`` only where every object has one."""
        return ImageRecord(
            path=self.path,
            image_hw=self.image_hw,
            image_id=self.image_id,
            boxes=np.array(self.boxes, np.float32).reshape(-1, 4),
            labels=np.array(self.labels, np.int64),
            areas=np.array(self.areas, np.float64),
            iscrowd=np.array(self.iscrowd, bool),
            annotation_ids=np.array(self.annotation_ids, np.int64),
            masks=[m for m in self.masks if m is not None] if with_masks else None,
        )


def finish(pictures: Sequence[Objects], dropped: Sequence[str], annotations: Path) -> list[ImageRecord]:
    """The records. Says what was dropped; gives up masks everywhere when some objects have none, since a Mask
    R-CNN needs all."""
    if dropped:
        warn(f"{annotations}: {len(dropped)} objects cannot be used and are left out: {first_few(dropped)}")
    without = sum(None in p.masks for p in pictures)
    if without and any(mask is not None for p in pictures for mask in p.masks):
        warn(f"{annotations}: {without} pictures have objects without a mask, so no masks are used")
    return [p.record(with_masks=not without) for p in pictures]


def _box(box: Any, image_hw: tuple[int, int]) -> np.ndarray:
    """float32 [4] xyxy of ``box``; ValueError where no detector can learn it."""
    if not isinstance(box, list | tuple) or len(box) != 4 or not all(map(_is_finite, box)):
        raise ValueError(f"its box {str(box)[:100]} is not four finite numbers")
    x0, y0, x1, y1 = rounded = np.array(box, np.float32)  # what is compared is what the record will hold
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"its box {box} (xyxy) has no area")
    if x1 <= 0 or y1 <= 0 or x0 >= image_hw[1] or y0 >= image_hw[0]:
        raise ValueError(f"its box {box} (xyxy) lies outside the {image_hw[1]}x{image_hw[0]} picture")
    return rounded


def _is_finite(value: Any) -> bool:
    """Whether ``value`` is a number that float32 can hold."""
    return isinstance(value, int | float) and abs(value) <= _LARGEST
