"""Annotations of one object per image, a kite at BOX, in every format."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from detect.data.spec import DatasetSpec
from detect.media.images import write_image

HW = (40, 60)
BOX = (10, 5, 30, 20)  # xyxy


def put_images(folder: Path, *names: str) -> None:
    """Write noise images that all differ."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(sum(map(ord, str(folder / name))) * 7919 + len(name))
        write_image(folder / name, np.kron(rng.integers(0, 256, (5, 6, 3), np.uint8), np.ones((8, 10, 1), np.uint8)))


def put_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def coco(path: Path, names: Sequence[str], classes: Sequence[str] = ("kite",)) -> None:
    """Write one object per image; the classes alternate."""
    x0, y0, x1, y1 = BOX
    content = {
        "images": [{"id": i, "file_name": n, "height": HW[0], "width": HW[1]} for i, n in enumerate(names, 1)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": (i - 1) % len(classes) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for i in range(1, len(names) + 1)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, 1)],
    }
    put_text(path, json.dumps(content))


def via(path: Path, names: Sequence[str]) -> None:
    x0, y0, x1, y1 = BOX
    shape = {"name": "rect", "x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
    region = {"shape_attributes": shape, "region_attributes": {"class": "kite"}}
    put_text(path, json.dumps({n: {"filename": n, "size": -1, "regions": [region]} for n in names}))


def csv_boxes(path: Path, names: Sequence[str]) -> None:
    lines = [f"{name},{HW[1]},{HW[0]},kite,{','.join(map(str, BOX))}" for name in names]
    put_text(path, "\n".join(["filename,width,height,class,xmin,ymin,xmax,ymax", *lines]))


def voc(path: Path, names: Sequence[str]) -> None:
    """Write one XML file per image into the folder ``path``."""
    for name in names:
        x0, y0, x1, y1 = BOX
        corners = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        box = f"<object><name>kite</name><bndbox>{corners}</bndbox></object>"
        text = f"<annotation><filename>{name}</filename>{box}</annotation>"
        put_text(path / Path(name).with_suffix(".xml"), text)


def yolo(path: Path, names: Sequence[str]) -> None:
    x0, y0, x1, y1 = BOX
    numbers = ((x0 + x1) / 2 / HW[1], (y0 + y1) / 2 / HW[0], (x1 - x0) / HW[1], (y1 - y0) / HW[0])
    for name in names:
        put_text(path / Path(name).with_suffix(".txt"), f"0 {' '.join(map(str, numbers))}\n")


def labelme(path: Path, names: Sequence[str]) -> None:
    x0, y0, x1, y1 = BOX
    shape = {"label": "kite", "points": [[x0, y0], [x1, y1]], "shape_type": "rectangle", "group_id": None}
    for name in names:
        content = {"shapes": [shape], "imagePath": Path(name).name, "imageHeight": HW[0], "imageWidth": HW[1]}
        put_text(path / Path(name).with_suffix(".json"), json.dumps(content | {"imageData": None}))


def cvat(path: Path, names: Sequence[str]) -> None:
    x0, y0, x1, y1 = BOX
    box = f'<box label="kite" occluded="0" xtl="{x0}.00" ytl="{y0}.00" xbr="{x1}.00" ybr="{y1}.00" z_order="0"></box>'
    sides = f'width="{HW[1]}" height="{HW[0]}"'
    images = "".join(f'<image id="{i}" name="{n}" {sides}>{box}</image>' for i, n in enumerate(names))
    labels = "<labels><label><name>kite</name><type>any</type></label></labels>"
    meta = f"<meta><task><name>a</name>{labels}</task></meta>"
    put_text(path, f"<?xml version='1.0'?><annotations><version>1.1</version>{meta}{images}</annotations>")


def label_studio(path: Path, names: Sequence[str]) -> None:
    """Write tasks of images that were uploaded, which gives their names a prefix."""
    (x0, y0, x1, y1), (height, width) = BOX, HW
    sides = {"x": x0 / width, "y": y0 / height, "width": (x1 - x0) / width, "height": (y1 - y0) / height}
    value = {key: 100 * side for key, side in sides.items()} | {"rotation": 0, "rectanglelabels": ["kite"]}
    result = {"id": "a", "type": "rectanglelabels", "value": value, "original_width": width, "original_height": height}
    done = {"id": 1, "result": [result], "was_cancelled": False, "ground_truth": False, "created_at": "2024-05-01"}
    tasks = [
        {"id": i, "annotations": [done], "data": {"image": f"/data/upload/3/{i:08x}-{name}"}}
        for i, name in enumerate(names, 1)
    ]
    put_text(path, json.dumps(tasks))


def openimages(path: Path, names: Sequence[str]) -> None:
    x0, y0, x1, y1 = BOX
    box = f"{x0 / HW[1]},{x1 / HW[1]},{y0 / HW[0]},{y1 / HW[0]}"
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction"
    lines = [f"{Path(name).stem},xclick,/m/0k,1,{box},0,0,0,0" for name in names]
    put_text(path, "\n".join([header, *lines]))
    put_text(path.parent / "class-descriptions-boxable.csv", "/m/0k,kite\n/m/0b,bird\n")


def dota(path: Path, names: Sequence[str]) -> None:
    x0, y0, x1, y1 = BOX
    for name in names:
        line = f"{x0}.0 {y0}.0 {x1}.0 {y0}.0 {x1}.0 {y1}.0 {x0}.0 {y1}.0 kite 0"
        put_text(path / Path(name).with_suffix(".txt"), f"imagesource:GoogleEarth\ngsd:0.146\n{line}\n")


def supervisely(path: Path, names: Sequence[str]) -> None:
    """Write one JSON file per image into the folder ``path``; the corners are the first and the last pixel."""
    x0, y0, x1, y1 = BOX
    points = {"exterior": [[x0, y0], [x1 - 1, y1 - 1]], "interior": []}
    entry = {"classTitle": "kite", "geometryType": "rectangle", "points": points, "tags": []}
    content = {"description": "", "tags": [], "size": {"height": HW[0], "width": HW[1]}, "objects": [entry]}
    for name in names:
        put_text(path / f"{name}.json", json.dumps(content))


def masks(path: Path, names: Sequence[str]) -> None:
    """Write panoptic masks into the folder ``path``, and the JSON file of their segments."""
    (x0, y0, x1, y1), entries = BOX, []
    for number, name in enumerate(names, 1):
        pixels = np.zeros((*HW, 3), np.uint8)
        pixels[y0:y1, x0:x1] = (3, 2, 0)
        mask = (path / name).with_name(f"{Path(name).stem}_mask.png")
        mask.parent.mkdir(parents=True, exist_ok=True)
        write_image(mask, pixels)
        segment = {"id": 3 + 256 * 2, "category_id": 4, "iscrowd": 0, "area": (x1 - x0) * (y1 - y0)}
        entries.append({"image_id": number, "file_name": mask.name, "segments_info": [segment]})
    categories = [{"id": 4, "name": "kite", "isthing": 1}, {"id": 7, "name": "sky", "isthing": 0}]
    put_text(path / "panoptic.json", json.dumps({"images": [], "annotations": entries, "categories": categories}))


WRITE: dict[str, Callable[[Path, Sequence[str]], None]] = {
    "coco": coco,
    "via": via,
    "csv": csv_boxes,
    "cvat": cvat,
    "voc": voc,
    "yolo": yolo,
    "dota": dota,
    "label_studio": label_studio,
    "masks": masks,
    "openimages": openimages,
    "supervisely": supervisely,
    "labelme": labelme,
}


# Suffix of one annotation file for many images.
SUFFIXES = {
    "coco": ".json",
    "csv": ".csv",
    "cvat": ".xml",
    "label_studio": ".json",
    "openimages": ".csv",
    "via": ".json",
}


def put(folder: Path, format: str, images: str, annotations: str, names: list[str]) -> None:
    """Write images and their annotations; ``images`` is a folder, ``annotations`` a folder or a file."""
    put_images(folder / images, *names)
    WRITE[format](folder / annotations, names)
    if format == "yolo":
        put_text(folder / "classes.txt", "kite\n")


def members(spec: DatasetSpec) -> dict[str, list[str]]:
    """Return the images of each split, and check that each has the object."""
    found = {}
    for split in spec.splits:
        names, table = spec.read(split)
        assert names.names == ("kite",)
        assert all(np.allclose(record.boxes, [BOX], atol=0.01) for record in table)
        found[split] = sorted(record.path.relative_to(spec.root).as_posix() for record in table)
    return found
