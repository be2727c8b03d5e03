"""labelme's files: whose image each is about, and which are another's or broken."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.labelme_files import BOX, document, masked, read, shape, write
from helpers.via_files import BITMAP, HW, write_images

from detect.data.readers import labelme
from detect.errors import DataError
from detect.media.images import write_image

NAN = float("nan")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images: a.png, b.png, more/c.png."""
    return write_images(tmp_path)


def test_images_without_shapes_have_no_objects(images):
    names, (a,) = read(images, image="a.png")
    assert len(a) == 0 and a.masks == [] and names.names == ()


def test_the_image_that_is_packed_in_is_passed_over(images):
    write_image(images / "other.png", np.ones((9, 9, 3), np.uint8))
    packed = base64.b64encode((images / "other.png").read_bytes()).decode()
    _, (a,) = read(images, shape(), imageData=packed)
    assert a.path == images / "a.png" and a.boxes.tolist() == [BOX]


@pytest.mark.parametrize("size", [None, 0, -5, "40", 40.5, True, 2**40])
def test_a_size_that_is_none_is_the_images_own(images, size):
    _, (a,) = read(images, shape(), masked(BITMAP[5:20, 10:30], 10, 5), imageHeight=size)
    assert a.image_hw == HW and len(a) == 2


def test_an_image_of_another_size_is_left_out(images, capsys):
    write(images / "b.json", shape())
    _, (b,) = read(images, shape(), imageHeight=41)
    assert b.path.name == "b.png"
    assert "(a.png: the image has 60x40 pixels, its annotations are for 60x41)" in capsys.readouterr().err


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
def test_the_image_is_the_one_that_is_named_else_the_one_of_the_same_name(
    images, tmp_path, file, written, found, where
):
    write(tmp_path / where / file, shape(), image=written)
    _, (record,) = read(images, annotations=tmp_path / where)
    assert record.path == images / found


def test_an_image_elsewhere_is_not_taken(images, tmp_path, capsys):
    write_image(tmp_path / "elsewhere.png", np.zeros((*HW, 3), np.uint8))
    write(images / "b.json", shape())
    write(images / "x.json", shape(), image="../elsewhere.png")
    _, records = read(images, shape())
    assert [r.path.name for r in records] == ["a.png", "b.png"]
    assert "missing image files: 1 skipped (elsewhere.png)" in capsys.readouterr().err


def test_of_two_files_about_one_image_the_one_of_its_name_counts(images, capsys):
    for name in ("a (copy)", "b", "c"):
        write(images / f"{name}.json", shape(), shape(), image="a.png")
    _, (a,) = read(images, shape())
    assert len(a) == 1
    said = "violate the annotation format: 3 skipped (a (copy).json: it is about a.png, whose file is a.json"
    assert said in capsys.readouterr().err
    (images / "a.json").unlink()
    _, (a,) = read(images)
    assert len(a) == 2 and "b.json: it is about a.png, whose file is a (copy).json" in capsys.readouterr().err


@pytest.mark.parametrize("foreign", [{"images": [], "annotations": [], "categories": []}, [1, 2], "text", 5, None])
def test_json_of_others_is_passed_over(images, capsys, foreign):
    for name in ("coco.json", "b.json"):
        (images / name).write_text(json.dumps(foreign))
    _, (a,) = read(images, shape())
    assert len(a) == 1 and "JSON" not in capsys.readouterr().err
    assert [r.kind for r in labelme.parse(images, images).skipped] == ["unannotated_image"] * 2
    (images / "a.json").unlink()
    with pytest.raises(DataError, match=r"no labelme file in .*images"):
        read(images)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "(b.json: is not JSON: Expecting value"),
        ("{'shapes': []}", "(b.json: is not JSON: Expecting property name"),
        ("[1, 2", "(b.json: is not JSON"),
        ('{"images": [], "shapes": [', "(b.json: is not JSON"),
        ('{"shapes": ' + "[" * 100_000, "(b.json: is not JSON"),
        ('{"shapes": {}}', "(b.json: has '{}' for 'shapes', it should be a list"),
        ('{"shapes": null}', "(b.json: has 'None' for 'shapes', it should be a list"),
        (b"\xff\xfe\x00", "(b.json: is not JSON"),
    ],
    ids=range(8),
)
def test_a_file_that_cannot_be_read_costs_itself_alone(images, capsys, text, said):
    (images / "b.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    _, (a,) = read(images, shape())
    assert a.path.name == "a.png"
    warning = capsys.readouterr().err
    assert "unreadable annotation files: 1 skipped " + said in warning
    assert "images without annotations: 1 skipped (more/c.png)" in warning
    (images / "a.json").unlink()
    with pytest.raises(DataError, match=r"has no images in .*images"):
        read(images)


def test_files_may_begin_with_a_byte_order_mark_and_hold_what_is_not_strictly_json(images):
    text = json.dumps(document(shape(), other=NAN)) + "\n"
    (images / "a.json").write_text(text, encoding="utf-8-sig")
    _, (a,) = read(images)
    assert a.boxes.tolist() == [BOX]


def test_the_classes_are_the_labels_in_use_and_can_be_chosen(images):
    write(images / "b.json", shape(label="bird"))
    names, (a, b) = read(images, shape(label=" big  kite\n"))
    assert names.names == ("big kite", "bird") and a.labels.tolist() == [1] and b.labels.tolist() == [2]
    names, (a, b) = read(images, classes=["bird"])
    assert names.names == ("bird",) and len(a) == 0 and b.labels.tolist() == [1]
