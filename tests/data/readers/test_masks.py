"""Masks as images: layouts of folders, what values mean, panoptic masks, and files that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.any_format import SUFFIXES, put, put_images
from helpers.reading import read_problems, read_split
from helpers.via_files import HW
from PIL import Image

from detect.data.description import find_spec
from detect.errors import DataError

LEFT, RIGHT = (slice(5, 20), slice(10, 20)), (slice(8, 30), slice(30, 50))
BOXES = [[10, 5, 20, 20], [30, 8, 50, 30]]


def instances(first: object = 1, second: object = 2, kind: type = np.uint8, channels: int = 0) -> np.ndarray:
    """Return a mask with two objects of different values or colors."""
    pixels = np.zeros((*HW, channels) if channels else HW, kind)
    pixels[LEFT], pixels[RIGHT] = first, second
    return pixels


def one(place: tuple[slice, slice], value: int = 255) -> np.ndarray:
    pixels = np.zeros(HW, np.uint8)
    pixels[place] = value
    return pixels


def save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def palette(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    image.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
    image.save(path)


def boxes_of(root: Path) -> dict[str, list]:
    """Return the boxes of every image of a folder, whose format must be recognized."""
    spec = find_spec(str(root), save_splits=False)
    assert spec.format == "masks"
    records = [record for split in spec.splits for record in spec.read(split)[1]]
    return {r.path.relative_to(root).as_posix(): sorted(r.boxes.tolist()) for r in records}


LAYOUTS = {  # image -> its masks; one mask has both objects, of two each has one
    "beside": lambda i: (f"{i}.png", [f"{i}_mask.png"]),
    "PennFudan": lambda i: (f"PNGImages/{i}.png", [f"PedMasks/{i}_mask.png"]),
    "folders": lambda i: (f"images/{i}.jpg", [f"masks/{i}.png"]),
    "labels": lambda i: (f"data/images/{i}.jpg", [f"data/labels/{i}.tif"]),
    "VOC": lambda i: (f"JPEGImages/{i}.jpg", [f"SegmentationObject/{i}.png"]),
    "prefix": lambda i: (f"images/{i}.jpg", [f"masks/mask_{i}.bmp"]),
    "cellpose": lambda i: (f"{i}.tif", [f"{i}_cp_masks.png"]),
    "cellpose without cp": lambda i: (f"{i}_img.png", [f"{i}_masks.png"]),
    "numbers": lambda i: (f"images/{i}.jpg", [f"masks/{i}_0.png", f"masks/{i}_1.png"]),
    "objects": lambda i: (f"images/{i}.jpg", [f"masks/{i}_obj1.png", f"masks/{i}_obj2.png"]),
    "numbered masks": lambda i: (f"{i}.jpg", [f"{i}_mask_1.png", f"{i}_mask_2.png"]),
    "parentheses": lambda i: (f"images/{i}.jpg", [f"masks/{i} (1).png", f"masks/{i} (2).png"]),
    "folder per image": lambda i: (f"images/{i}.jpg", [f"masks/{i}/0.png", f"masks/{i}/1.gif"]),
    "data-science-bowl": lambda i: (f"{i}/images/{i}.png", [f"{i}/masks/f{i}a.png", f"{i}/masks/c{i}b.png"]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_are_found_by_their_names(tmp_path, layout):
    for number in range(4):
        image, files = LAYOUTS[layout](f"img{number}")
        put_images(tmp_path / "set", image)
        if len(files) == 1:
            save(tmp_path / "set" / files[0], instances())
        else:
            for file, place in zip(files, (LEFT, RIGHT), strict=True):
                save(tmp_path / "set" / file, one(place))
    assert boxes_of(tmp_path / "set") == {LAYOUTS[layout](f"img{i}")[0]: BOXES for i in range(4)}


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (instances(), {}),
        (instances(7, 200), {}),
        (instances(1, 300, np.uint16), {}),
        (instances([255, 0, 0], [0, 0, 255], channels=3), {}),
        (instances([255, 0, 0], [9, 9, 9], channels=3), {}),
        (instances([9, 9, 9], [8, 8, 8], channels=3), {}),
        (instances([255, 0, 0, 255], [0, 0, 255, 255], channels=4), {}),
    ],
)
def test_each_value_or_color_is_an_object(images, tmp_path, pixels, options):
    save(tmp_path / "masks" / "a.png", pixels, **options)
    names, (a,) = read_split("masks", images, tmp_path / "masks")
    assert sorted(a.boxes.tolist()) == BOXES and names.names == ("object",) and a.areas.sum() == 150 + 440
    assert not a.iscrowd.any() and a.image_hw == HW


def test_palette_indices_are_values_and_255_is_void_beside_them(images, tmp_path):
    pixels = instances()
    pixels[0, :] = 255
    palette(tmp_path / "masks" / "a.png", pixels)
    _, (a,) = read_split("masks", images, tmp_path / "masks")
    assert sorted(a.boxes.tolist()) == BOXES


@pytest.mark.parametrize("background", [[7, 7, 7, 0], [0, 255, 0, 0]])
def test_transparent_pixels_are_background_whatever_their_color(images, tmp_path, background):
    pixels = instances([255, 0, 0, 255], [0, 0, 255, 128], channels=4)
    pixels[pixels[:, :, 3] == 0] = background
    save(tmp_path / "masks" / "a.png", pixels)
    _, (a,) = read_split("masks", images, tmp_path / "masks")
    assert sorted(a.boxes.tolist()) == BOXES


def test_images_of_1_bit_and_float_are_read(images, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.fromarray(one(LEFT) > 0).save(tmp_path / "masks" / "a.png")
    Image.fromarray(instances(kind=np.float32)).save(tmp_path / "masks" / "b.tiff")
    _, (a, b) = read_split("masks", images, tmp_path / "masks")
    assert a.boxes.tolist() == BOXES[:1] and sorted(b.boxes.tolist()) == BOXES


def test_soft_edges_of_a_binary_mask_are_cut_at_half(images, tmp_path):
    soft = one(LEFT)
    soft[5:20, 20] = np.linspace(1, 126, 15).astype(np.uint8)
    soft[5:20, 9] = np.linspace(140, 250, 15).astype(np.uint8)
    save(tmp_path / "masks" / "a.png", soft)
    save(tmp_path / "masks" / "b_0.png", soft)
    save(tmp_path / "masks" / "b_1.png", one(RIGHT, 1))
    _, (a, b) = read_split("masks", images, tmp_path / "masks")
    assert a.boxes.tolist() == [[9, 5, 20, 20]] and b.boxes.tolist() == [[9, 5, 20, 20], BOXES[1]]


def test_empty_mask_is_an_image_without_objects_and_others_are_not_annotated(images, tmp_path):
    save(tmp_path / "masks" / "a.png", np.zeros(HW, np.uint8))
    save(tmp_path / "masks" / "b.png", one(LEFT))
    _, (a, b) = read_split("masks", images, tmp_path / "masks")
    assert len(a) == 0 and b.boxes.tolist() == BOXES[:1]
    found = dict(read_problems("masks", images, tmp_path / "masks"))
    assert found["unannotated_image"] == "more/c.png"


def test_what_was_assumed_is_noted(images, tmp_path):
    def note(*masks: np.ndarray) -> str:
        for name, pixels in zip("ab", masks, strict=False):
            save(tmp_path / "masks" / f"{name}.png", pixels)
        return dict(read_problems("masks", images, tmp_path / "masks"))["assumed_instances"]

    assert "one value; read as one object" in note(one(LEFT), one(RIGHT))
    assert "up to 2 in a mask" in note(instances(), one(RIGHT)) and "semantic" not in note(instances())
    assert "semantic masks" in note(instances(3, 9), instances(3, 12))


def test_folders_of_classes_are_the_classes(tmp_path):
    for number in range(4):
        put_images(tmp_path / "set" / "images", f"{number}.jpg")
        save(tmp_path / "set" / "masks" / "kite" / f"{number}.png", one(LEFT))
        if number:
            save(tmp_path / "set" / "masks" / "bird" / f"{number}.png", one(RIGHT))
    spec = find_spec(str(tmp_path / "set"), save_splits=False)
    assert spec.all_classes().names == ("bird", "kite")
    expected = {f"images/{i}.jpg": BOXES if i else BOXES[:1] for i in range(4)}
    assert boxes_of(tmp_path / "set") == expected


def panoptic(path: Path, *names: str, category: int = 7) -> None:
    """Write the JSON of masks with the colors (1, 1, 0) and (0, 0, 1), and a segment of the sky."""
    segments = [
        {"id": 257, "category_id": category, "iscrowd": 0},
        {"id": 65536, "category_id": 3, "iscrowd": 1},
        {"id": 5, "category_id": 9, "iscrowd": 0},
    ]
    categories = [{"id": i, "name": n, "isthing": int(n != "sky")} for i, n in ((7, "kite"), (3, "bird"), (9, "sky"))]
    entries = [{"image_id": 1, "file_name": name, "segments_info": segments} for name in names]
    path.write_text(json.dumps({"images": [], "annotations": entries, "categories": categories}))


def panoptic_mask() -> np.ndarray:
    pixels = instances([1, 1, 0], [0, 0, 1], channels=3)
    pixels[0, :, 0] = 5
    return pixels


def test_panoptic_masks_of_coco_have_the_classes_of_their_file(tmp_path):
    root = tmp_path / "set"
    for split in ("train", "val"):
        put_images(root / f"{split}2017", "0.jpg", "1.jpg")
        (root / "annotations").mkdir(exist_ok=True)
        panoptic(
            root / "annotations" / f"panoptic_{split}2017.json",
            "0.png",
            "1.png",
            category=7 if split == "train" else 3,
        )
        for name in ("0.png", "1.png"):
            save(root / "annotations" / f"panoptic_{split}2017" / name, panoptic_mask())
    spec = find_spec(str(root))
    assert spec.format == "masks" and set(spec.splits) == {"train", "val"}
    for split, labels in (("train", [1, 2]), ("val", [2, 2])):
        names, records = spec.read(split)
        assert names.names == ("kite", "bird") and names.ids == (7, 3) and len(records) == 2
        for record in records:
            assert record.boxes.tolist() == BOXES and record.labels.tolist() == labels
            assert record.iscrowd.tolist() == [False, True]


def test_segment_without_pixels_is_skipped_and_unlisted_mask_is_not_annotated(images, tmp_path):
    save(tmp_path / "masks" / "a.png", instances([1, 1, 0], [9, 9, 9], channels=3))
    save(tmp_path / "masks" / "b.png", panoptic_mask())
    panoptic(tmp_path / "panoptic.json", "a.png")
    _, (a,) = read_split("masks", images, tmp_path / "masks")
    assert a.boxes.tolist() == BOXES[:1]
    found = read_problems("masks", images, tmp_path / "masks")
    assert {"zero_area_box", "unannotated_image"} == {kind for kind, _ in found}


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: save(path, one(LEFT), format="JPEG"), "is a JPEG, which changes"),
        (lambda path: path.write_bytes(b"no image"), "cannot be read"),
        (lambda path: save(path, np.arange(100 * 100, dtype=np.uint16).reshape(100, 100)), "9999 different values"),
        (lambda path: Image.fromarray(one(LEFT)).save(path, "TIFF", save_all=True,
         append_images=[Image.fromarray(one(RIGHT))]), "holds 2 images"),
        (lambda path: Image.fromarray(one(LEFT) / np.float32(2)).save(path, "TIFF"), "float32"),
    ],
)  # fmt: skip
def test_unusable_masks_are_reported_and_others_are_read(images, tmp_path, write, said):
    save(tmp_path / "masks" / "b.png", instances())
    write(tmp_path / "masks" / "a.png")
    _, (b,) = read_split("masks", images, tmp_path / "masks")
    assert b.path.name == "b.png"
    assert said in dict(read_problems("masks", images, tmp_path / "masks"))["unreadable_annotations"]


def test_mask_of_another_size_and_broken_file_of_one_object_are_skipped(images, tmp_path):
    save(tmp_path / "masks" / "a.png", instances()[:30])
    save(tmp_path / "masks" / "b_0.png", one(LEFT))
    save(tmp_path / "masks" / "b_1.png", one(LEFT) * 0)
    (tmp_path / "masks" / "b_2.png").write_bytes(b"x")
    _, (a, b) = read_split("masks", images, tmp_path / "masks")
    assert len(a) == 0 and b.boxes.tolist() == BOXES[:1]
    kinds = {kind for kind, _ in read_problems("masks", images, tmp_path / "masks")}
    assert {"rle_size_mismatch", "zero_area_box", "invalid_mask"} <= kinds


def test_jpeg_masks_name_the_fix(tmp_path):
    put_images(tmp_path / "set" / "images", "0.jpg", "1.jpg")
    for name in ("0.jpg", "1.jpg"):
        save(tmp_path / "set" / "masks" / name, one(LEFT))
    with pytest.raises(DataError, match=r"masks/0\.jpg looks like a mask, but JPG .* save masks as PNG"):
        find_spec(str(tmp_path / "set"))


def test_several_folders_of_masks_are_an_error(tmp_path):
    put_images(tmp_path / "set" / "images", "0.jpg", "1.jpg")
    for name in ("0.png", "1.png"):
        save(tmp_path / "set" / "masks" / name, one(LEFT))
        save(tmp_path / "set" / "masks_color" / name, one(LEFT))
    with pytest.raises(DataError, match="several folders of masks, masks and masks_color"):
        find_spec(str(tmp_path / "set"))


def test_semantic_masks_beside_instance_masks_are_ignored_with_a_note(tmp_path):
    put_images(tmp_path / "set" / "JPEGImages", "0.jpg", "1.jpg")
    for name in ("0.png", "1.png"):
        palette(tmp_path / "set" / "SegmentationObject" / name, instances())
        palette(tmp_path / "set" / "SegmentationClass" / name, instances(15, 15))
    assert boxes_of(tmp_path / "set") == {"JPEGImages/0.jpg": BOXES, "JPEGImages/1.jpg": BOXES}
    ((kind, text),) = read_problems("masks", *(tmp_path / "set" / n for n in ("JPEGImages", "SegmentationObject")))
    assert kind == "assumed_instances" and "SegmentationClass are not read" in text


@pytest.mark.parametrize("form", ["voc", "coco"])
def test_other_annotations_beside_masks_are_used_with_the_photographs(tmp_path, form):
    names = [f"{i}.png" for i in range(4)]
    put(tmp_path / "set", form, "JPEGImages", "Annotations" + SUFFIXES.get(form, ""), names)
    for name in names:
        palette(tmp_path / "set" / "SegmentationObject" / name, instances())
    spec = find_spec(str(tmp_path / "set"), save_splits=False)
    assert spec.format == form and {path.parent.name for path in spec.image_paths()} == {"JPEGImages"}


@pytest.mark.parametrize("folder", ["thumbnails", "masks"])
def test_other_images_of_the_same_names_are_no_masks(tmp_path, folder):
    """Photographs, and images of another size, in a folder of any name."""
    put_images(tmp_path / "set" / "images", *(f"{i}.jpg" for i in range(4)))
    for i in range(4):
        rng = np.random.default_rng(i)
        save(tmp_path / "set" / folder / f"{i}.png", rng.integers(0, 256, (*HW, 3), np.uint8))
    with pytest.raises(DataError, match="no annotations in"):
        find_spec(str(tmp_path / "set"))
    for i in range(4):
        save(tmp_path / "set" / folder / f"{i}.png", one(LEFT)[:20])
    with pytest.raises(DataError, match="no annotations in"):
        find_spec(str(tmp_path / "set"))


def test_folder_without_fitting_names_is_an_error(images, tmp_path):
    save(tmp_path / "masks" / "x.png", one(LEFT))
    with pytest.raises(DataError, match="no mask in"):
        read_split("masks", images, tmp_path / "masks")
