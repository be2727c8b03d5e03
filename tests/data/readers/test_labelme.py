"""labelme: which image each file describes, and files that are foreign or broken."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from helpers.labelme_files import BOX, document, masked, read, shape, write
from helpers.reading import read_problems
from helpers.via_files import BITMAP, HW

from detect.data.readers import labelme
from detect.errors import DataError
from detect.media.images import write_image

NAN = float("nan")


def test_images_without_shapes_have_no_objects(images):
    names, (a,) = read(images, image="a.png")
    assert len(a) == 0 and a.masks == [] and names.names == ()
    _, (a,) = read(images, shapes=None, lineColor=[0, 255, 0, 128], fillColor=[255, 0, 0, 128])
    assert len(a) == 0


def test_embedded_image_is_ignored(images):
    write_image(images / "other.png", np.ones((9, 9, 3), np.uint8))
    packed = base64.b64encode((images / "other.png").read_bytes()).decode()
    _, (a,) = read(images, shape(), imageData=packed)
    assert a.path == images / "a.png" and a.boxes.tolist() == [BOX]


@pytest.mark.parametrize("size", [None, 0, -5, "40", 40.5, True, 2**40])
def test_invalid_size_is_replaced_by_that_of_the_image(images, size):
    _, (a,) = read(images, shape(), masked(BITMAP[5:20, 10:30], 10, 5), imageHeight=size)
    assert a.image_hw == HW and len(a) == 2


def test_image_of_another_size_is_skipped(images):
    write(images / "b.json", shape())
    _, (b,) = read(images, shape(), imageHeight=41)
    assert b.path.name == "b.png"
    problems = dict(read_problems("labelme", images, images))
    assert "60x40" in problems["image_size_mismatch"] and "60x41" in problems["image_size_mismatch"]


@pytest.mark.parametrize(
    ("file", "written", "found"),
    [
        ("a.json", "a.png", "a.png"),
        ("x.json", "b.png", "b.png"),
        ("a.json", "b.png", "b.png"),
        ("x.json", "../images/b.png", "b.png"),
        ("x.json", "..\\images\\more\\c.png", "more/c.png"),
        ("x.json", "more\\c.png", "more/c.png"),
        ("more/x.json", "..\\..\\images\\b.png", "b.png"),
        ("x.json", "C:\\Users\\me\\b.png", "b.png"),
        ("x.json", "/home/me/b.png", "b.png"),
        ("more/x.json", "/home/me/c.png", "more/c.png"),
        ("more/c.json", "c.png", "more/c.png"),
        ("more/a.json", "a.png", "a.png"),
        ("more/c.json", "old.jpg", "more/c.png"),
        ("a.json", "", "a.png"),
        ("a.json", None, "a.png"),
        ("a.json", 5, "a.png"),
        ("a.json", "\0", "a.png"),
        ("a.json", "x" * 5000, "a.png"),
        ("a.json", "..", "a.png"),
        ("a.json", "../../../etc/passwd", "a.png"),
    ],
)
@pytest.mark.parametrize("where", ["images", "json"])
def test_image_is_found_by_written_path_else_by_name_of_the_file(images, tmp_path, file, written, found, where):
    write(tmp_path / where / file, shape(), image=written)
    _, (record,) = read(images, annotations=tmp_path / where)
    assert record.path == images / found


def test_image_outside_the_folder_is_not_used(images, tmp_path):
    write_image(tmp_path / "elsewhere.png", np.zeros((*HW, 3), np.uint8))
    write(images / "b.json", shape())
    write(images / "x.json", shape(), image="../elsewhere.png")
    _, records = read(images, shape())
    assert [r.path.name for r in records] == ["a.png", "b.png"]
    assert ("missing_image", "elsewhere.png") in read_problems("labelme", images, images)


def test_of_several_files_about_one_image_the_one_of_its_name_is_used(images):
    def conflicts() -> list[str]:
        return [place for kind, place in read_problems("labelme", images, images) if kind == "malformed_image_entry"]

    for name in ("a (copy)", "b", "c"):
        write(images / f"{name}.json", shape(), shape(), image="a.png")
    _, (a,) = read(images, shape())
    assert len(a) == 1
    assert len(conflicts()) == 3 and conflicts()[0].startswith("a (copy).json: describes a.png, like a.json")
    (images / "a.json").unlink()
    _, (a,) = read(images)
    assert len(a) == 2 and conflicts()[0].startswith("b.json: describes a.png, like a (copy).json")


@pytest.mark.parametrize("foreign", [{"images": [], "annotations": [], "categories": []}, [1, 2], "text", 5, None])
def test_foreign_json_is_ignored(images, capsys, foreign):
    for name in ("coco.json", "b.json"):
        (images / name).write_text(json.dumps(foreign))
    _, (a,) = read(images, shape())
    assert len(a) == 1 and "JSON" not in capsys.readouterr().err
    assert [r.kind for r in labelme.parse(images, images).skipped] == ["unannotated_image"] * 2
    (images / "a.json").unlink()
    with pytest.raises(DataError, match=r"no labelme file in .*images"):
        read(images)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON: Expecting value"),
        ("{'shapes': []}", "is not JSON: Expecting property name"),
        ("[1, 2", "is not JSON"),
        ('{"images": [], "shapes": [', "is not JSON"),
        ('{"shapes": ' + "[" * 100_000, "is not JSON"),
        ('{"shapes": {}}', "has '{}' for 'shapes'"),
        (b"\xff\xfe\x00", "is not JSON"),
    ],
    ids=range(7),
)
def test_unreadable_file_is_skipped_and_others_are_read(images, text, reason):
    (images / "b.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    _, (a,) = read(images, shape())
    assert a.path.name == "a.png"
    problems = dict(read_problems("labelme", images, images))
    assert problems["unreadable_annotations"].startswith(f"b.json: {reason}")
    assert problems["unannotated_image"] == "more/c.png"
    (images / "a.json").unlink()
    with pytest.raises(DataError, match=r"has no images in .*images"):
        read(images)


def test_byte_order_mark_and_nan_are_accepted(images):
    text = json.dumps(document(shape(), other=NAN)) + "\n"
    (images / "a.json").write_text(text, encoding="utf-8-sig")
    _, (a,) = read(images)
    assert a.boxes.tolist() == [BOX]


def test_classes_are_the_labels_in_use_and_can_be_chosen(images):
    write(images / "b.json", shape(label="bird"))
    names, (a, b) = read(images, shape(label=" big  kite\n"))
    assert names.names == ("big kite", "bird") and a.labels.tolist() == [1] and b.labels.tolist() == [2]
    names, (a, b) = read(images, classes=["bird"])
    assert names.names == ("bird",) and len(a) == 0 and b.labels.tolist() == [1]
