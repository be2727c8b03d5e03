"""A small COCO dataset, and detections of it in the dialects of the results format that programs write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from detect.data.description import find_spec
from detect.inference.writers.base import Source
from detect.inference.writers.files import encode_files
from detect.structures import masks
from detect.structures.detections import Detections
from helpers.any_format import HW, put_images

Rows = list[dict[str, Any]]

# Neither the ids nor the numbers in the file names are 1, 2 ..., and none is both.
IMAGES = {"val": {21: "000005.png", 11: "000007.png", 40: "more/000008.png"}, "train": {31: "000009.png"}}
CATEGORIES = {90: "circle", 7: "square", 3: "triangle"}
IDS = list(CATEGORIES)


def write_dataset(folder: Path) -> Path:
    """Write the dataset: four objects with masks in each image, of all classes. Return its folder."""
    rng = np.random.default_rng(5)
    for split, names in IMAGES.items():
        put_images(folder / split, *names.values())
        annotations = []
        for image_id in names:
            for number, (x, y) in enumerate([(2, 2), (30, 3), (3, 21), (32, 22)]):
                w, h = rng.integers(10, 17, 2).tolist()
                polygon = [x, y, x + w, y, x + w, y + h, x + 3, y + h]
                row = {"id": len(annotations) + 1, "image_id": image_id, "category_id": IDS[number % 3], "iscrowd": 0}
                row |= {"bbox": [x, y, w, h], "area": w * h, "segmentation": [polygon]}
                annotations.append(row)
        images = [{"id": i, "file_name": n, "height": HW[0], "width": HW[1]} for i, n in names.items()]
        categories = [{"id": i, "name": n} for i, n in CATEGORIES.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(content))
    parts = "\n".join(f"  {split}: {{images: {split}, annotations: {split}.json}}" for split in IMAGES)
    (folder / "data.yaml").write_text(f"name: tiny\nformat: coco\nroot: .\nsplits:\n{parts}\n")
    return folder / "data.yaml"


def perfect_rows(folder: Path, split: str = "val") -> Rows:
    """Return every object of a split as a detection, as Detectron2 writes it: with a compressed RLE."""
    content = json.loads((folder / f"{split}.json").read_text())
    return [
        {
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "bbox": [float(n) for n in row["bbox"]],
            "score": round(1 - number / 1000, 3),
            "segmentation": masks.to_json(masks.from_polygons(row["segmentation"], HW)),
        }
        for number, row in enumerate(content["annotations"])
    ]


def noisy_rows(folder: Path, seed: int = 0) -> Rows:
    """Return three displaced detections per object; scores have two decimals, so that some are equal."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in perfect_rows(folder) * 3:
        x, y, w, h = (np.array(row["bbox"]) + rng.normal(0, 2, 4)).clip(1, 29).tolist()
        category = row["category_id"] if rng.random() < 0.8 else int(rng.choice(IDS))
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        segmentation = masks.to_json(masks.from_polygons([polygon], HW))
        score = round(rng.uniform(0, 1), 2)
        rows.append(
            row | {"bbox": [x, y, w, h], "category_id": category, "score": score, "segmentation": segmentation}
        )
    return rows


def without(rows: Rows, *keys: str) -> Rows:
    return [{key: value for key, value in row.items() if key not in keys} for row in rows]


def name_of(row: dict[str, Any]) -> str:
    return IMAGES["val"][row["image_id"]]


def stem_of(row: dict[str, Any]) -> str:
    return Path(name_of(row)).stem


def uncompressed(rle: dict[str, Any]) -> dict[str, Any]:
    pixels = masks.to_bitmap(masks.from_coco(rle, HW)).ravel(order="F")
    edges = np.flatnonzero(np.diff(pixels, prepend=0)).tolist()
    return {"size": list(HW), "counts": np.diff([0, *edges, len(pixels)]).tolist()}


def fiftyone(rows: Rows) -> dict[str, Any]:
    """Return rows with their own numbering of images and classes, which lists of these explain."""
    images, names = list(IMAGES["val"]), list(CATEGORIES.values())
    own = [
        row | {"image_id": images.index(row["image_id"]) + 40, "category_id": IDS.index(row["category_id"]) + 2}
        for row in rows
    ]
    return {
        "images": [{"id": i + 40, "file_name": Path(IMAGES["val"][id]).name} for i, id in enumerate(images)],
        "categories": [{"id": i + 2, "name": name} for i, name in enumerate(names)],
        "annotations": own,
    }


def own_writer(rows: Rows, data: Path, format: str = "json") -> Any:
    """Return detections.json of detect_image.py, or detections_coco.json for the format "coco"."""
    class_names, records = find_spec(str(data)).read("val")
    pairs = []
    for record in records:
        own = sorted((row for row in rows if row["image_id"] == record.image_id), key=lambda row: -row["score"])
        xywh = np.array([row["bbox"] for row in own])
        found = Detections(
            record.image_hw,
            np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1).astype(np.float32),
            np.array([row["score"] for row in own], np.float32),
            np.array([IDS.index(row["category_id"]) + 1 for row in own]),
            [masks.from_coco(row["segmentation"], HW) for row in own],
        )
        pairs.append((Source(str(record.path), np.zeros((1, 1, 3), np.uint8)), found))
    (text,) = encode_files(format, class_names, pairs).values()
    return json.loads(text)
