"""Detections: validation, selection, drawing and conversion."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas
import pytest

from detect.errors import UsageError
from detect.foreign_names import DETECTIONS
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.detections_json import detection_rows

SHAPES = ClassNames(("circle", "square", "triangle"), (90, 7, 3))
HW = (40, 60)


def three() -> Detections:
    """Three detections; the mask of each has as many pixels as its label."""
    rles = [masks.from_crop(np.ones((1, label), bool), (0, 0), HW) for label in (2, 1, 2)]
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    return Detections(HW, boxes, np.float32([0.9, 0.5, 0.2]), np.array([2, 1, 2]), rles)


def assert_selected(some: Detections, numbers: list[int]) -> None:
    """``some`` are the detections at ``numbers`` of ``three()``, with all their parts."""
    every = three()
    assert len(some) == len(numbers)
    np.testing.assert_array_equal(some.boxes, every.boxes[numbers])
    np.testing.assert_array_equal(some.scores, every.scores[numbers])
    np.testing.assert_array_equal(some.labels, every.labels[numbers])
    assert [masks.area(rle) for rle in some.masks] == some.labels.tolist()


def test_detections_may_be_empty():
    empty = Detections(HW)
    assert len(empty) == 0 and empty.boxes.shape == (0, 4) and empty.labels.dtype == np.int64
    assert len(empty.filter(0.5, [1])) == 0 and len(empty[[]]) == 0


@pytest.mark.parametrize(
    ("index", "numbers"),
    [
        ([0, 2], [0, 2]),
        ([], []),
        (slice(1, None), [1, 2]),
        (np.array([True, False, True]), [0, 2]),
        (np.array([1]), [1]),
    ],
)
def test_index_selects_all_parts(index, numbers):
    assert_selected(three()[index], numbers)


@pytest.mark.parametrize(
    ("threshold", "labels", "numbers"),
    [(0.0, None, [0, 1, 2]), (0.5, None, [0, 1]), (0.95, None, []), (0.0, [2], [0, 2]), (0.3, [2], [0]), (0, [], [])],
)
def test_filter_selects_all_parts_and_keeps_scores_equal_to_the_threshold(threshold, labels, numbers):
    assert_selected(three().filter(threshold, labels), numbers)


def test_selection_of_detections_without_masks_has_none():
    assert replace(three(), masks=None).filter(0.5).masks is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": np.zeros((3, 4))}, "boxes must be float32"),
        ({"boxes": np.zeros((3, 5), np.float32)}, "boxes must be float32"),
        ({"boxes": np.full((3, 4), np.nan, np.float32)}, "boxes must be finite"),
        ({"boxes": np.full((3, 4), np.inf, np.float32)}, "boxes must be finite"),
        ({"boxes": np.zeros((2, 4), np.float32)}, r"scores must be float32 \[2\]"),
        ({"scores": np.array([0.9, 0.5, 0.2])}, "scores must be float32"),
        ({"scores": np.float32([[0.9], [0.5], [0.2]])}, "scores must be float32"),
        ({"scores": np.float32([0.5, 0.9, 0.2])}, "descend"),
        ({"scores": np.float32([1.1, 0.9, 0.2])}, r"0\.\.1"),
        ({"scores": np.float32([0.9, 0.5, -0.1])}, r"0\.\.1"),
        ({"scores": np.float32([0.9, np.nan, 0.2])}, r"0\.\.1"),
        ({"scores": np.full(3, np.nan, np.float32)}, r"0\.\.1"),
        ({"labels": np.array([1, 2])}, r"labels must be int64 \[3\]"),
        ({"labels": np.array([1, 2, 3], np.int32)}, "labels must be int64"),
        ({"labels": np.array([1.0, 2.0, 3.0])}, "labels must be int64"),
        ({"labels": np.array([1, 0, 2])}, "background"),
        ({"track_ids": np.array([1, 2])}, r"track_ids must be int64 \[3\]"),
        ({"track_ids": np.array([1.0, 2.0, 3.0])}, "track_ids must be int64"),
        ({"track_ids": np.array([1, 0, 3])}, "track_ids must be at least 1"),
        ({"masks": []}, "3 boxes but 0 masks"),
        ({"class_names": ClassNames(("one",))}, r"label 2 is not in 1\.\.1"),
        ({"image": np.zeros((60, 40, 3), np.uint8)}, r"image must be uint8 \[40, 60, 3\]"),
        ({"image_hw": (60, 40)}, r"size \(60, 40\) \(h, w\) of the image, not \[40, 60\]"),
    ],
)
def test_invalid_parts_are_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(three(), **changes)


def test_equal_scores_are_valid():
    assert len(replace(three(), scores=np.full(3, 0.5, np.float32))) == 3


def test_keypoints_are_selected_with_their_boxes_and_validated():
    points = np.arange(2 * 17 * 3, dtype=np.float32).reshape(2, 17, 3)
    boxes, scores = np.float32([[0, 0, 5, 5], [1, 1, 9, 9]]), np.float32([0.9, 0.4])
    person = Detections(HW, boxes, scores, np.array([1, 1]), keypoints=points)
    np.testing.assert_array_equal(person.filter(threshold=0.5).keypoints, points[:1])
    np.testing.assert_array_equal(person[[1]].keypoints, points[1:])
    for wrong in (points[:1], points[..., :2], points[0]):
        with pytest.raises(ValueError, match=r"keypoints must be \[2, P, 3\]"):
            Detections(HW, boxes, scores, np.array([1, 1]), keypoints=wrong)


def test_track_ids_are_selected_with_their_boxes_and_part_of_every_conversion():
    tracked = replace(named(), track_ids=np.array([7, 3, 9]))
    assert tracked[1:].track_ids.tolist() == [3, 9] and tracked.filter(0.5).track_ids.tolist() == [7, 3]
    assert [row["track_id"] for row in tracked.to_coco(image_id=1)] == [7, 3, 9]
    assert tracked.to_pandas()["track_id"].tolist() == [7, 3, 9]
    assert [row["track_id"] for row in detection_rows(tracked, SHAPES)] == [7, 3, 9]
    assert (
        named()[1:].track_ids is None and "track_id" not in named().to_coco(1)[0] | detection_rows(named(), SHAPES)[0]
    )


# Class names, drawing and conversion


def named() -> Detections:
    """``three()`` with class names and an image: square, circle, square."""
    return replace(three(), class_names=SHAPES, image=np.full((*HW, 3), 50, np.uint8))


def test_names_image_and_class_names_are_kept_by_selection():
    assert named().names == ["square", "circle", "square"]
    kept = named().filter(0.4)
    assert kept.names == ["square", "circle"] and kept.image is not None and kept.class_names == SHAPES
    assert three().names == ["class 2", "class 1", "class 2"]


def of_classes(circle: float, square: float) -> dict[str, float]:
    return {"square": square, "triangle": 1.0, "circle": circle}


def test_filter_takes_a_threshold_for_each_class():
    """Scores of ``named()``: square 0.9, circle 0.5, square 0.2."""
    assert_selected(named().filter(of_classes(circle=0.6, square=0.2)), [0, 2])
    assert_selected(named().filter(of_classes(circle=0.5, square=0.3)), [0, 1])
    assert_selected(named().filter(of_classes(circle=0.0, square=0.3), labels=[2]), [0])
    assert_selected(named().filter(of_classes(circle=0.0, square=0.0)), [0, 1, 2])
    for one in (0.2, 0.5, 0.9, 0.55):
        same = named().filter(of_classes(circle=one, square=one))
        assert same.scores.tolist() == named().filter(one).scores.tolist()


@pytest.mark.parametrize(
    ("thresholds", "labels", "expected"),
    [
        (of_classes(circle=1.0, square=0.2), None, True),  # a square with a lower score than all may be missing
        (of_classes(circle=0.1, square=1.0), None, True),
        (of_classes(circle=0.1, square=1.0), [2], False),
        (of_classes(circle=0.3, square=0.3), None, False),
    ],
)
def test_the_limit_is_reached_if_a_detection_below_the_lowest_would_be_kept(thresholds, labels, expected):
    assert replace(named(), limit_reached=True).filter(thresholds, labels).limit_reached == expected
    assert not named().filter(thresholds, labels).limit_reached


def test_thresholds_that_do_not_fit_the_classes_are_refused():
    with pytest.raises(UsageError, match="no minimum score for "):
        named().filter({"square": 0.5})
    with pytest.raises(UsageError, match="`threshold=nan`"):
        named().filter(dict.fromkeys(SHAPES.names, float("nan")))
    with pytest.raises(UsageError, match="no class names"):
        three().filter({"square": 0.5})


def test_repr_is_one_short_line():
    assert repr(named()) == "<3 detections: 2 square, 1 circle; image 40x60 (h x w)>"
    assert repr(named()[:1]) == "<1 detection: 1 square; image 40x60 (h x w)>"
    assert repr(Detections(HW)) == "<0 detections; image 40x60 (h x w)>"


def test_summary_lists_classes_by_best_score_and_shortens_long_lists():
    assert named().summary() == "2 square (0.90 0.20), 1 circle (0.50)"
    boxes, scores = np.zeros((7, 4), np.float32), np.linspace(0.9, 0.6, 7, dtype=np.float32)
    many = Detections((9, 9), boxes, scores, np.ones(7, np.int64), class_names=SHAPES)
    assert many.summary() == "7 circle (0.90 0.85 0.80 0.75 0.70 ...)"
    assert Detections((9, 9)).summary() == "no detections"


def test_draw_returns_a_pil_image_of_the_kept_or_given_image():
    image = named().image
    drawn = named().draw()
    assert drawn.size == HW[::-1] and drawn.mode == "RGB" and (np.asarray(drawn) != image).any()
    np.testing.assert_array_equal(np.asarray(three().draw(image, hide_scores=True)).shape, image.shape)
    assert (image == 50).all()
    np.testing.assert_array_equal(np.asarray(replace(Detections(HW), image=image).draw()), image)


def test_one_index_gives_one_detection_and_all_can_be_iterated():
    found = three()
    assert [one.scores.tolist() for one in found] == [[score] for score in found.scores.tolist()]
    assert found[-1].scores.tolist() == [found.scores[-1]]
    with pytest.raises(IndexError):
        found[3]


@pytest.mark.parametrize("threshold", [2, -0.1, float("nan"), "0.5", None])
def test_filter_refuses_a_threshold_outside_of_its_range(threshold):
    with pytest.raises(UsageError, match=r"0\.\.1"):
        three().filter(threshold)


def test_draw_without_an_image_or_with_one_of_another_size_is_an_error():
    with pytest.raises(UsageError, match="image"):
        three().draw()
    with pytest.raises(UsageError, match=r"\(40, 60\).*\(9, 9\)"):
        three().draw(np.zeros((9, 9, 3), np.uint8))
    for array in (np.zeros(HW, np.uint8), np.zeros((*HW, 4), np.uint8), np.zeros((*HW, 3), np.float32)):
        with pytest.raises(UsageError, match="uint8 RGB"):
            three().draw(array)


@pytest.mark.parametrize("name", DETECTIONS)
def test_an_attribute_of_other_packages_names_the_one_that_does_the_same(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; use {re.escape(DETECTIONS[name])}"):
        getattr(three(), name)
    assert hasattr(three(), DETECTIONS[name].partition("(")[0])


def test_unknown_option_of_draw_is_a_type_error_with_the_nearest_name():
    with pytest.raises(TypeError, match=r"hide_score.*did you mean hide_scores"):
        named().draw(hide_score=True)
    with pytest.raises(TypeError, match=r"show_scores.*did you mean hide_scores"):
        named().draw(show_scores=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"line_width": 0}, "line_width=0.* at least 1"),
        ({"line_width": 2.5}, "line_width=2.5.* whole number"),
        ({"font": "none.ttf"}, "font=none.ttf.* does not exist"),
        ({"font": __file__}, "is not a TrueType"),
    ],
)
def test_invalid_option_of_draw_is_one_clear_error(options, message):
    with pytest.raises(UsageError, match=message):
        named().draw(**options)


def test_to_coco_has_original_category_ids_xywh_boxes_and_text_rles():
    rows = json.loads(json.dumps(named().to_coco(image_id=17)))
    assert [row["category_id"] for row in rows] == [7, 90, 7] and {row["image_id"] for row in rows} == {17}
    assert rows[1]["bbox"] == [4, 5, 2, 2] and rows[1]["score"] == pytest.approx(0.5)
    for row, rle in zip(rows, named().masks, strict=True):
        assert masks.from_coco(row["segmentation"], HW) == rle
    assert "segmentation" not in replace(three(), masks=None).to_coco(1)[0]
    assert [row["category_id"] for row in three().to_coco(1)] == [2, 1, 2]


def test_to_coco_has_the_decimals_of_the_other_formats_and_keeps_every_number():
    low = np.random.default_rng(0).uniform(0, 2000, (300, 2))
    boxes = np.concatenate([low, low + np.random.default_rng(1).uniform(0, 900, (300, 2))], axis=1).astype(np.float32)
    scores = np.linspace(1, 0, 300, dtype=np.float32)
    found = Detections(HW, boxes, scores, np.ones(300, np.int64))
    rows = json.loads(json.dumps(found.to_coco(1)))
    others = found.to_json()["images"][0]["detections"]
    assert [row["score"] for row in rows] == [row["score"] for row in others]
    assert [row["bbox"][:2] for row in rows] == [row["box_xyxy"][:2] for row in others]
    assert max(len(str(number)) for row in rows for number in row["bbox"]) <= 11
    xywh = np.array([row["bbox"] for row in rows])
    np.testing.assert_array_equal(np.float32(np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])), boxes)


def test_to_pandas_has_a_row_per_detection():
    frame = named().to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns.tolist() == ["name", "category_id", "score", "x_min", "y_min", "x_max", "y_max"]
    assert frame["name"].tolist() == ["square", "circle", "square"] and frame["x_max"].tolist() == [2, 6, 10]
    assert len(Detections(HW).to_pandas()) == 0


def test_to_supervision_passes_every_part(monkeypatch, tmp_path):
    """supervision is no dependency of the tests, so a module of that name keeps the keywords of the call."""
    (tmp_path / "supervision.py").write_text("from types import SimpleNamespace as Detections\n")
    monkeypatch.syspath_prepend(tmp_path)
    converted = named().to_supervision()
    np.testing.assert_array_equal(converted.xyxy, three().boxes)
    np.testing.assert_array_equal(converted.confidence, three().scores)
    assert converted.class_id.tolist() == [2, 1, 2]
    assert converted.data["class_name"].tolist() == ["square", "circle", "square"]
    assert converted.mask.shape == (3, *HW) and converted.mask.dtype == bool
    assert converted.mask.sum(axis=(1, 2)).tolist() == [2, 1, 2]
    assert replace(three(), masks=None).to_supervision().mask is None


@pytest.mark.parametrize("package", ["supervision", "pandas"])
def test_missing_optional_package_is_an_error_that_says_how_to_install_it(monkeypatch, package):
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(UsageError, match=f"pip install {package}"):
        getattr(named(), f"to_{package}")()


@pytest.mark.parametrize(
    ("threshold", "labels", "expected"), [(0.0, None, True), (0.5, None, True), (0.6, None, False), (0.0, [2], True)]
)
def test_limit_counts_as_reached_unless_the_threshold_removes_detections_above_it(threshold, labels, expected):
    boxes = np.tile(np.float32([0, 0, 4, 4]), (2, 1))
    found = Detections((8, 8), boxes, np.float32([0.9, 0.5]), np.array([1, 2]), limit_reached=True)
    kept = found.filter(threshold, labels)
    assert kept.limit_reached == expected == ("limit" in repr(kept))
