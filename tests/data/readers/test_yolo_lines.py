"""YOLO lines with keypoints, confidences, track ids and four corners, and labels that do not fit their dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.reading import read_problems, read_split, spec_of

from detect.data.description import find_spec
from detect.errors import DataError
from detect.media.images import write_image

CLASSES = ["kite", "bird", "plane"]
BOX = [80, 80, 120, 120]  # of "0 0.5 0.5 0.2 0.2"
POSE_2 = "0 0.5 0.5 0.4 0.4 0.40 0.40 0.60 0.40 0.60 0.60 0.40 0.60"
POSE_3 = "0 0.5 0.5 0.4 0.4 0.40 0.40 2 0.60 0.40 1 0.60 0.60 0 0.40 0.60 2"
PERSON = "0 0.5 0.5 0.4 0.4 " + " ".join(f"{0.32 + i / 50:.2f} 0.5 {i % 3}" for i in range(17))  # COCO's 17 keypoints


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a dataset with the images a.png to f.png of 200 x 200 pixels, without labels."""
    for number, name in enumerate("abcdef"):
        image = np.full((200, 200, 3), 40 * number, np.uint8)
        (tmp_path / "set" / "images").mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "set" / "images" / f"{name}.png", image)
    (tmp_path / "set" / "labels").mkdir()
    return tmp_path / "set"


def write(folder: Path, labels: dict[str, str], **data: object) -> None:
    for name, text in labels.items():
        (folder / "labels" / f"{name}.txt").write_text(text)
    lines = [f"{key}: {value}" for key, value in {"names": CLASSES, **data}.items()]
    (folder / "data.yaml").write_text("\n".join(lines))


def read(folder: Path, labels: dict[str, str], **data: object):
    """Write labels and data.yaml, and return the records and the problems as {kind: locations}."""
    write(folder, labels, **data)
    arguments = ("yolo", folder / "images", folder / "labels", CLASSES)
    found: dict[str, list[str]] = {}
    for kind, location in read_problems(*arguments):
        found.setdefault(kind, []).append(location)
    return read_split(*arguments)[1], found


@pytest.mark.parametrize(
    ("line", "data", "box"),
    [
        (POSE_2, {"kpt_shape": [4, 2]}, [60, 60, 140, 140]),
        (POSE_3, {"kpt_shape": [4, 3]}, [60, 60, 140, 140]),
        (PERSON, {"kpt_shape": [17, 3]}, [60, 60, 140, 140]),
        ("0 0.5 0.5 0.2 0.2 0.5 0.5", {"kpt_shape": [1, 2]}, BOX),
        (POSE_3, {}, [60, 60, 140, 140]),
        (PERSON, {}, [60, 60, 140, 140]),
        ("0 0.5 0.5 0.2 0.2 0.5 0.5 2", {}, BOX),
    ],
)
def test_keypoints_are_reported_as_dropped_and_their_box_is_kept(folder, line, data, box):
    (record, *_), found = read(folder, {"a": line}, **data)
    np.testing.assert_allclose(record.boxes, [box], atol=1e-4)
    assert record.masks is None and found == {"keypoints": ["a.txt, line 1"]}


def test_boxes_without_keypoints_are_read_beside_boxes_with_them(folder):
    (record, *_), found = read(folder, {"a": f"{POSE_2}\n0 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.2"}, kpt_shape=[4, 2])
    np.testing.assert_allclose(record.boxes, [[60, 60, 140, 140], BOX], atol=1e-4)
    assert "kpt_shape" in found["malformed_object"][0] and len(found["malformed_object"]) == 1


def test_lines_that_may_be_keypoints_are_refused_by_name(folder):
    (record, *_), found = read(folder, {"a": POSE_2, "b": f"{POSE_2}\n{POSE_2}"})
    assert len(record) == 0 and len(found["malformed_object"]) == 3
    assert all("ambiguous" in problem and "keypoints" in problem for problem in found["malformed_object"])


@pytest.mark.parametrize(
    "labels",
    [
        {"a": f"{POSE_2}\n0 0.5 0.5 0.2 0.2"},  # beside boxes
        {"a": "0 0.5 0.5 0.4 0.4 0.4 0.35 0.6 0.6"},  # two keypoints; as four corners this is no rectangle
        dict.fromkeys("abc", "0 0.5 0.5 0.4 0.4 0.45 0.6"),  # one keypoint
    ],
)
def test_keypoints_among_boxes_and_few_keypoints_are_refused_by_name(folder, labels):
    _, found = read(folder, labels)
    assert all("keypoints" in problem and "task: segment" in problem for problem in found["malformed_object"])


def test_predictions_with_keypoints_keep_their_box(folder):
    (record, *_), found = read(folder, {"a": f"{POSE_2} 0.91\n{POSE_2} 0.91 7"}, kpt_shape=[4, 2])
    np.testing.assert_allclose(record.boxes, [[60, 60, 140, 140]] * 2, atol=1e-4)
    assert list(found) == ["keypoints"]


@pytest.mark.parametrize(
    "lines", [[POSE_2], ["0 0.5 0.5 0.4 0.4 0.45 0.6"] * 3, ["0 0.5 0.9 0.3 0.2 0.6 1", "0 0.2 0.2 0.5 0.2 0.4 0.6"]]
)
def test_the_task_segment_says_that_lines_are_polygons(folder, lines):
    records, found = read(folder, dict(zip("abc", lines, strict=False)), task="segment")
    assert found == {} and sum(len(record) for record in records) == len(lines)
    assert all(record.masks is not None for record in records)


def test_triangles_among_other_polygons_are_not_taken_for_predictions(folder):
    polygon = "0 0.1 0.1 0.4 0.1 0.4 0.4 0.1 0.4 0.05 0.2"
    (record, *_), found = read(folder, {"a": f"{polygon}\n0 0.5 0.9 0.3 0.2 0.6 1", "b": "0 0.2 0.2 0.5 0.2 0.4 0.6"})
    np.testing.assert_allclose(record.boxes[1], [60, 40, 120, 200], atol=2)  # of the pixels of the polygon
    assert found == {}


def test_the_confidence_and_track_id_of_polygons_are_ignored_with_a_note(folder):
    polygon = "0 0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6"
    (one, other, *_), found = read(folder, {"a": f"{polygon} 0.88 1", "b": f"{polygon} 0.9 12\n{polygon} 0.9"})
    np.testing.assert_allclose([*one.boxes, *other.boxes], [BOX] * 3, atol=1e-4)
    assert list(found) == ["extra_columns"] and len(found["extra_columns"]) == 3


@pytest.mark.parametrize("angles", [(0.785, -0.3, 1.2), (45, 30, -20), (45, 30, 12.5)])
def test_boxes_with_an_angle_are_refused_by_name(folder, angles):
    _, found = read(folder, {n: f"0 0.5 0.5 0.4 0.2 {angle}" for n, angle in zip("abc", angles, strict=True)})
    assert len(found["malformed_object"]) == 3 and "rotated" in found["malformed_object"][0]


@pytest.mark.parametrize(
    "labels",
    [
        {"a": "0 0.1 0.1 0.5 0.1 0.6 0.3 0.5 0.5 0.1 0.5"},  # five vertices
        {"a": "0 0.5 0.5 0.6 0.5 0.62 0.55 0.6 0.6 0.5 0.6", "b": "0 0.4 0.4 0.6 0.4 0.62 0.55 0.6 0.6 0.5 0.6"},
        {"a": POSE_2, "b": "0 0.1 0.1 0.5 0.1 0.6 0.3 0.5 0.5 0.1 0.5"},  # polygons have different lengths
        {"a": "0 0.1 0.1 0.9 0.1 0.5 0.9"},
        dict.fromkeys("ab", "0 0.5 0.5 0.4 0.4 0.45 0.6"),  # too few to tell
        {"a": "0 0.1 0.1 0.4 0.1 0.6 0.5 0.4 0.4 0.5 1"},  # ends at the lower edge, not with a track id
    ],
)
def test_polygons_are_not_taken_for_keypoints(folder, labels):
    records, found = read(folder, labels)
    assert found == {} and all(record.masks for record in records if len(record))


@pytest.mark.parametrize(
    ("labels", "boxes", "noted"),
    [
        ({"a": "0 0.5 0.5 0.2 0.2 0.91 1"}, 1, 1),
        ({"a": "0 0.5 0.5 0.2 0.2 0.91 17"}, 1, 1),
        ({"a": "0 0.5 0.5 0.2 0.2 0.91"}, 1, 1),
        ({"a": "0 0.5 0.5 0.2 0.2 17"}, 1, 1),
        ({"a": "0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2 0.91 3", "b": "0 0.5 0.5 0.2 0.2 0.5"}, 2, 2),
    ],
)
def test_confidence_and_track_id_are_ignored_with_a_note(folder, labels, boxes, noted):
    records, found = read(folder, labels)
    for record in records:
        np.testing.assert_allclose(record.boxes, np.reshape([BOX] * len(record), (-1, 4)), atol=1e-4)
    assert len(records[0]) == boxes and list(found) == ["extra_columns"] and len(found["extra_columns"]) == noted


def test_the_confidence_of_a_polygon_is_ignored_with_a_note(folder):
    (record, *_), found = read(folder, {"a": "0 0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6 0.88"})
    np.testing.assert_allclose(record.boxes, [BOX], atol=1e-4)
    assert record.masks is not None and list(found) == ["extra_columns"]


def test_six_numbers_that_are_a_triangle_or_a_prediction_are_refused_by_name(folder):
    _, found = read(folder, {"a": "0 0.5 0.5 0.2 0.2 0.91 1", "b": "0 0.1 0.1 0.9 0.1 0.5 0.95"})
    assert len(found["malformed_object"]) == 2 and "ambiguous" in found["malformed_object"][0]


@pytest.mark.parametrize(("data", "polygon"), [({"task": "obb"}, "0 0.1 0.1 0.9 0.1 0.5 0.9"), ({}, "")])
def test_four_corners_are_read_as_polygons_with_a_note(folder, data, polygon):
    corners = "0 0.5 0.4 0.6 0.5 0.5 0.6 0.4 0.5"
    (record, *_), found = read(folder, {"a": f"{corners}\n{polygon}"}, **data)
    np.testing.assert_allclose(record.boxes[0], BOX, atol=1e-4)
    assert record.areas[0] == pytest.approx(800, rel=0.05) and found == {"corner_label": ["a.txt, line 1"]}


def test_four_corners_that_fill_the_box_of_the_first_two_are_not_taken_for_keypoints(folder):
    (record, *_), found = read(folder, {"a": "0 0.4 0.4 0.7 0.2 0.6 0.3 0.3 0.5"})
    np.testing.assert_allclose(record.boxes, [[60, 40, 140, 100]], atol=1e-3)
    assert list(found) == ["corner_label"]


@pytest.mark.parametrize("numbers", [[1, 2, 3], [1, 3], [3, 2]])
def test_class_numbers_that_count_from_1_are_an_error(folder, numbers):
    labels = {name: f"{number} 0.5 0.5 0.2 0.2" for name, number in zip("abc", numbers, strict=False)}
    with pytest.raises(DataError, match=r"never 0.*count from 1"):
        read(folder, labels)


def test_a_single_class_that_is_counted_from_1_is_an_error(folder):
    write(folder, dict.fromkeys("abc", "1 0.5 0.5 0.2 0.2"))
    with pytest.raises(DataError, match=r"never 0.*count from 1"):
        read_split("yolo", folder / "images", folder / "labels", CLASSES[:1])


@pytest.mark.parametrize("numbers", [[0, 1, 2], [1, 2], [2], [0, 3], [0, 1]])
def test_other_class_numbers_are_read(folder, numbers):
    records, _ = read(folder, {n: f"{number} 0.5 0.5 0.2 0.2" for n, number in zip("abc", numbers, strict=False)})
    assert [record.labels[0] - 1 for record in records if len(record)] == [n for n in numbers if n < 3]


LINE = "0 0.5 0.5 0.2 0.2"


@pytest.mark.parametrize(
    ("image", "label"),
    [("Capture_décran", "Capture_d%C3%A9cran"), ("a b", "a%20b"), ("IMG_1", "img_1"), ("img", "1a2b3c4d-img")],
)
def test_label_files_with_escaped_names_belong_to_their_images(folder, image, label):
    (folder / "images" / "a.png").rename(folder / "images" / f"{image}.png")
    records, found = read(folder, {**dict.fromkeys("bcdef", LINE), label: LINE})
    assert [len(record) for record in records] == [1] * 6
    assert list(found) == ["renamed_image"] and label in found["renamed_image"][0]


def test_a_label_file_without_an_image_beside_an_image_without_a_label_file_stops_training(folder):
    write(folder, {**dict.fromkeys("bcdef", LINE), "other": LINE})
    spec = spec_of("yolo", folder / "images", folder / "labels", CLASSES)
    with pytest.raises(
        DataError, match=r"1 label file without an image \(other.txt\).*1 image has no label file \(a.png"
    ):
        spec.read("train")


@pytest.mark.parametrize("labels", [dict.fromkeys("bcdef", LINE), dict.fromkeys([*"abcdef", "other"], LINE)])
def test_images_without_label_files_alone_are_negatives(folder, labels):
    write(folder, labels)
    assert len(spec_of("yolo", folder / "images", folder / "labels", CLASSES).read("train")[1]) == 6


@pytest.mark.parametrize(
    ("line", "said"), [("0 100 50 40 30", "pixels"), ("kite 0.5 0.5 0.2 0.2", "names instead of numbers")]
)
def test_pixels_and_names_are_named(folder, line, said):
    write(folder, dict.fromkeys("abcdef", line))
    with pytest.raises(DataError, match=said):
        find_spec(str(folder))


def test_a_dataset_whose_label_names_are_all_escaped_is_recognized(folder):
    for path in (folder / "images").iterdir():
        path.rename(path.with_name(f"é {path.name}"))
    write(folder, {f"%C3%A9%20{name}": LINE for name in "abcdef"})
    spec = find_spec(str(folder))
    assert spec.format == "yolo" and sum(len(record) for record in spec.read("train")[1]) == 4
