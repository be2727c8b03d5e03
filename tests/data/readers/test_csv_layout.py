"""CSV boxes of several programs: columns by name, known orders without a header line, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

import pytest
from helpers.reading import read_problems, read_split

from detect.data.description import find_spec
from detect.errors import DataError

BOX = [10, 5, 30, 20]
RETINANET = ["a.png,10,5,30,20,kite", "b.png,,,,,"]


@pytest.fixture
def read(images: Path) -> Callable:
    def read(*lines: str, encoding: str = "utf-8", classes=None):
        (images.parent / "labels.csv").write_bytes("\n".join(lines).encode(encoding))
        return read_split("csv", images, images.parent / "labels.csv", classes)

    return read


@pytest.fixture
def notes(images: Path) -> Callable:
    """Return a function that returns the problems of the file written last, as pairs (kind, location)."""
    return lambda: read_problems("csv", images, images.parent / "labels.csv")


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("filename,class,x1,y1,x2,y2", "a.png,kite,10,5,30,20"),
        ("img,label,x0,y0,x1,y1", "a.png,kite,10,5,30,20"),
        ("file_name,category,x_min,y_min,x_max,y_max", "a.png,kite,10,5,30,20"),
        ("ImageID,LabelName,XMin,XMax,YMin,YMax", "a.png,kite,10,30,5,20"),
        ("image_name,class_name,left,top,right,bottom", "a.png,kite,10,5,30,20"),
        ("image_name,class_name,left,top,width,height", "a.png,kite,10,5,20,15"),
        ("image_path,label_name,bbox_xmin,bbox_ymin,bbox_xmax,bbox_ymax", "a.png,kite,10,5,30,20"),
        ("image,label,x,y,w,h", "a.png,kite,10,5,20,15"),
        ("image,label,x,y,width,height,image_width,image_height", "a.png,kite,10,5,20,15,60,40"),
        ("image,width,height,label,x,y,w,h", "a.png,60,40,kite,10,5,20,15"),
        ("image,label,x_center,y_center,width,height", "a.png,kite,20,12.5,20,15"),
        ("image,label,xmin,ymin,width,height", "a.png,kite,10,5,20,15"),
        (
            "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height",
            "kite,10,5,20,15,a.png,60,40",
        ),
        ("image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max", "a,kite,3,R9,10,5,30,20"),
        ("imageId,imageName,width,height,class,xmin,ymin,xmax,ymax", "77,a.png,60,40,kite,10,5,30,20"),
        ("image_id,bbox_xywh,label", 'a,"[10, 5.0, 20, 15]",kite'),
        ("image_id,bbox_xyxy,label", "a,10 5 30 20,kite"),
        (",filename,class,xmin,ymin,xmax,ymax", "0,a.png,kite,10,5,30,20"),
        ("filename, class, xmin, ymin, xmax, ymax", 'a.png, "kite", 10, 5, 30, 20'),
        ("filename|class|xmin|ymin|xmax|ymax", "a.png|kite|10|5|30|20,0"),
        ("sep=;\nfilename;class;xmin;ymin;xmax;ymax", "a.png;kite;10,0;5;30;20,0"),
        ("filename\tclass\txmin\tymin\txmax\tymax", "a.png\tkite\t10,0\t5\t30\t20"),
        ("\n\nfilename;class;xmin;ymin;xmax;ymax", '"a.png";"kite";"10";"5";"30";"20"'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_columns_of_several_programs_are_known_by_name(read, header, line, encoding):
    names, (a,) = read(header, line, encoding=encoding)
    assert names.names == ("kite",) and a.path.name == "a.png" and a.boxes.tolist() == [BOX]


def test_quoted_cells_may_hold_the_delimiter(read):
    names, _ = read("filename,class,xmin,ymin,xmax,ymax", '"a.png","kite, red",10,5,30,20')
    assert names.names == ("kite, red",)


@pytest.mark.parametrize(
    ("lines", "order"),
    [
        (["kite,10,5,20,15,a.png,60,40", "bird,0,0,1,1,b.png,60,40"], "class, x, y, width, height, image"),
        (["a.png,10,5,30,20,kite", "b.png,0,0,1,1,bird"], "image, xmin, ymin, xmax, ymax, class"),
        (["a.png,10,5,30,20,kite", "b.png,0,0,1,1,bird", "more/c.png,,,,,"], "image, xmin, ymin, xmax, ymax, class"),
        (["/home/me/a.png;10;5;30;20;kite", "b.png;0;0;1;1;bird"], "image, xmin, ymin, xmax, ymax, class"),
    ],
)
def test_known_orders_without_header_line_are_read_and_named(read, notes, lines, order):
    names, records = read(*lines)
    assert names.names == ("bird", "kite") and [r.path.name for r in records][:2] == ["a.png", "b.png"]
    assert records[0].boxes.tolist() == [BOX] and records[1].boxes.tolist() == [[0, 0, 1, 1]]
    assert all(len(record) == 0 for record in records[2:])
    (note,) = [place for kind, place in notes() if kind == "no_header"]
    assert note.startswith(f"labels.csv: {order}")


def test_automl_has_fractions_and_vertices_and_a_split(read, images, notes):
    lines = [
        "TRAIN,gs://bucket/set/a.png,kite,0.1,0.125,,,0.5,0.5,,",
        "UNASSIGNED,gs://bucket/set/a.png,bird,.5,.5,1,.5,1,1,.5,1",
        "VALIDATION,gs://bucket/set/b.png,kite,0.1,0.125,,,0.5,0.5,,",
        "TEST,gs://bucket/set/c.png,,,,,,,,,",
    ]
    names, (a, _, c) = read(*lines)
    assert names.names == ("bird", "kite") and a.boxes.tolist() == [[6, 5, 30, 20], [30, 20, 60, 40]] and len(c) == 0
    assert {"no_header", "fractional_boxes", "renamed_image"} == {kind for kind, _ in notes()}
    spec = find_spec(str(images.parent), save_splits=False)
    assert {split: [r.path.name for r in spec.read(split)[1]] for split in spec.splits} == {
        "train": ["a.png"],
        "val": ["b.png"],
        "test": ["c.png"],
    }


def test_automl_may_lack_the_set(read):
    _, (a, b) = read("gs://bucket/a.png,kite,0.1,0.125,,,0.5,0.5,,", "gs://bucket/b.png,,,,,,,,,")
    assert a.boxes.tolist() == [[6, 5, 30, 20]] and len(b) == 0


def test_fractions_among_pixels_are_invalid(read, notes):
    lines = ["a.png,kite,10,5,30,20", "b.png,kite,0.1,0.2,0.5,1", "b.png,kite,0,0,1,1"]
    _, (a, b) = read("filename,class,xmin,ymin,xmax,ymax", *lines)
    assert a.boxes.tolist() == [BOX] and b.boxes.tolist() == [[0, 0, 1, 1]]
    ((kind, place),) = notes()
    assert kind == "malformed_object" and place.startswith("b.png, line 3: ") and "fractions" in place


def test_another_encoding_is_named_with_a_way_out(read):
    with pytest.raises(DataError, match=r"labels\.csv is not CSV in UTF-8 \(in Excel"):
        read("filename,class,xmin,ymin,xmax,ymax", "a.png,Tür,1,2,3,4", encoding="cp1252")


@pytest.mark.parametrize("words", [("train", "val"), ("Training", "validation"), ("", "valid")])
def test_a_column_of_the_split_is_used(read, images, words):
    lines = [f"{name}.png,kite,10,5,30,20,{word}" for name, word in zip("ab", words, strict=True)]
    read("filename,class,xmin,ymin,xmax,ymax,split", *lines)
    spec = find_spec(str(images.parent), save_splits=False)
    assert "a column of the CSV file" in spec.discovery_note
    assert {split: [r.path.name for r in spec.read(split)[1]] for split in spec.splits} == {
        "train": ["a.png"],
        "val": ["b.png"],
    }


def test_wheat_has_one_class_and_boxes_as_text(read, notes):
    header = "image_id,width,height,bbox,source"
    names, (a,) = read(header, 'a,60,40,"[10.0, 5.0, 20.0, 15.0]",usask_1', 'a,60,40,"[0, 0, 1, 1]",usask_1')
    assert names.names == ("object",) and a.boxes.tolist() == [BOX, [0, 0, 1, 1]]
    assert ("no_class_column", "labels.csv: object") in notes()
    names, _ = read(header, 'a,60,40,"[10.0, 5.0, 20.0, 15.0]",usask_1', classes=["wheat"])
    assert names.names == ("wheat",)


def test_names_without_suffix_lead_to_the_folder_of_the_images(read, images):
    copyfile(images / "a.png", images / "more" / "z.png")
    read("image_id,width,height,bbox,source", *(f'{name},60,40,"[10, 5, 20, 15]",x' for name in "ab"))
    (images.parent / "sample_submission.csv").write_text("image_id,PredictionString\nz,1.0 0 0 50 50\n")
    spec = find_spec(str(images.parent), save_splits=False)
    assert "images in images)" in spec.discovery_note


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("filename,class,xmin,ymin,xmax,ymax", "{},kite,0.25,0.125,0.5,0.5"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "{},60,40,kite,0.25,0.125,0.5,0.5"),
        ("filename,class,x,y,w,h", "{},kite,0.25,0.125,0.25,0.375"),
        ("filename;class;x;y;w;h", "{};kite;0,25;0,125;0,25;0,375"),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "A", "https://x.org/a.png?v=1"])
def test_coordinates_that_do_not_exceed_1_are_fractions(read, notes, header, line, name):
    _, (a,) = read(header, line.format(name))
    assert a.boxes.tolist() == [[15, 5, 30, 20]]
    assert "fractional_boxes" in {kind for kind, _ in notes()}


@pytest.mark.parametrize(
    "line",
    [
        "b.png,background,0,0,0,0",
        "b.png,none,,,,",
        "b.png,No finding,nan,nan,nan,nan",
        "b.png,kite,-1,-1,-1,-1",
        "b.png,,0,0,0,0",
    ],
)
@pytest.mark.parametrize("box", ["10,5,30,20", "0.1,0.1,1,1"])
def test_lines_that_say_no_object_are_images_without_objects(read, notes, line, box):
    names, (a, b) = read("filename,class,xmin,ymin,xmax,ymax", f"a.png,kite,{box}", line)
    assert names.names == ("kite",) and len(a) == 1 and len(b) == 0
    assert [place.partition(":")[0] for kind, place in notes() if kind == "no_object"] == ["b.png, line 3"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a.png,kite,10,5,30,20"], "lacks filename"),
        (["a.png,10,5,kite,30,20"], "lacks filename"),
        (["a.png,10,5,20,4,kite"], "lacks filename"),  # x, y, width, height
        (["TRAIN,a.png,kite,10,5,,,30,20,,"], "lacks filename"),  # vertices in pixels instead of fractions
        (
            ["a.png,10,5,30,20,kite", "b.png,10,5,20,4,kite"],
            "line 2 does not fit .* image, xmin, .* add a header line",
        ),
        (["a.png,10,5,30,20,kite", "b.png,10,5,30,20"], "line 2 does not fit"),
        (["filename,class,bbox", "a.png,kite,1 2 3 4"], "its column 'bbox' holds; call it bbox_xywh"),
        (["image_id,width,height,bbox", "a,60,40,1 2 3 4"], "its column 'bbox' holds"),
        (["filename,species,xmin,ymin,xmax,ymax", "a.png,kite,1,2,3,4"], "lacks class; .* 'class', or delete species"),
        (["filename,class,x1,y1,x2,y2,x3,y3,x4,y4", "a.png,kite,1,1,2,1,2,2,1,2"], "lacks xmin"),
        (["filename,width,height,class,xmin,ymin,x_mx,ymax", "a.png,60,40,kite,1,2,3,4"], "lacks xmax"),
        (["filename,class,xmin,ymin,xmax,ymax", "C:\\1\\z.png,k,1,2,3,4", "C:\\2\\z.png,k,1,2,3,4"], "unknown which"),
    ],
)
def test_what_is_ambiguous_is_refused_with_a_way_out(read, lines, said):
    with pytest.raises(DataError, match=said) as error:
        read(*lines)
    assert "labels.csv" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "written",
    [
        "C:\\Users\\me\\images\\more\\c.png",
        "/data/images/more/c.png",
        "https://x.org/files/c.png",
        "gs://bucket/c.png",
        "C.PNG",
        "c",
        "c.jpg",
        "more%2Fc.png",
        "/upload/1a2b3c4d-c.png",
    ],
)
def test_names_of_other_machines_lead_to_the_only_file_that_fits(read, written):
    _, (c,) = read("filename,class,xmin,ymin,xmax,ymax", f'"{written}",kite,10,5,30,20')
    assert c.path.parts[-2:] == ("more", "c.png")


def test_the_longest_end_of_an_absolute_path_that_exists_counts(read, images):
    copyfile(images / "a.png", images / "more" / "a.png")
    _, records = read("filename,class,x1,y1,x2,y2", "/x/images/more/a.png,k,1,2,3,4", "/x/images/a.png,k,1,2,3,4")
    assert [record.path for record in records] == [images / "more" / "a.png", images / "a.png"]
    _, records = read("filename,class,x1,y1,x2,y2", "D:\\x\\more\\a.png,k,1,2,3,4", "D:\\x\\a.png,k,1,2,3,4")
    assert [record.path for record in records] == [images / "more" / "a.png", images / "a.png"]


@pytest.mark.parametrize(
    ("other", "content"),
    [
        ("classes.csv", "kite,0\nbird,1\n"),
        ("sample_submission.csv", "image_id,PredictionString\nx,1.0 0 0 50 50\n"),
        ("metadata.csv", "image,camera,date\na.png,x,2020\n"),
        ("empty.csv", ""),
    ],
)
def test_other_tables_in_the_folder_are_ignored(read, images, other, content):
    read("a.png,10,5,30,20,kite", "b.png,,,,,")
    (images.parent / other).write_text(content)
    spec = find_spec(str(images.parent), save_splits=False)
    assert spec.format == "csv" and [r.path.name for split in spec.splits for r in spec.read(split)[1]]


def test_a_second_file_with_unclear_boxes_is_an_error(read, images):
    read("a.png,10,5,30,20,kite", "b.png,,,,,")
    (images.parent / "val.csv").write_text("filename,species,xmin,ymin,xmax\na.png,kite,1,2,3\n")
    with pytest.raises(DataError, match=r"val\.csv"):
        find_spec(str(images.parent), save_splits=False)
