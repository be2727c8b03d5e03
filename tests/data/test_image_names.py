"""Names in annotations are matched to the only image file that fits, in every way in which programs change names."""

from __future__ import annotations

import unicodedata

import pytest
from helpers.coco_files import annotation, content
from helpers.reading import read_problems

from detect.data.image_names import match_names

DECOMPOSED = unicodedata.normalize("NFD", "décran.png")


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("A.PNG", "a.png"),
        (DECOMPOSED, "décran.png"),
        ("décran.png", DECOMPOSED),
        ("d%C3%A9cran.png", "décran.png"),
        ("d%C3%A9cran", DECOMPOSED),
        ("a%20b.png", "a b.png"),
        ("a%2520b.png", "a b.png"),
        ("a b.png", "a%20b.png"),
        (r"more\a.png", "more/a.png"),
        ("./more/a.png", "more/a.png"),
        ("frame_000000.PNG", "frame_000000.jpg"),
        ("frame_000000", "frame_000000.jpg"),
        ("v1.2", "v1.2.jpg"),
        ("100%.png", "100%.jpg"),
        ("/data/upload/3/1a2b3c4d-img.jpg", "img.jpg"),
        ("1a2b3c4d-img.jpg", "sub/img.png"),
        ("img.jpg", "1a2b3c4d-img.jpg"),
        ("1a2b3c4d-2024-img.jpg", "2024-img.jpg"),
        ("s3://bucket/folder/img.jpg", "img.jpg"),
        ("https://host/a/img.jpg?token=1", "img.jpg"),
        ("gs://bucket/img%20(1).jpg", "img (1).jpg"),
        ("https://s3.host/a/img.jpg?X-Credential=AK%2F2024%2Fs3&X-Signature=1/2", "img.jpg"),
        ("/data/local-files/?d=folder/img.jpg", "img.jpg"),
        ("../images/img.jpg", "img.jpg"),
        (r"C:\Users\me\img.jpg", "img.jpg"),
    ],
)
def test_a_name_is_matched_to_the_only_file_that_fits(written, file):
    assert match_names([written], [file, "other.jpg", "b.png"]) == {written: file}


@pytest.mark.parametrize(
    ("written", "on_disk"),
    [
        (["a.png"], ["b.png"]),
        (["a.png"], ["a.jpg", "a.bmp"]),  # two files fit
        (["x/a.png", "y/a.png"], ["a.png"]),  # two names fit
        (["train/a.png"], ["val/a.png"]),
        (["0001_rgb.png"], ["0002_rgb.png"]),  # numbers of frames, not prefixes of a server
        (["cam1/1.png"], ["cam1/2.png", "cam2/1.png", "cam2/2.png"]),  # folders number the cameras
        (["set/cam1/1.png"], ["cam1/2.png", "cam2/1.png", "cam2/2.png"]),
        (["img_1.png"], ["img_10.png"]),
        (["a.png"], []),
    ],
)
def test_an_ambiguous_name_is_not_matched(written, on_disk):
    assert match_names(written, on_disk) == {}


def test_a_more_similar_name_is_matched_first():
    assert match_names(["x/a.png", "A.png"], ["a.png", "z/a.png"]) == {"A.png": "a.png", "x/a.png": "z/a.png"}


@pytest.mark.parametrize("written", ["A.PNG", "%61.png", r".\a.png"])
def test_a_name_that_differs_in_case_or_encoding_alone_means_the_file_that_another_name_equals(written):
    assert match_names([written], ["a.jpg", "sub/a.png"], used=["a.png"]) == {written: "a.png"}


def test_a_matched_name_is_counted_in_one_note(images, read, capsys):
    renamed = content(annotation(1))
    renamed["images"][0]["file_name"] = "B.jpg"
    _, (record, *_) = read(renamed)
    assert record.path == images / "b.png" and len(record) == 1
    (warning,) = capsys.readouterr().err.splitlines()
    assert "1 matched" in warning and "B.jpg" in warning
    problems = read_problems("coco", images, images.parent / "ground truth.json")
    assert problems == [("renamed_image", "b.png: annotated as B.jpg")]


def test_the_longest_equal_end_of_a_path_counts():
    written = ["set/train/a.png", "set/val/a.png", "C:\\mine\\x\\1\\b.png"]
    assert match_names(written, ["train/a.png", "val/a.png", "1/b.png", "2/b.png"]) == {
        "set/train/a.png": "train/a.png",
        "set/val/a.png": "val/a.png",
        "C:\\mine\\x\\1\\b.png": "1/b.png",
    }
