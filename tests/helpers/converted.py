"""Datasets to convert, and comparisons with what is read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from detect.data.columns import NO_MASK
from detect.data.exporters.export_rows import AREAS, CATEGORY_IDS, CROWDS, MASKS, OBJECTS_WITHOUT_MASK
from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.media.images import write_image
from detect.structures import masks
from detect.structures.class_names import ClassNames
from helpers.reading import read_split

HW = (60, 80)
CATEGORIES = {7: "kite", 3: "big  bird", 90: "Vögel & <Co>"}
TEXTS = {"kite": "kite", "big  bird": "big bird", "Vögel & <Co>": "Vögel & <Co>"}  # as VOC and VIA hold them
NAMES = ("a.png", "A.png", "a.jpg", "sub folder/a.png", "größe 1.png", "images/b.png", "train.png", "x/../c.png")


def mask_of(rng: np.random.Generator, kind: str) -> tuple[Any, list[float], float]:
    """Return a segmentation with its box xywh and its area."""
    if kind == "rle":
        bitmap = np.zeros(HW, bool)
        y, x = rng.integers(0, 30, 2)
        bitmap[y : y + 25, x : x + 30] = rng.random((25, 30)) > 0.3
        rle = masks.from_bitmap(bitmap)
        x0, y0, x1, y1 = masks.box(rle).tolist()
        return masks.to_json(rle), [x0, y0, x1 - x0, y1 - y0], masks.area(rle)
    polygons = []
    for low in (0, 40)[: 2 if kind == "parts" else 1]:
        angles = 2 * np.pi * (np.arange(9) + rng.uniform(0, 1, 9)) / 9
        points = 20 + low / 2 + np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(8, 19, (9, 1))
        polygons.append(points.round(2).ravel().tolist())
    points = np.concatenate(polygons).reshape(-1, 2)
    low, high = points.min(axis=0), points.max(axis=0)
    return polygons, [*low.tolist(), *(high - low).tolist()], masks.area(masks.from_polygons(polygons, HW))


def coco(folder: Path, seed: int, names: tuple[str, ...] = NAMES, kinds: tuple[str, ...] = ("box",)) -> Path:
    """Write a COCO dataset of noise images; the last image has no objects."""
    rng = np.random.default_rng(seed)
    images, objects = [], []
    for number, name in enumerate(names, start=1):
        path = folder / "images" / name
        (folder / "images" / "x").mkdir(parents=True, exist_ok=True)  # x/../c.png passes through it
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / "new.png", rng.integers(0, 256, (*HW, 3), dtype=np.uint8))
        (folder / "new.png").rename(path)  # the suffix need not fit the content
        images.append({"id": 100 * number, "file_name": name, "height": HW[0], "width": HW[1]})
        for _ in range(0 if number == len(names) else rng.integers(1, 6)):
            kind = str(rng.choice(kinds))
            entry = {"id": len(objects) + 1000, "image_id": 100 * number, "category_id": int(rng.choice([7, 3, 90]))}
            if kind == "box":
                x, y = rng.uniform(0, 50, 2).round(2)
                box, area = [x, y, 25.01, 7.3], 25.01 * 7.3
            else:
                entry["segmentation"], box, area = mask_of(rng, kind)
            crowd = int(kind == "rle" and rng.random() < 0.5)
            objects.append(entry | {"bbox": box, "area": area, "iscrowd": crowd})
    categories = [{"id": i, "name": n} for i, n in CATEGORIES.items()]
    path = folder / f"ground_truth_{seed}.json"
    path.write_text(json.dumps({"images": images, "annotations": objects, "categories": categories}))
    return path


def read(folder: Path, seed: int = 0, **options: Any) -> tuple[ClassNames, Table]:
    return read_split("coco", folder / "images", coco(folder, seed, **options))


def read_back(form: str, folder: Path, names: Mapping[str, list[str]], classes: tuple[str, ...]) -> dict[str, Table]:
    """Read the splits of a converted dataset whose images have these ``names``."""
    paths = {
        "coco": ("{}", "annotations/instances_{}.json"),
        "voc": ("JPEGImages", "Annotations"),
        "yolo": ("images/{}", "labels/{}"),
        "via": ("{}", "{}/via_region_data.json"),
        "labelme": ("{}", "{}"),
    }[form]
    splits: dict[str, dict[str, Any]] = {
        s: dict(zip(("images", "annotations"), (path.format(s) for path in paths), strict=True)) for s in names
    }
    if form == "voc":
        for s in names:
            stems = (folder / "ImageSets" / "Main" / f"{s}.txt").read_text(encoding="utf-8").splitlines()
            assert [name.rpartition(".")[0] for name in names[s]] == stems
            splits[s]["files"] = list(names[s])
    if form == "yolo":
        content = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
        assert content == {s: f"images/{s}" for s in names} | {"names": dict(enumerate(classes))}
    spec = DatasetSpec("new", form, folder, splits, None if form == "coco" else classes)
    tables = {}
    for s in names:
        class_names, tables[s] = spec.read(s)
        assert class_names.names == classes
    return tables


def same(form: str, old: Table, new: Table, names: list[str]) -> None:
    """Check that ``new`` equals ``old``, as far as the format holds it; ``names`` are the image names in ``new``."""
    row_of = {new.names[i]: i for i in range(len(new))}
    assert len(row_of) == len(new) == len(old)
    for i, name in enumerate(names):
        j = row_of[name]
        assert new.path(j).read_bytes() == old.path(i).read_bytes()
        assert new.image_hw[j].tolist() == old.image_hw[i].tolist()
        theirs = range(new.object_starts[j], new.object_starts[j + 1])
        ours = [
            r
            for r in range(old.object_starts[i], old.object_starts[i + 1])
            if form not in ("yolo", "labelme") or not old.iscrowd[r]
        ]
        assert new.labels[theirs].tolist() == old.labels[ours].tolist()
        assert new.iscrowd[theirs].tolist() == old.iscrowd[ours].tolist()
        hw = tuple(old.image_hw[i].tolist())
        for a, b in zip(ours, theirs, strict=True):
            _same_object(form, old, a, new, b, hw)


def _same_object(form: str, old: Table, a: int, new: Table, b: int, hw: tuple[int, int]) -> None:
    ours, theirs = (None if t.lacks_mask[r] else t.masks[t.mask_rows[r]] for t, r in ((old, a), (new, b)))
    if form == "coco":
        assert new.boxes[b].tolist() == old.boxes[a].tolist() and new.areas[b] == old.areas[a]
        assert new.annotation_ids[b] == old.annotation_ids[a]
        plain = [m if m is None or isinstance(m, dict) else [p.tolist() for p in m] for m in (ours, theirs)]
        assert plain[0] == plain[1]
        return
    box = old.boxes[a]
    if ours is not None and form != "voc":
        drawn, ground_truth = masks.from_coco(theirs, hw), masks.from_coco(ours, hw)
        assert masks.iou([drawn], [ground_truth])[0, 0] >= 0.99
        # The readers of YOLO, and of labelme for several parts, take the box of the drawn pixels; COCO's annotated
        # boxes of crowds are a pixel too small.
        of_pixels = form == "yolo" or isinstance(ours, dict) or (form == "labelme" and len(ours) > 1)
        box = masks.box(ground_truth) if of_pixels else box
    assert np.abs(new.boxes[b] - box).max() <= 0.5


def losses(form: str, parts: Mapping[str, Table], class_names: ClassNames) -> dict[str, int]:
    """Return the losses that must be reported for the datasets of ``coco`` above."""
    tables = parts.values()
    crowds = sum(int(t.iscrowd.sum()) for t in tables)
    masked = sum(int((t.masks.kinds[t.mask_rows] != NO_MASK).sum()) for t in tables)
    without_mask = sum(len(t.labels) for t in tables) - masked
    sides = [t.boxes[:, 2:] - t.boxes[:, :2] for t in tables]
    off = [np.abs(t.areas - wh.prod(axis=1)) / t.areas for t, wh in zip(tables, sides, strict=True)]
    expected = {
        "coco": {},
        "voc": {CATEGORY_IDS: len(class_names), MASKS: masked, AREAS: sum(int((one > 0.01).sum()) for one in off)},
        "yolo": {CATEGORY_IDS: len(class_names), CROWDS: crowds},
        "via": {CATEGORY_IDS: len(class_names), OBJECTS_WITHOUT_MASK: without_mask},
        "labelme": {
            CATEGORY_IDS: len(class_names),
            CROWDS: crowds,
            OBJECTS_WITHOUT_MASK: without_mask if masked else 0,
        },
    }[form]
    return {what: count for what, count in expected.items() if count}


def one_image(tmp_path: Path, *entries: dict[str, Any], ids: tuple[int, ...] = (1, 2)) -> tuple[ClassNames, Table]:
    """Return one black image with ``entries`` as annotations, by default of the first of two categories."""
    folder = tmp_path / "images"
    folder.mkdir(exist_ok=True)
    write_image(folder / "a.png", np.zeros((*HW, 3), np.uint8))
    numbered = [{"id": i, "image_id": 1, "category_id": ids[0]} | entry for i, entry in enumerate(entries, start=1)]
    images = [{"id": 1, "file_name": "a.png", "height": HW[0], "width": HW[1]}]
    categories = [{"id": i, "name": n} for i, n in zip(ids, ("kite", "bird"), strict=True)]
    path = tmp_path / "ground truth.json"
    path.write_text(json.dumps({"images": images, "annotations": numbered, "categories": categories}))
    return read_split("coco", folder, path)
