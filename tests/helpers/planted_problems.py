"""A dataset without problems, and functions that add one problem of each kind to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detect.media.images import read_image, write_image

HW = (60, 80)
SPLITS = {"train": 6, "val": 3, "test": 3}
CLASSES = ("kite", "bird")
Content = dict[str, Any]


def write_clean(folder: Path) -> None:
    """Write three splits of noise images as COCO, each image with a kite and a bird with boxes and polygons."""
    for seed, (split, count) in enumerate(SPLITS.items()):
        rng = np.random.default_rng(seed)
        content: Content = {
            "images": [],
            "annotations": [],
            "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)],
        }
        for image_id in range(1, count + 1):
            name = f"{split}_{image_id}.png"
            coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
            (folder / split).mkdir(parents=True, exist_ok=True)
            write_image(folder / split / name, np.kron(coarse, np.ones((10, 10, 1), np.uint8)))
            content["images"].append({"id": image_id, "file_name": name, "height": HW[0], "width": HW[1]})
            for category, (x, y) in enumerate(((5 + image_id, 10), (40, 20 + image_id)), 1):
                content["annotations"].append(
                    annotation(2 * image_id + category - 2, image_id, category, (x, y, 20, 15))
                )
        save(folder, split, content)


def annotation(annotation_id: int, image_id: int, category: int, box: tuple[float, float, float, float]) -> Content:
    x, y, w, h = box
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category,
        "bbox": list(box),
        "segmentation": [polygon],
        "area": w * h,
        "iscrowd": 0,
    }


def save(folder: Path, split: str, content: Content) -> None:
    path = folder / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def load(folder: Path, split: str = "train") -> Content:
    return json.loads((folder / "annotations" / f"instances_{split}.json").read_text())


def plant(kind: str, folder: Path) -> None:
    """Add one problem of the given kind to train, and to val for problems that involve two splits."""
    content = load(folder)
    PLANTS[kind](folder, content)
    save(folder, "train", content)


def _first(**values: Any) -> Callable[[Path, Content], None]:
    """Change values of the first annotation; None removes a key."""

    def change(_: Path, content: Content) -> None:
        entry = content["annotations"][0] | values
        content["annotations"][0] = {key: value for key, value in entry.items() if value is not None}

    return change


def _box(*box: float) -> Callable[[Path, Content], None]:
    """Change the first box, and remove the mask, which would not fit."""
    return _first(bbox=list(box), segmentation=None, area=None)


def _polygon(*points: float) -> Callable[[Path, Content], None]:
    return _first(segmentation=[list(points)], bbox=None, area=None)


def _add(**values: Any) -> Callable[[Path, Content], None]:
    """Add a copy of the first annotation with other ``values``."""

    def change(_: Path, content: Content) -> None:
        content["annotations"].append(deepcopy(content["annotations"][0]) | {"id": 999} | values)

    return change


def _image(folder: Path, split: str = "train", number: int = 1) -> Path:
    return folder / split / f"{split}_{number}.png"


def _missing(folder: Path, content: Content) -> None:
    _image(folder).unlink()


def _unreadable(folder: Path, content: Content) -> None:
    _image(folder).write_bytes(b"no image")


def _truncated(folder: Path, content: Content) -> None:
    path = _image(folder)
    path.write_bytes(path.read_bytes()[:-150])


def _twelve_bits(folder: Path, content: Content) -> None:
    """Store gray values of 12 bits in a PNG of 16 bits."""
    path = _image(folder)
    Image.fromarray(read_image(path).mean(axis=2).astype(np.uint16) * 16).save(path)


def _renamed_to_jpg(folder: Path, content: Content) -> None:
    _image(folder).rename(_image(folder).with_suffix(".jpg"))
    content["images"][0]["file_name"] = "train_1.jpg"


def _augmented_copy_of_val(folder: Path, content: Content) -> None:
    _image(folder).rename(_image(folder).with_name("val_1_aug2.png"))
    content["images"][0]["file_name"] = "val_1_aug2.png"


def _gray(folder: Path, content: Content) -> None:
    with Image.open(_image(folder)) as image:
        image.convert("L").save(_image(folder))


def _smaller(folder: Path, content: Content) -> None:
    write_image(_image(folder), read_image(_image(folder))[::2, ::2])


def _rotated(*box: float) -> Callable[[Path, Content], None]:
    """Store an EXIF rotation that the annotated size ignores, and change the first box."""

    def change(folder: Path, content: Content) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        with Image.open(_image(folder)) as image:
            image.load()
            image.save(_image(folder), exif=exif)
        _box(*box)(folder, content)

    return change


def _same_file(split: str) -> Callable[[Path, Content], None]:
    """Replace the second image of train by a byte-identical copy of the first of ``split``."""

    def change(folder: Path, content: Content) -> None:
        number = 1 if split != "train" else 3
        _image(folder, number=2).write_bytes(_image(folder, split, number).read_bytes())

    return change


def _brighter_copy(split: str) -> Callable[[Path, Content], None]:
    """Replace the second image of train by a brightened copy of the first of ``split``."""

    def change(folder: Path, content: Content) -> None:
        number = 1 if split != "train" else 3
        pixels = read_image(_image(folder, split, number))
        write_image(_image(folder, number=2), (pixels * 0.9 + 20).astype(np.uint8))

    return change


def _listed_twice(folder: Path, content: Content) -> None:
    content["images"].append(content["images"][0] | {"id": 99})


def _doubled_image_id(folder: Path, content: Content) -> None:
    content["images"][1]["id"] = 1
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] > 2]


def _no_objects(folder: Path, content: Content) -> None:
    save(folder, "val", load(folder, "val") | {"annotations": []})


def _untrained(folder: Path, content: Content) -> None:
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 1]


def _other_suffix(folder: Path, content: Content) -> None:
    content["images"][0]["file_name"] = "train_1.JPG"


def _text_id(folder: Path, content: Content) -> None:
    """Replace an image id by text."""
    content["images"][0]["id"] = "first"
    for entry in content["annotations"]:
        entry["image_id"] = "first" if entry["image_id"] == 1 else entry["image_id"]


def _classes(*more: Content, supercategory: str | None = None) -> Callable[[Path, Content], None]:
    """Add categories to all splits; the categories that are there get a supercategory."""

    def change(folder: Path, content: Content) -> None:
        for split in SPLITS if supercategory else ():
            other = content if split == "train" else load(folder, split)
            for entry in other["categories"]:
                entry["supercategory"] = supercategory
            save(folder, split, other)
        for split in ("val", "test"):
            other = load(folder, split)
            save(folder, split, other | {"categories": [*other["categories"], *more]})
        content["categories"] += more

    return change


def _renamed(*names: str) -> Callable[[Path, Content], None]:
    """Rename the classes in all splits."""

    def change(folder: Path, content: Content) -> None:
        for split in SPLITS:
            other = content if split == "train" else load(folder, split)
            other["categories"] = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
            save(folder, split, other)

    return change


def _similar(folder: Path, content: Content) -> None:
    _classes({"id": 3, "name": "Kite "})(folder, content)
    content["annotations"][0]["category_id"] = 3


def _other_order(folder: Path, content: Content) -> None:
    """Swap the category ids of val, in the class list and in the objects."""
    other = load(folder, "val")
    other["categories"] = [{"id": i, "name": name} for i, name in enumerate(reversed(CLASSES), 1)]
    for entry in other["annotations"]:
        entry["category_id"] = 3 - entry["category_id"]
    save(folder, "val", other)


def _odd_ids(folder: Path, content: Content) -> None:
    for split in SPLITS:
        other = content if split == "train" else load(folder, split)
        for entry in other["categories"]:
            entry["id"] -= 1
        for entry in other["annotations"]:
            entry["category_id"] -= 1
        if split != "train":
            save(folder, split, other)


def _imbalance(folder: Path, content: Content) -> None:
    """Write more than a hundred kites and one bird."""
    for split in ("val", "test"):
        other = load(folder, split)
        save(folder, split, other | {"annotations": [a for a in other["annotations"] if a["category_id"] == 1]})
    kept = [a for a in content["annotations"] if a["category_id"] == 1]
    boxes = [(x, y, 4, 4) for x in range(0, 76, 5) for y in range(27, 56, 5)]
    more = [annotation(1000 + i, number, 1, box) for number in (1, 2) for i, box in enumerate(boxes, 500 * number)]
    content["annotations"] = [*kept, *more, content["annotations"][1]]


def _crowd(size: list[int]) -> Content:
    return {"size": size, "counts": [0, size[0] * size[1]]}


PLANTS: dict[str, Callable[[Path, Content], None]] = {
    "missing_image": _missing,
    "unreadable_image": _unreadable,
    "malformed_image_entry": lambda folder, content: content["images"].append({"id": 77, "file_name": 5}),
    "duplicate_image_id": _doubled_image_id,
    "image_size_mismatch": _smaller,
    "exif_rotation_ignored": _rotated(62, 10, 15, 20),
    "exif_size_ignored": _rotated(10, 62, 20, 15),
    "exif_rotation_unclear": _rotated(20, 20, 20, 15),
    "truncated_image": _truncated,
    "image_listed_twice": _listed_twice,
    "renamed_image": _other_suffix,
    "no_object": _first(bbox=[-1, -1, -1, -1], segmentation=None),
    "renumbered_ids": _text_id,
    "duplicate_image": _same_file("train"),
    "leaked_image": _same_file("val"),
    "near_duplicate": _brighter_copy("train"),
    "near_duplicate_leak": _brighter_copy("val"),
    "instance_numbers": _renamed("kite-0", "kite-1"),
    "numbered_classes": _renamed("kite 5", "kite 6"),
    "sibling_leak": _augmented_copy_of_val,
    "wrong_extension": _renamed_to_jpg,
    "few_gray_levels": _twelve_bits,
    "not_8bit_rgb": _gray,
    "malformed_object": _first(bbox=[1, 2, 3]),
    "unknown_image": _add(image_id=4711),
    "unknown_class": _first(category_id=17),
    "non_finite_box": _first(bbox=[1, 2, float("nan"), 4]),
    "zero_area_box": _box(10, 10, 0, 5),
    "box_outside_image": _box(200, 10, 20, 20),
    "inverted_box": _box(30, 30, -20, -15),
    "box_exceeds_image": _box(60, 10, 40, 20),
    "too_few_points": _polygon(10, 10, 20, 20),
    "rle_size_mismatch": _first(segmentation=_crowd([5, 5])),
    "invalid_mask": _first(segmentation=[["a", "b"]]),
    "invalid_area": _first(area=-3),
    "self_intersection": _polygon(5, 5, 30, 25, 30, 5, 5, 35),
    "empty_mask": _first(segmentation=[[90, 10, 110, 10, 100, 30]]),
    "box_mask_mismatch": _first(bbox=[1, 1, 60, 50]),
    "duplicate_object": _add(),
    "conflicting_classes": _add(category_id=2),
    "duplicate_annotation_id": _add(id=1, bbox=[50, 40, 20, 15], segmentation=None, image_id=2),
    "tiny_box": _box(10, 10, 1, 5),
    "full_image_box": _box(0, 0, 80, 60),
    "rotated_box": _first(bbox=[20, 20, 20, 15], segmentation=None, area=None, attributes={"rotation": 45}),
    "box_without_polygon": _first(segmentation=[[10, 10, 20, 20]]),
    "keypoints": _first(keypoints=[10, 10, 2]),
    "dropped_category": _classes({"id": 0, "name": "animals"}, supercategory="animals"),
    "split_without_objects": _no_objects,
    "unused_class": _classes({"id": 3, "name": "plane"}),
    "class_not_in_train": _untrained,
    "category_id_conflict": _other_order,
    "similar_class_names": _similar,
    "irregular_category_ids": _odd_ids,
    "class_imbalance": _imbalance,
}
