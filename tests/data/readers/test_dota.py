"""DOTA: rotated boxes with their hull, difficulty, headers, and broken lines."""

from __future__ import annotations

import pytest
from helpers.reading import read_problems, read_split

from detect.data.discovery.recognition import recognize_format

UPRIGHT = "10 5 30 5 30 20 10 20"
ROTATED = "20 5 30 15 20 25 10 15"


def write(images, *lines: str, name: str = "a"):
    (images / f"{name}.txt").write_text("\n".join(lines))
    return images


def test_hull_is_the_box_and_difficult_objects_are_crowds(images):
    write(
        images,
        "imagesource:GoogleEarth",
        "gsd:0.1",
        f"{UPRIGHT} small-vehicle 0",
        f"{ROTATED} ship 1",
        ROTATED + " ship",
    )
    names, (a,) = read_split("dota", images, images)
    assert a.boxes.tolist() == [[10, 5, 30, 20], [10, 5, 30, 25], [10, 5, 30, 25]]
    assert names.names == ("ship", "small-vehicle") and a.labels.tolist() == [2, 1, 1]
    assert a.iscrowd.tolist() == [False, True, False] and a.masks is None
    assert [location for kind, location in read_problems("dota", images, images) if kind == "rotated_box"] == [
        "a.txt, line 4: ship",
        "a.txt, line 5: ship",
    ]


def test_image_with_an_empty_file_has_no_objects_and_others_are_not_annotated(images):
    write(images, "gsd:null", name="b")
    _, (a, b) = read_split("dota", write(images, f"{UPRIGHT} ship 0"), images)
    assert len(a) == 1 and len(b) == 0
    assert ("unannotated_image", "more/c.png") in read_problems("dota", images, images)


@pytest.mark.parametrize(
    ("line", "format"),
    [
        (f"{UPRIGHT} ship 0", "dota"),
        (f"{UPRIGHT} ship", "dota"),
        (f"0 {UPRIGHT}", ""),  # four corners in pixels after the number of a class
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5", "yolo"),
    ],
)
def test_a_line_without_a_name_is_not_taken_for_dota(tmp_path, line, format):
    (tmp_path / "a.txt").write_text(line)
    assert recognize_format(tmp_path / "a.txt") == format


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ("1 2 3 4 ship", "malformed_object"),
        ("10 5 30 5 30 20 10 x ship 0", "malformed_object"),
        ("10 5 30 5 30 20 10 nan ship 0", "non_finite_box"),
        ("10 5 10 5 10 20 10 20 ship 0", "zero_area_box"),
        (f"{UPRIGHT} ship 0 1", "malformed_object"),
    ],
)
def test_broken_lines_are_skipped(images, broken, kind):
    write(images, f"{UPRIGHT} ship 0", broken)
    _, (a,) = read_split("dota", images, images)
    assert len(a) == 1 and dict(read_problems("dota", images, images))[kind].startswith("a.txt, line 2")
