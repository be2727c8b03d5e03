"""Pascal VOC: coordinates counted from 1, unmatched images and files, and malicious XML."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.folders import SHARED
from helpers.reading import read_problems, read_split

from detect.data.readers import voc
from detect.data.spec import DatasetSpec
from detect.errors import DataError
from detect.media.images import write_image

BCCD = SHARED / "data" / "bccd" / "BCCD"
SIZE = "<size><width>60</width><height>40</height><depth>3</depth></size>"


def object_xml(name: str = "kite", box: tuple[object, ...] = (11, 6, 30, 20), more: str = "") -> str:
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("xml", "images"):
        (tmp_path / name).mkdir()
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "images" / name, np.zeros((40, 60, 3), np.uint8))
        write(tmp_path, Path(name).stem, object_xml())
    return tmp_path


def write(folder: Path, stem: str, *objects: str, size: str = SIZE, head: str = "", name: str = "") -> None:
    text = f"{head}<annotation><filename>{name or stem}.png</filename>{size}{''.join(objects)}</annotation>"
    (folder / "xml" / f"{stem}.xml").write_text(text)


def read(folder: Path, classes: list[str] | None = None):
    return read_split("voc", folder / "images", folder / "xml", classes)


def test_coordinates_are_the_first_and_last_pixel_counted_from_1(folder):
    write(folder, "a", object_xml(box=(1, 1, 60, 40)), object_xml("bird", ("1.5", "2", " 30 ", "4e1")))
    names, (a, b) = read(folder)
    assert names.names == ("bird", "kite")
    assert a.boxes.tolist() == [[0, 0, 60, 40], [0.5, 1, 30, 40]] and a.labels.tolist() == [2, 1]
    assert a.image_hw == (40, 60) and a.areas.tolist() == [2400, 29.5 * 39] and a.masks is None
    assert b.boxes.tolist() == [[10, 5, 30, 20]]


@pytest.mark.parametrize(("name", "box"), [("background", (0, 0, 0, 0)), ("none", (0, 0, 0, 0)), ("kite", (-1,) * 4)])
def test_an_object_that_says_no_object_makes_an_image_without_objects(folder, name, box):
    write(folder, "a", object_xml(name, box))
    names, (a, b) = read(folder)
    assert names.names == ("kite",) and len(a) == 0 and len(b) == 1
    assert [kind for kind, _ in read_problems("voc", folder / "images", folder / "xml")] == ["no_object"]


def test_inverted_and_outlying_coordinates_are_kept_unvalidated(folder):
    """The smaller coordinate is the first pixel in either order; 0 comes from programs that count from 0."""
    write(
        folder, "a", object_xml(box=(30, 20, 10, 5)), object_xml(box=(0, 0, 10, 10)), object_xml(box=(-40, 5, 10, 10))
    )
    unvalidated = voc.parse(folder / "images", folder / "xml")
    assert unvalidated.table.boxes[:3].tolist() == [[30, 20, 9, 4], [0, 0, 10, 10], [-41, 4, 10, 10]]


def test_difficult_objects_are_crowds_and_parts_are_ignored(folder):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></part>"
    write(folder, "a", object_xml(more="<difficult>1</difficult>"), object_xml(more=f"<difficult>0</difficult>{part}"))
    names, (a, _) = read(folder)
    assert a.iscrowd.tolist() == [True, False] and names.names == ("kite",)


def test_size_is_optional_and_the_name_of_the_xml_file_decides(folder):
    write(folder, "a", object_xml(), size="", name="C:\\mine\\other")
    write(folder, "b", object_xml(), size="<size><width>0</width><height>0</height></size>")
    _, records = read(folder)
    assert [(r.path.name, r.image_hw) for r in records] == [("a.png", (40, 60)), ("b.png", (40, 60))]


def test_classes_can_be_chosen(folder):
    write(folder, "a", object_xml("bird"), object_xml("kite"))
    names, (a, _) = read(folder, ["kite"])
    assert names.names == ("kite",) and a.labels.tolist() == [1]


def test_classes_are_those_of_all_splits_so_that_labels_agree(folder):
    """With the classes of each split alone, kite would be label 2 in train and 1 in val."""
    (folder / "xml2").mkdir()
    write(folder, "a", object_xml("bird"), object_xml("kite"))
    (folder / "xml" / "b.xml").rename(folder / "xml2" / "b.xml")
    splits = {split: {"images": "images", "annotations": xml} for split, xml in (("train", "xml"), ("val", "xml2"))}
    spec = DatasetSpec("set", "voc", folder, splits)
    (names, (train,)), (val_names, (val,)) = spec.read("train"), spec.read("val")
    assert names.names == val_names.names == ("bird", "kite")
    assert train.labels.tolist() == [1, 2] and val.labels.tolist() == [2]


@pytest.mark.parametrize(
    ("bad", "kind", "detail"),
    [
        (object_xml(box=(7, 6, 7, 20)), "zero_area_box", "(7, 6, 7, 20)"),
        (object_xml(box=("nan", 6, 7, 20)), "non_finite_box", "nan"),
        (object_xml(box=("", 6, 7, 20)), "malformed_object", "xmin is ''"),
        (object_xml(""), "malformed_object", "name"),
        ("<object><name>kite</name></object>", "malformed_object", "bndbox"),
        ("<object><name>kite</name><robndbox><cx>9</cx></robndbox></object>", "malformed_object", "rotated"),
        (object_xml(box=(30, 6, 11, 20)), "inverted_box", ""),
    ],
)
def test_invalid_objects_are_reported_with_file_and_number(folder, bad, kind, detail):
    write(folder, "a", object_xml(), bad, object_xml())
    _, (a, _) = read(folder)
    assert len(a) == (3 if kind == "inverted_box" else 2)
    ((found, location),) = read_problems("voc", folder / "images", folder / "xml")
    assert found == kind and location.startswith("a.xml, object 2") and detail in location


BILLION_LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)
EXTERNAL_ENTITY = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("head", "content"),
    [
        (BILLION_LAUGHS, "&i;"),
        (EXTERNAL_ENTITY, "&a;"),
        ("", "<object>"),
        ('<?xml version="1.0" encoding="none"?>', ""),
        ("\0", ""),
    ],
    ids=["laughs", "box_outside_image", "unclosed", "encoding", "zero"],
)
def test_malicious_or_broken_xml_is_skipped_and_other_files_are_read(folder, head, content):
    write(folder, "a", content, head=head)
    names, (b,) = read(folder)
    assert b.path.name == "b.png" and names.names == ("kite",)
    ((kind, location),) = read_problems("voc", folder / "images", folder / "xml")
    assert kind == "unreadable_annotations" and location.startswith("a.xml")


def test_unmatched_files_and_images_are_reported(folder):
    write(folder, "c", object_xml("bird"))
    write_image(folder / "images" / "d.png", np.zeros((40, 60, 3), np.uint8))
    _, records = read(folder)
    assert [r.path.name for r in records] == ["a.png", "b.png"]
    problems = read_problems("voc", folder / "images", folder / "xml")
    assert sorted(problems) == [("missing_image", "c.png"), ("unannotated_image", "d.png")]
    with pytest.raises(DataError, match="no XML file in"):
        voc.parse(folder / "xml", folder / "images")


@pytest.mark.skipif(not BCCD.is_dir(), reason="needs the BCCD dataset")
def test_zero_area_boxes_of_bccd_are_reported(capsys):
    names, records = read_split("voc", BCCD / "JPEGImages", BCCD / "Annotations")
    assert names.names == ("Platelets", "RBC", "WBC") and len(records) == 364
    assert np.bincount(records.labels).tolist() == [0, 361, 4153, 372]
    assert [kind for kind, _ in read_problems("voc", BCCD / "JPEGImages", BCCD / "Annotations")] == [
        "zero_area_box"
    ] * 2
    warning = capsys.readouterr().err
    assert "BloodImage_00338.xml, object 13: (504, 337, 504, 337)" in warning and "BloodImage_00343.xml" in warning
