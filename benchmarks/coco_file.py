"""Generation of an annotation file as large as COCO's, with random content.

Everything that affects the cost of reading is as in COCO: the keys, the number of polygon points and of their digits,
polygons in several parts, crowds as RLE, ids with gaps, annotations in no order. Masks repeat, which makes reading no
faster, since no reader looks for equal masks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import shapely

from detect.errors import DiskError
from detect.io.files import new_temporary_folder, write_bytes

_SIDES_HW = ((480, 640), (640, 480), (427, 640), (640, 427), (375, 500), (500, 375))
_NO_CATEGORY = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # COCO's 80 ids in 1..90 leave these out
_CATEGORIES = [i for i in range(1, 91) if i not in _NO_CATEGORY]
_SHAPES = 500  # different masks per image size
_CROWDS = 0.01  # fraction of the shapes
_TWO_PARTS = 0.1
_POINTS = 22  # mean of one part of a polygon; 24 per annotation
_MAX_POINTS = 200
_SIDE = (38.0, 1.0)  # pixels of an object: median and sigma of a log-normal distribution


@contextmanager
def generated(images: int, objects: int) -> Iterator[Path]:
    """Yield the path of a generated file, deleted when the block ends. Raises DiskError for a full disk."""
    with new_temporary_folder("benchmark_") as folder:
        path = folder / "instances.json"
        try:
            generate(path, images, objects)
        except DiskError as error:
            raise DiskError(f"{error} (the environment variable TMPDIR selects another folder)") from None
        yield path


def generate(path: Path, images: int, objects: int) -> None:
    """Write the file; equal counts give equal files. Raises DiskError for a full disk."""
    rng = np.random.default_rng(0)
    shapes = [[_shape(rng, hw, number < _CROWDS * _SHAPES) for number in range(_SHAPES)] for hw in _SIDES_HW]
    image_ids = (rng.choice(5 * images, images, replace=False) + 1).tolist()
    sizes = rng.integers(len(_SIDES_HW), size=images).tolist()
    object_ids = rng.choice(3 * objects, objects, replace=False) + 1
    categories = rng.choice(_CATEGORIES, objects)
    columns = (object_ids, categories, rng.integers(images, size=objects), rng.integers(_SHAPES, size=objects))
    annotations = [
        {**shapes[sizes[image]][shape], "image_id": image_ids[image], "category_id": category, "id": number}
        for number, category, image, shape in zip(*(column.tolist() for column in columns), strict=True)
    ]
    content = {
        "info": {"description": "generated"},
        "licenses": [{"url": "", "id": 1, "name": "none"}],
        "images": [_image(number, _SIDES_HW[size]) for number, size in zip(image_ids, sizes, strict=True)],
        "annotations": annotations,
        "categories": [{"supercategory": "thing", "id": i, "name": f"class {i}"} for i in _CATEGORIES],
    }
    write_bytes(path, msgspec.json.encode(content))


def _image(number: int, hw: tuple[int, int]) -> dict[str, Any]:
    name = f"{number:012d}.jpg"
    url = f"http://images.cocodataset.org/train2017/{name}"
    flickr_url = f"http://farm7.staticflickr.com/6116/{number:010d}_da26cf2c9e_z.jpg"
    size = {"height": hw[0], "width": hw[1], "date_captured": "2013-11-14 17:02:52"}
    return {"license": 1, "file_name": name, "coco_url": url, **size, "flickr_url": flickr_url, "id": number}


def _shape(rng: np.random.Generator, hw: tuple[int, int], is_crowd: bool) -> dict[str, Any]:
    """Return a random mask with its area and box: a disc as RLE for a crowd, else one or two polygons."""
    side = min(max(4, rng.lognormal(np.log(_SIDE[0]), _SIDE[1])), 0.8 * min(hw))
    center_yx = side / 2 + rng.random(2) * (np.array(hw) - side)
    mask: Any
    if is_crowd:
        y, x = np.ogrid[: hw[0], : hw[1]]
        disc = np.hypot(y + 0.5 - center_yx[0], x + 0.5 - center_yx[1]) < side / 2
        changes = np.flatnonzero(np.diff(disc.ravel(order="F"), prepend=False))
        mask = {"counts": np.diff(changes, prepend=0, append=disc.size).tolist(), "size": hw}
        yx = np.argwhere(disc)
        area, low, high = float(len(yx)), yx.min(axis=0), yx.max(axis=0) + 1
    else:
        parts = [_star(rng, center_yx, side, hw) for _ in range(1 + (rng.random() < _TWO_PARTS))]
        mask = [part[:, ::-1].ravel().tolist() for part in parts]
        yx = np.concatenate(parts)
        area, low, high = sum(shapely.Polygon(part).area for part in parts), yx.min(axis=0), yx.max(axis=0)
    box = [*low[::-1].tolist(), *(high - low)[::-1].round(2).tolist()]
    return {"segmentation": mask, "area": round(area, 4), "iscrowd": int(is_crowd), "bbox": box}


def _star(rng: np.random.Generator, center_yx: np.ndarray, side: float, hw: tuple[int, int]) -> np.ndarray:
    """Return a random polygon near ``center_yx``: float64 [n, 2], y and x in pixels, rounded to hundredths."""
    count = min(2 + rng.geometric(1 / (_POINTS - 2)), _MAX_POINTS)
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = side / 2 * rng.uniform(0.7, 1.3, count)
    center_yx = center_yx + side * rng.uniform(-0.3, 0.3, 2)
    yx = center_yx + radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return yx.clip(0, hw).round(2)
