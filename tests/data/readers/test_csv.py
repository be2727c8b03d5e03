"""CSV boxes: columns by name, two delimiters, invalid lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.reading import read_problems, read_split
from helpers.via_files import HW

from detect.data.readers import csv_boxes
from detect.errors import DataError

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"
LINE = "a.png,60,40,kite,10,5,30,20"


@pytest.fixture
def read(images: Path) -> Callable:
    def read(*lines: str, header: str = HEADER, encoding: str = "utf-8", end: str = "\n", classes=None):
        (images.parent / "ground truth.csv").write_bytes(end.join([header, *lines]).encode(encoding))
        return read_split("csv", images, images.parent / "ground truth.csv", classes)

    return read


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_coordinates_are_pixel_edges_from_0(read, capsys, delimiter, encoding, end):
    lines = ["b.png,60,40,bird,0,0,60,40", LINE, "b.png,60,40,kite,0.5,1e0,2.25,39"]
    names, (b, a) = read(
        *(line.replace(",", delimiter) for line in lines),
        header=HEADER.replace(",", delimiter),
        encoding=encoding,
        end=end,
    )
    assert names.names == ("bird", "kite") and a.path.name == "a.png"
    assert b.boxes.tolist() == [[0, 0, 60, 40], [0.5, 1, 2.25, 39]] and b.labels.tolist() == [1, 2]
    assert b.areas.tolist() == [2400, 1.75 * 38] and b.masks is None and b.image_hw == HW
    assert a.boxes.tolist() == [[10, 5, 30, 20]] and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("ymax,xmax,ymin,xmin,class,filename", "20,30,5,10,kite,a.png"),
        ("id,filename,class,xmin,ymin,xmax,ymax,score", '7,a.png,kite,10,5,30,20,"a, b"'),
        (" FileName , Width,Height,CLASS,XMin,ymin,xmax,YMAX ", "a.png , 60, 40,kite , 10,5,30,20 "),
        ("image,label,xmin,ymin,xmax,ymax", "a.png,kite,10,5,30,20"),
        ("image_path,name,xmin,ymin,xmax,ymax", "a.png,kite,10,5,30,20"),
        ("path,label,xmin,ymin,xmax,ymax", "a.png,kite,10,5,30,20"),
        ("path,filename,name,class,xmin,ymin,xmax,ymax", "b.png,a.png,bird,kite,10,5,30,20"),
        (HEADER, "a.png,,,kite,10,5,30,20"),
        (HEADER, "a.png,0,0,kite,10,5,30,20"),
        (HEADER, "a.png,60.0,40.0,kite,10,5,30,20"),
        (HEADER, '"a.png","60","40","kite","10","5","30","20"'),
        (HEADER, f"{LINE},,"),
    ],
)
def test_columns_are_identified_by_name(read, capsys, header, line):
    names, (a,) = read(line, header=header)
    assert names.names == ("kite",) and a.boxes.tolist() == [[10, 5, 30, 20]]
    assert a.path.name == "a.png" and a.image_hw == HW and capsys.readouterr().err == ""


def test_line_without_class_and_box_is_an_image_without_objects(read, capsys):
    _, records = read(LINE, "more/c.png,60,40,,,,,", "", ",,,,,,,", "b.png,,,,,,,", "b.png,,,kite,1,2,3,4")
    assert [(r.path.name, len(r)) for r in records] == [("a.png", 1), ("c.png", 0), ("b.png", 1)]
    assert capsys.readouterr().err == ""


def test_classes_can_be_chosen(read):
    names, (a,) = read(LINE, "a.png,60,40,bird,1,2,3,4", classes=["bird"])
    assert names.names == ("bird",) and a.boxes.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("line", "kind", "detail"),
    [
        ("a.png,60,40,kite,10,5,10,20", "zero_area_box", "a.png, line 3: (10, 5, 10, 20)"),
        ("a.png,60,40,kite,10,5,nan,20", "non_finite_box", "a.png, line 3: (10.0, 5.0, nan, 20"),
        ("a.png,60,40,kite,10,-inf,30,20", "non_finite_box", "line 3"),
        ("a.png,60,40,kite,10,5,1e999,20", "non_finite_box", "line 3"),
        ("a.png,60,40,kite,10,5,1e99,20", "non_finite_box", "line 3"),
        ("a.png,60,40,kite,30,5,10,20", "inverted_box", "line 3"),
        ("a.png,60,40,kite,70,5,90,20", "box_outside_image", "line 3"),
        ("a.png,60,40,kite,10,5,wide,20", "malformed_object", "a.png, line 3: xmax is 'wide'"),
        ("a.png,60,40,kite,10,5,,20", "malformed_object", "line 3: xmax is ''"),
        ("a.png,60,40,kite,,,,", "malformed_object", "line 3: no coordinates"),
        ("a.png,60,40,kite,0,0,0,0", "zero_area_box", "a.png, line 3: (0, 0, 0, 0)"),
        ("a.png,60,40,,10,5,30,20", "no_class", "a.png, line 3: no class"),
        ("a.png,60,high,kite,10,5,30,20", "malformed_object", "line 3: height is 'high'"),
        ("a.png,60.5,40,kite,10,5,30,20", "malformed_object", "line 3: width is '60.5'"),
        ("a.png,60,-40,kite,10,5,30,20", "malformed_object", "height is '-40'"),
        ("a.png,60,1e99,kite,10,5,30,20", "malformed_object", "height is '1e99'"),
        ("a.png,60,40,kite,10,5,30", "malformed_object", "ground truth.csv, line 3: 7 cells, but the header has 8"),
        ("a,b.png,60,40,kite,10,5,30,20", "malformed_object", "ground truth.csv, line 3: 9 cells"),
        (",60,40,kite,10,5,30,20", "malformed_object", "ground truth.csv, line 3: no image"),
    ],
)
def test_invalid_lines_are_reported_with_file_and_line(read, images, line, kind, detail):
    _, (a,) = read(LINE, line, LINE)
    assert len(a) == (3 if kind == "inverted_box" else 2)
    ((found, location),) = read_problems("csv", images, images.parent / "ground truth.csv")
    assert found == kind and detail in location


def test_image_with_two_sizes_is_skipped(read, images):
    """Its boxes may refer to either; a line without a size does not contradict."""
    _, (b,) = read(LINE, "a.png,,,kite,1,2,3,4", "a.png,30,20,kite,1,2,3,4", LINE.replace("a.png", "b.png"))
    assert b.path.name == "b.png"
    ((kind, location),) = read_problems("csv", images, images.parent / "ground truth.csv")
    assert kind == "image_size_mismatch" and "60x40 in line 2, 30x20 in line 4" in location


def test_image_of_another_size_is_skipped(read, images):
    _, (b,) = read("a.png,,,kite,1,2,3,4", "a.png,61,40,kite,1,2,3,4", LINE.replace("a.png", "b.png"))
    assert b.path.name == "b.png"
    ((kind, location),) = read_problems("csv", images, images.parent / "ground truth.csv")
    assert kind == "image_size_mismatch" and "60x40" in location and "61x40" in location


def test_spellings_of_one_path_are_one_image(read):
    _, (c,) = read(*(f"{name},60,40,kite,10,5,30,20" for name in ("more/c.png", "more\\c.png", "./more/c.png")))
    assert len(c) == 3


@pytest.mark.parametrize("other", ["A.png", "%61.png", "A.PNG"])
def test_fractions_under_another_spelling_of_an_image_that_is_named_too_are_read(read, other):
    lines = ("a.png,kite,0.1,0.1,0.5,0.5", f"{other},kite,0.5,0.5,0.9,0.9")
    _, (a,) = read(*lines, header="filename,class,xmin,ymin,xmax,ymax")
    assert a.boxes.tolist() == [pytest.approx([6, 4, 30, 20]), pytest.approx([30, 20, 54, 36])]


@pytest.mark.parametrize(
    ("header", "lines", "said"),
    [
        ("", [LINE], "its header line lacks filename, class, xmin"),
        (LINE, [LINE], "its header line lacks filename"),
        ("filename,class,xmin,ymin,xmax", [LINE], "its header line lacks ymax"),
        ("", ["c.png,kite,10,5,30,20"], "lacks filename.*; if it has no header line, add one such as filename,class"),
        (HEADER.replace(",", "^"), [LINE], "its header line lacks filename"),
        (HEADER, ['a.png,60,40,"kite,10,5,30,20'], "is not CSV: unexpected end of data"),
        (HEADER, ['a.png,60,40,"kite"s,10,5,30,20'], "is not CSV: "),
        (HEADER, [f"a.png,60,40,{'x' * (1 << 24)}x,10,5,30,20"], "is not CSV: field larger than"),
        (HEADER, ["C:\\1\\a.png,,,kite,1,2,3,4", "C:\\2\\a.png,,,kite,1,2,3,4"], r"names C:\\2\\a.png and C:\\1\\a"),
        (HEADER, [], "has no images"),
    ],
)
def test_bad_file_is_a_one_line_error_with_file_and_reason(read, header, lines, said):
    with pytest.raises(DataError, match=said) as error:
        read(*lines, header=header)
    assert "ground truth.csv" in str(error.value) and "\n" not in str(error.value)


def test_missing_or_binary_file_is_named(images, tmp_path):
    with pytest.raises(DataError, match=r"no such annotation file: .*none\.csv"):
        csv_boxes.parse(images, tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"cannot read .*images: Is a directory"):
        csv_boxes.parse(images, images)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match=r"binary\.csv is not CSV"):
        csv_boxes.parse(images, tmp_path / "binary.csv")
