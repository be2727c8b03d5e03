"""Boxes in CSV: columns by their names, two delimiters, and lines that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.reading import read_split
from helpers.via_files import HW, write_images

from detect.data.readers import csv_boxes
from detect.errors import DataError

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"
LINE = "a.png,60,40,kite,10,5,30,20"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path)


@pytest.fixture
def read(images: Path) -> Callable:
    def read(*lines: str, header: str = HEADER, encoding: str = "utf-8", end: str = "\n", classes=None):
        (images.parent / "ground truth.csv").write_bytes(end.join([header, *lines]).encode(encoding))
        return read_split("csv", images, images.parent / "ground truth.csv", classes)

    return read


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_corners_are_edges_from_0(read, capsys, delimiter, encoding, end):
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
def test_columns_are_told_by_their_names(read, capsys, header, line):
    names, (a,) = read(line, header=header)
    assert names.names == ("kite",) and a.boxes.tolist() == [[10, 5, 30, 20]]
    assert a.path.name == "a.png" and a.image_hw == HW and capsys.readouterr().err == ""


def test_a_line_without_an_object_is_an_image_without_objects(read, capsys):
    _, records = read(LINE, "more/c.png,60,40,,,,,", "", ",,,,,,,", "b.png,,,,,,,", "b.png,,,kite,1,2,3,4")
    assert [(r.path.name, len(r)) for r in records] == [("a.png", 1), ("c.png", 0), ("b.png", 1)]
    assert capsys.readouterr().err == ""


def test_classes_can_be_chosen(read):
    names, (a,) = read(LINE, "a.png,60,40,bird,1,2,3,4", classes=["bird"])
    assert names.names == ("bird",) and a.boxes.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.png,60,40,kite,10,5,10,20", r"zero-area boxes: 1 skipped \(a\.png, line 3: \(10, 5, 10, 20\)\)"),
        (
            "a.png,60,40,kite,10,5,nan,20",
            r"not four finite numbers: 1 skipped \(a\.png, line 3: \(10.0, 5.0, nan, 20",
        ),
        ("a.png,60,40,kite,10,-inf,30,20", "not four finite numbers"),
        ("a.png,60,40,kite,10,5,1e999,20", "not four finite numbers"),
        ("a.png,60,40,kite,10,5,1e99,20", "not four finite numbers"),
        ("a.png,60,40,kite,30,5,10,20", "negative width or height: 1 coordinates ordered"),
        ("a.png,60,40,kite,70,5,90,20", "boxes outside their image"),
        ("a.png,60,40,kite,10,5,wide,20", "a.png, line 3: xmax is 'wide', it should be a number"),
        ("a.png,60,40,kite,10,5,,20", "line 3: xmax is '', it should be a number"),
        ("a.png,60,40,kite,,,,", "line 3: xmin is '', it should be a number"),
        ("a.png,60,40,,10,5,30,20", "a.png, line 3: it has no class"),
        ("a.png,60,high,kite,10,5,30,20", "line 3: height is 'high', it should be a number"),
        ("a.png,60.5,40,kite,10,5,30,20", "line 3: width is '60.5', it should be a whole number"),
        ("a.png,60,-40,kite,10,5,30,20", "height is '-40', it should be a whole number"),
        ("a.png,60,nan,kite,10,5,30,20", "height is 'nan', it should be a whole number"),
        ("a.png,60,40,kite,10,5,30", r"\(ground truth\.csv, line 3: it has 7 cells, the first line 8\)"),
        ("a,b.png,60,40,kite,10,5,30,20", "ground truth.csv, line 3: it has 9 cells, the first line 8"),
        (",60,40,kite,10,5,30,20", "ground truth.csv, line 3: it names no image"),
    ],
)
def test_lines_that_cannot_be_used_are_named(read, capsys, line, said):
    _, (a,) = read(LINE, line, LINE)
    assert len(a) == (3 if "coordinates ordered" in said else 2)
    assert re.search(said, capsys.readouterr().err)


def test_an_image_of_two_sizes_is_left_out(read, capsys):
    """Which of them its boxes are for nobody knows; a line that says none contradicts none."""
    _, (b,) = read(LINE, "a.png,,,kite,1,2,3,4", "a.png,30,20,kite,1,2,3,4", LINE.replace("a.png", "b.png"))
    assert b.path.name == "b.png"
    said = "whose size differs from the annotated size: 1 skipped (a.png: it is 60x40 in line 2, 30x20 in line 4)"
    assert said in capsys.readouterr().err


def test_an_image_of_another_size_is_left_out(read, capsys):
    _, (b,) = read("a.png,,,kite,1,2,3,4", "a.png,61,40,kite,1,2,3,4", LINE.replace("a.png", "b.png"))
    assert b.path.name == "b.png"
    assert "(a.png: the image has 60x40 pixels, its annotations are for 61x40)" in capsys.readouterr().err


def test_lines_about_one_image_in_several_spellings_are_one_image(read):
    _, (c,) = read(*(f"{name},60,40,kite,10,5,30,20" for name in ("more/c.png", "more\\c.png", "./more/c.png")))
    assert len(c) == 3


@pytest.mark.parametrize(
    ("header", "lines", "said"),
    [
        ("", [LINE], "is no CSV file of boxes: its first line does not name filename, class, xmin"),
        (LINE, [LINE], "its first line does not name filename"),
        ("filename,class,xmin,ymin,xmax", [LINE], "its first line does not name ymax"),
        (HEADER.replace(",", "\t"), [LINE], "its first line does not name filename"),
        (HEADER, ['a.png,60,40,"kite,10,5,30,20'], "is not CSV: unexpected end of data"),
        (HEADER, ['a.png,60,40,"kite"s,10,5,30,20'], "is not CSV: "),
        (HEADER, [f"a.png,60,40,{'x' * (1 << 24)}x,10,5,30,20"], "is not CSV: field larger than"),
        (HEADER, ["a.png,60,40,kite,0.1,0.2,0.5,1"], r"no corner lies beyond 1; they should be in pixels"),
        (HEADER, ["C:\\1\\a.png,,,kite,1,2,3,4", "C:\\2\\a.png,,,kite,1,2,3,4"], r"names C:\\2\\a.png and C:\\1\\a"),
        (HEADER, [], "has no images"),
    ],
)
def test_a_bad_file_is_one_line_that_says_what_and_where(read, header, lines, said):
    with pytest.raises(DataError, match=said) as error:
        read(*lines, header=header)
    assert "ground truth.csv" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_or_binary_file_is_named(images, tmp_path):
    with pytest.raises(DataError, match=r"no such annotation file: .*none\.csv"):
        csv_boxes.parse(images, tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"cannot read .*images: Is a directory"):
        csv_boxes.parse(images, images)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match=r"binary\.csv is not CSV"):
        csv_boxes.parse(images, tmp_path / "binary.csv")
