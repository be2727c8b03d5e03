"""Pascal VOC: corners counted from 1, images and files that miss each other, and XML that nobody should open."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import SHARED
from helpers.reading import read_split

from detect.data.readers import voc
from detect.data.spec import DatasetSpec
from detect.errors import DataError
from detect.media.images import write_image

BCCD = SHARED / "data" / "bccd" / "BCCD"
SIZE = "<size><width>60</width><height>40</height><depth>3</depth></size>"


def thing(name: str = "kite", box: tuple[object, ...] = (11, 6, 30, 20), more: str = "") -> str:
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("xml", "images"):
        (tmp_path / name).mkdir()
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "images" / name, np.zeros((40, 60, 3), np.uint8))
        write(tmp_path, Path(name).stem, thing())
    return tmp_path


def write(folder: Path, stem: str, *things: str, size: str = SIZE, head: str = "", name: str = "") -> None:
    text = f"{head}<annotation><filename>{name or stem}.png</filename>{size}{''.join(things)}</annotation>"
    (folder / "xml" / f"{stem}.xml").write_text(text)


def read(folder: Path, classes: list[str] | None = None):
    return read_split("voc", folder / "images", folder / "xml", classes)


def test_corners_are_the_first_and_the_last_pixel_from_1(folder):
    write(folder, "a", thing(box=(1, 1, 60, 40)), thing("bird", ("1.5", "2", " 30 ", "4e1")))
    names, (a, b) = read(folder)
    assert names.names == ("bird", "kite")
    assert a.boxes.tolist() == [[0, 0, 60, 40], [0.5, 1, 30, 40]] and a.labels.tolist() == [2, 1]
    assert a.image_hw == (40, 60) and a.areas.tolist() == [2400, 29.5 * 39] and a.masks is None
    assert b.boxes.tolist() == [[10, 5, 30, 20]]


def test_corners_that_are_swapped_or_far_out_are_told_as_they_are(folder):
    """The lower corner is the first pixel in either order; 0 comes from programs that count from there."""
    write(folder, "a", thing(box=(30, 20, 10, 5)), thing(box=(0, 0, 10, 10)), thing(box=(-40, 5, 10, 10)))
    draft = voc.parse(folder / "images", folder / "xml")
    assert draft.table.boxes[:3].tolist() == [[30, 20, 9, 4], [0, 0, 10, 10], [-41, 4, 10, 10]]


def test_difficult_objects_are_as_crowds_and_parts_of_objects_are_none(folder):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></part>"
    write(folder, "a", thing(more="<difficult>1</difficult>"), thing(more=f"<difficult>0</difficult>{part}"))
    names, (a, _) = read(folder)
    assert a.iscrowd.tolist() == [True, False] and names.names == ("kite",)


def test_the_size_may_be_left_out_and_the_name_of_the_file_counts(folder):
    write(folder, "a", thing(), size="", name="C:\\mine\\other")
    write(folder, "b", thing(), size="<size><width>0</width><height>0</height></size>")
    _, records = read(folder)
    assert [(r.path.name, r.image_hw) for r in records] == [("a.png", (40, 60)), ("b.png", (40, 60))]


def test_classes_can_be_chosen(folder):
    write(folder, "a", thing("bird"), thing("kite"))
    names, (a, _) = read(folder, ["kite"])
    assert names.names == ("kite",) and a.labels.tolist() == [1]


def test_the_classes_are_those_of_all_splits_so_that_labels_agree(folder):
    """Of each split alone, kite would be 1 in one and 2 in the other."""
    (folder / "xml2").mkdir()
    write(folder, "a", thing("bird"), thing("kite"))
    (folder / "xml" / "b.xml").rename(folder / "xml2" / "b.xml")
    splits = {split: {"images": "images", "annotations": xml} for split, xml in (("train", "xml"), ("val", "xml2"))}
    spec = DatasetSpec("set", "voc", folder, splits)
    (names, (train,)), (val_names, (val,)) = spec.read("train"), spec.read("val")
    assert names.names == val_names.names == ("bird", "kite")
    assert train.labels.tolist() == [1, 2] and val.labels.tolist() == [2]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (thing(box=(7, 6, 7, 20)), r"zero-area boxes: 1 skipped \(a.xml, object 2: \(7, 6, 7, 20\)\)"),
        (thing(box=("nan", 6, 7, 20)), r"not four finite numbers: 1 skipped \(a.xml, object 2: "),
        (thing(box=("", 6, 7, 20)), "a.xml, object 2: xmin is '', it should be a number"),
        (thing(""), "a.xml, object 2: it has no name"),
        ("<object><name>kite</name></object>", "a.xml, object 2: it has no bndbox"),
        (thing(box=(30, 6, 11, 20)), r"negative width or height: 1 coordinates ordered \(a.xml, object 2: "),
    ],
)
def test_objects_that_cannot_be_used_are_named(folder, capsys, bad, said):
    write(folder, "a", thing(), bad, thing())
    _, (a, _) = read(folder)
    assert len(a) == (3 if "coordinates ordered" in said else 2)
    assert re.search(said, capsys.readouterr().err)


LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("head", "content"),
    [(LAUGHS, "&i;"), (OUTSIDE, "&a;"), ("", "<object>"), ('<?xml version="1.0" encoding="none"?>', ""), ("\0", "")],
    ids=["laughs", "box_outside_image", "unclosed", "encoding", "zero"],
)
def test_a_file_that_is_not_to_be_read_costs_itself_alone(folder, capsys, head, content):
    write(folder, "a", content, head=head)
    names, (b,) = read(folder)
    assert b.path.name == "b.png" and names.names == ("kite",)
    assert "unreadable annotation files: 1 skipped (a.xml" in capsys.readouterr().err


def test_files_without_images_and_images_without_files(folder, capsys):
    write(folder, "c", thing("bird"))
    write_image(folder / "images" / "d.png", np.zeros((40, 60, 3), np.uint8))
    _, records = read(folder)
    assert [r.path.name for r in records] == ["a.png", "b.png"]
    assert "missing image files: 1 skipped (c.png)" in capsys.readouterr().err
    draft = voc.parse(folder / "images", folder / "xml")
    assert [(r.kind, r.location.file) for r in draft.skipped] == [("unannotated_image", "d.png")]
    with pytest.raises(DataError, match="no XML file in"):
        voc.parse(folder / "xml", folder / "images")


@pytest.mark.skipif(not BCCD.is_dir(), reason="needs the BCCD dataset")
def test_the_two_empty_boxes_of_bccd_are_found(capsys):
    names, records = read_split("voc", BCCD / "JPEGImages", BCCD / "Annotations")
    assert names.names == ("Platelets", "RBC", "WBC") and len(records) == 364
    assert np.bincount(records.labels).tolist() == [0, 361, 4153, 372]
    said = capsys.readouterr().err
    assert "zero-area boxes: 2 skipped (BloodImage_00338.xml, object 13: (504, 337, 504, 337)" in said
    assert "BloodImage_00343.xml" in said
