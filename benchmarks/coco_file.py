"""A rendered annotation file of COCO's size. Only its keys and sizes are COCO's.

What matters to a reader is like COCO: the keys, their order and spaces, the number of polygon points and their digits,
polygons in several parts, crowds as RLE, ids with gaps, annotations in no order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detect import progress
from detect.errors import DiskError
from detect.io.files import disk_errors_naming, new_temporary_folder

_SIDES_HW = ((480, 640), (640, 480), (427, 640), (640, 427), (375, 500), (500, 375))
_NO_CATEGORY = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # COCO's 80 ids in 1..90 leave these out
_CATEGORIES = [i for i in range(1, 91) if i not in _NO_CATEGORY]
_POINTS = 22  # mean of one part of a polygon; 24 per annotation
_MAX_POINTS = 200
_TWO_PARTS = 0.1  # fraction of annotations
_CROWDS = 0.01
_SIDE = (38.0, 1.0)  # pixels of an object: median and sigma of a log-normal distribution
_CHUNK = 10_000  # annotations
# Text of each multiple of 0.01. A lookup is over ten times as fast as formatting, and there are 40 million numbers.
_HUNDREDTHS = [str(n / 100) for n in range(100 * max(map(max, _SIDES_HW)) + 1)]


class _Images(NamedTuple):
    """Images: ids int64 [N], distinct, with gaps; hw int64 [N, 2]."""

    ids: np.ndarray
    hw: np.ndarray


@contextmanager
def rendered(images: int, objects: int) -> Iterator[Path]:
    """Yield the path of a rendered file, deleted when the block ends. Raises DiskError for a full disk."""
    with new_temporary_folder("benchmark_") as folder:
        path = folder / "instances.json"
        try:
            render(path, images, objects)
        except DiskError as error:
            raise DiskError(f"{error} (the environment variable TMPDIR selects another folder)") from None
        yield path


def render(path: Path, images: int, objects: int) -> None:
    """Write the file; equal counts give equal files. Raises DiskError for a full disk."""
    generator = np.random.default_rng(0)
    ids = generator.choice(5 * images, images, replace=False) + 1
    all_images = _Images(ids, np.array(_SIDES_HW)[generator.integers(len(_SIDES_HW), size=images)])
    object_ids = generator.choice(3 * objects, objects, replace=False) + 1
    bar = progress.bar(total=objects, desc="rendering annotations", unit=" objects")
    with bar, disk_errors_naming(path), path.open("w", encoding="ascii") as file:
        file.write('{"info": {"description": "rendered"},"licenses": [{"url": "","id": 1,"name": "none"}],"images": [')
        file.write(",".join(_image(*one) for one in zip(ids.tolist(), all_images.hw.tolist(), strict=True)))
        file.write('],"annotations": [')
        for start in range(0, objects, _CHUNK):
            some = object_ids[start : start + _CHUNK]
            file.write(("," if start else "") + ",".join(_objects(generator, all_images, some)))
            bar.update(len(some))
        categories = [{"supercategory": "thing", "id": i, "name": f"class {i}"} for i in _CATEGORIES]
        file.write(f'],"categories": {json.dumps(categories)}}}')
        file.flush()
        os.fsync(file.fileno())  # so that the disk is not still writing while a reader is measured


def _image(image_id: int, hw: list[int]) -> str:
    name = f"{image_id:012d}.jpg"
    return (
        f'{{"license": 1,"file_name": "{name}","coco_url": "http://images.cocodataset.org/train2017/{name}",'
        f'"height": {hw[0]},"width": {hw[1]},"date_captured": "2013-11-14 17:02:52",'
        f'"flickr_url": "http://farm7.staticflickr.com/6116/{image_id:010d}_da26cf2c9e_z.jpg","id": {image_id}}}'
    )


def _objects(generator: np.random.Generator, images: _Images, ids: np.ndarray) -> Iterator[str]:
    """Yield the annotations with these ids, each with a random image and class."""
    rows = generator.integers(len(images.ids), size=len(ids))
    hw = images.hw[rows]
    is_crowd = generator.random(len(ids)) < _CROWDS
    sides = np.minimum(generator.lognormal(np.log(_SIDE[0]), _SIDE[1], len(ids)).clip(4), 0.8 * hw.min(axis=1))
    centers_yx = sides[:, None] / 2 + generator.random((len(ids), 2)) * (hw - sides[:, None])
    polygons = _polygons(generator, centers_yx, sides, hw)
    categories = generator.choice(_CATEGORIES, len(ids)).tolist()
    labels = zip(images.ids[rows].tolist(), categories, ids.tolist(), strict=True)
    for row, (shape, (image_id, category, object_id)) in enumerate(zip(polygons, labels, strict=True)):
        if is_crowd[row]:
            shape = _crowd(centers_yx[row], sides[row], hw[row])
        segmentation, area, box = shape
        yield (
            f'{{"segmentation": {segmentation},"area": {area},"iscrowd": {int(is_crowd[row])},"image_id": {image_id},'
            f'"bbox": [{box}],"category_id": {category},"id": {object_id}}}'
        )


def _polygons(
    generator: np.random.Generator, centers_yx: np.ndarray, sides: np.ndarray, hw: np.ndarray
) -> Iterator[tuple[str, float, str]]:
    """Yield (polygons, area, box) of dented stars around ``centers_yx`` [n, 2] with sizes of about ``sides`` [n]."""
    parts = 1 + (generator.random(len(sides)) < _TWO_PARTS)
    owner = np.repeat(np.arange(len(sides)), parts)
    centers_yx = centers_yx[owner] + generator.uniform(-0.3, 0.3, (len(owner), 2)) * sides[owner, None]
    counts = np.minimum(2 + generator.geometric(1 / (_POINTS - 2), len(owner)), _MAX_POINTS)
    ends = np.cumsum(counts)
    part = np.repeat(np.arange(len(owner)), counts)
    angle = 2 * np.pi * (np.arange(len(part)) - (ends - counts)[part]) / counts[part]
    radius = sides[owner][part] / 2 * generator.uniform(0.7, 1.3, len(part))
    yx = centers_yx[part] + radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)
    yx = np.rint(100 * yx.clip(0, hw[owner][part])).astype(np.int64)  # hundredths of a pixel

    after = np.arange(1, len(part) + 1)
    after[ends - 1] = ends - counts
    cross = yx[:, 1] * yx[after, 0] - yx[after, 1] * yx[:, 0]
    first_parts = np.cumsum(parts) - parts
    firsts = (ends - counts)[first_parts]
    areas = np.add.reduceat(cross, firsts) / 20_000
    low, high = np.minimum.reduceat(yx, firsts), np.maximum.reduceat(yx, firsts)
    boxes = np.stack([low[:, 1], low[:, 0], *(high - low).T[::-1]], 1)

    numbers = [_HUNDREDTHS[n] for n in yx[:, ::-1].ravel().tolist()]
    bounds = [0, *(2 * ends).tolist()]
    for first, many, area, box in zip(
        first_parts.tolist(), parts.tolist(), areas.tolist(), boxes.tolist(), strict=True
    ):
        parts_of_one = ("[" + ",".join(numbers[bounds[i] : bounds[i + 1]]) + "]" for i in range(first, first + many))
        yield f"[{','.join(parts_of_one)}]", area, ",".join(_HUNDREDTHS[n] for n in box)


def _crowd(center_yx: np.ndarray, side: float, hw: np.ndarray) -> tuple[str, float, str]:
    """Return the uncompressed RLE, area and box of a disc of whole pixels."""
    height, width = hw.tolist()
    (y, x), radius = center_yx.tolist(), side / 2
    columns = np.unique(np.arange(int(x - radius), int(x + radius) + 1).clip(0, width - 1))
    half = np.sqrt(np.maximum(radius**2 - (columns + 0.5 - x) ** 2, 0))
    tops = (y - half).astype(np.int64).clip(0, height - 1)
    bottoms = (y + half).astype(np.int64).clip(tops, height - 1) + 1
    edges = np.stack([columns * height + tops, columns * height + bottoms], 1).ravel()
    runs = np.diff(edges, prepend=0, append=height * width).tolist()
    box = (columns[0], tops.min(), len(columns), bottoms.max() - tops.min())
    code = f'{{"counts": [{",".join(map(str, runs))}],"size": [{height}, {width}]}}'
    return code, int((bottoms - tops).sum()), ",".join(map(str, box))
