"""Open Images: fractions, class descriptions, groups, images that were not downloaded, and broken lines."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.reading import read_problems, read_split

from detect.data.readers import get_reader
from detect.errors import DataError

HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
)
EDGES = "0.25,0.5,0.1,0.6"  # of an image of 60 x 40 pixels: the box 15, 4, 30, 24
NAMES = '/m/01,kite\n/m/02,"big, bird"\n'


def write(images, *lines: str, header: str = HEADER, names: str = NAMES):
    path = images.parent / "train-annotations-bbox.csv"
    path.write_text("\n".join([header, *lines]))
    if names:
        (images.parent / "class-descriptions-boxable.csv").write_text(names)
    return path


def line(image: str = "a", label: str = "/m/01", edges: str = EDGES, group: str = "0") -> str:
    return f"{image},xclick,{label},1,{edges},0,0,{group},0,0"


def test_fractions_become_pixels_and_groups_crowds(images):
    path = write(images, line(), line("c", "/m/02", group="1"), line(edges="0,1,0,1"))
    names, (a, c) = read_split("openimages", images, path)
    assert a.boxes == pytest.approx(np.array([[15, 4, 30, 24], [0, 0, 60, 40]]))
    assert names.names == ("big, bird", "kite") and c.labels.tolist() == [1] and c.path == images / "more/c.png"
    assert a.iscrowd.tolist() == [False, False] and c.iscrowd.tolist() == [True] and a.masks is None


def test_names_of_later_versions_have_a_header(images):
    names, _ = read_split("openimages", images, write(images, line(), names=f"LabelName,DisplayName\n{NAMES}"))
    assert names.names == ("kite",)


def test_fiftyone_keeps_the_names_in_another_folder(images):
    path = write(images, line(), names="")
    moved = images.parent / "labels" / "detections.csv"
    for file, text in ((moved, path.read_text()), (images.parent / "metadata" / "classes.csv", NAMES)):
        file.parent.mkdir()
        file.write_text(text)
    names, (a,) = read_split("openimages", images, moved)
    assert names.names == ("kite",) and len(a) == 1


def test_labels_without_a_name_are_the_classes(images, capsys):
    names, _ = read_split("openimages", images, write(images, line(label="/m/09"), names=""))
    assert names.names == ("/m/09",) and "class-descriptions-boxable.csv" in capsys.readouterr().err


def test_images_that_were_not_downloaded_are_ignored(images, capsys):
    _, (a,) = read_split("openimages", images, write(images, line("x"), line("y"), line("y"), line()))
    assert a.path.name == "a.png" and "ignored 2 images that" in capsys.readouterr().err
    with pytest.raises(DataError, match="describes 1 image, none of which is in"):
        read_split("openimages", images, write(images, line("x")))


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (line(edges="0.25,x,0.1,0.6"), "malformed_object"),
        (line(edges="0.25,nan,0.1,0.6"), "non_finite_box"),
        (line(edges="15,30,4,24"), "malformed_object"),
        (line(edges="0.25,0.25,0.1,0.6"), "zero_area_box"),
        (line(edges="0.5,0.25,0.1,0.6"), "inverted_box"),
        (line(label=""), "no_class"),
        ("a,xclick", "malformed_object"),
        (",xclick,/m/01", "malformed_object"),
    ],
)
def test_broken_lines_are_reported(images, broken, kind):
    path = write(images, line(), broken)
    _, (a,) = read_split("openimages", images, path)
    assert a.boxes[0].tolist() == pytest.approx([15, 4, 30, 24])
    assert "line 3" in dict(read_problems("openimages", images, path))[kind]


def test_other_csv_is_a_one_line_error(images):
    with pytest.raises(DataError, match="lacks imageid, labelname"):
        get_reader("openimages").parse(images, write(images, header="a,xmin,ymin,xmax,ymax"), None)
