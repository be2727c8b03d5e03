"""Label Studio: shapes in percent, which annotation of a task counts, names of images, and broken entries."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.label_studio_files import POLYGON, RECTANGLE, brush, done, encode_brush, encode_values, read, result, task
from helpers.reading import read_problems
from helpers.via_files import BITMAP, HW, bitmap_of
from PIL import Image

from detect.data.description import find_spec
from detect.data.readers import get_reader
from detect.errors import DataError

BOX = [10, 5, 30, 20]


def problems(images) -> dict[str, str]:
    return dict(read_problems("label_studio", images, images.parent / "project-1.json"))


def turned(degrees: float) -> dict:
    """A rectangle of 20 x 10 pixels whose upper left corner, around which it rotates, is at 30, 20."""
    return {"x": 50, "y": 50, "width": 100 / 3, "height": 25, "rotation": degrees}


@pytest.mark.parametrize(
    ("entry", "boxes"),
    [
        (result(), [BOX]),
        (result(turned(90)), [[20, 20, 30, 40]]),
        (result(turned(180)), [[10, 10, 30, 20]]),
        (result(turned(30)), [[25, 20, 47.3205, 38.6603]]),
        (result(turned(-30)), [[30, 10, 52.3205, 28.6603]]),
        (result(POLYGON, "polygonlabels"), [BOX]),
        (result({"x": 50, "y": 50, "radiusX": 20, "radiusY": 20, "rotation": 0}, "ellipselabels"), [[18, 12, 42, 28]]),
        (result({"x": 50, "y": 50, "radiusX": 20, "radiusY": 20, "rotation": 90}, "ellipselabels"), [[22, 8, 38, 32]]),
        (brush(BITMAP), [BOX]),
        (result({"x": 5, "y": 5, "width": 1}, "keypointlabels"), []),
        (result({"choices": ["outdoor"]}, "choices", None), []),
        ({"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}, []),
        (result(kind="labels"), [BOX]),
        (result(label=["kite", "bird"]), [BOX, BOX]),
    ],
)
def test_shapes_have_their_boxes(images, entry, boxes):
    _, (a,) = read(images, task(done(entry)))
    assert a.path.name == "a.png" and a.boxes == pytest.approx(np.array(boxes).reshape(-1, 4), abs=1e-3)


def test_brush_is_read_exactly(images):
    bitmap = np.random.default_rng(0).random(HW) > 0.5
    _, (a,) = read(images, task(done(brush(bitmap))))
    assert np.array_equal(bitmap_of(a), bitmap) and not a.iscrowd.any()


def test_alpha_alone_is_the_mask_of_a_brush(images):
    rgba = np.zeros((*HW, 4), np.uint8)
    rgba[:, :, 0], rgba[:, :, 3] = 255, np.where(BITMAP, 255, 0)
    _, (a,) = read(images, task(done(result({"format": "rle", "rle": encode_values(rgba)}, "brushlabels"))))
    assert np.array_equal(bitmap_of(a), BITMAP)


def test_rectangles_alone_are_no_masks_and_rotated_ones_are_noted(images):
    _, (a,) = read(images, task(done(result(turned(30)), result())))
    assert a.masks is None and problems(images)["rotated_box"] == "a.png, result 1: by 30 degrees"
    _, (a,) = read(images, task(done(result(turned(30)), result(POLYGON, "polygonlabels"))))
    assert a.masks[0][0].tolist()[:4] == pytest.approx([30, 20, 47.3205, 30], abs=1e-3)


@pytest.mark.parametrize(
    ("annotations", "count"),
    [
        ([done(result()), done(result(), result(), updated_at="2024-05-02T10:00:00Z")], 2),
        ([done(result(), result(), updated_at="2024-05-02T10:00:00Z"), done(result())], 2),
        ([done(result(), ground_truth=True), done(result(), result(), updated_at="2024-06-01")], 1),
        ([done(result()), done(result(), result(), was_cancelled=True, updated_at="2024-06-01")], 1),
        ([done()], 0),
        ([done(result({"choices": ["none"]}, "choices", None))], 0),
    ],
)
def test_the_ground_truth_else_the_latest_annotation_counts(images, annotations, count):
    _, (a,) = read(images, task(*annotations))
    assert len(a) == count


@pytest.mark.parametrize("unannotated", [task(), task(done(result(), was_cancelled=True)), task(predictions=[done()])])
def test_task_without_a_submitted_annotation_is_not_annotated(images, unannotated):
    _, (b,) = read(images, unannotated, task(done(result()), image="b.png"))
    assert b.path.name == "b.png" and "unannotated_image" in problems(images)
    with pytest.raises(DataError, match="tasks without annotations"):
        read(images, unannotated)


def test_rectangle_and_its_labels_may_be_two_results_of_one_id(images):
    apart = [result(kind="rectangle", label=None), result(kind="labels", label="bird")]
    _, (a,) = read(images, task(done() | {"result": apart}))
    assert a.boxes == pytest.approx(np.array([BOX]), abs=1e-3)
    names, (a,) = read(images, task(done() | {"result": apart[::-1]}))
    assert len(a) == 1 and names.names == ("bird",)


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("/data/upload/3/1a2b3c4d-a.png", "a.png"),
        ("/data/upload/1a2b3c4d-a.png", "a.png"),
        ("/data/local-files/?d=a.png", "a.png"),
        ("/data/local-files/?d=more%2Fc.png", "more/c.png"),
        ("/data/local-files/?d=project/images/more/c.png", "more/c.png"),
        ("/data/local-files/?d=project\\more\\c.png", "more/c.png"),
        ("s3://bucket/folder/b.png", "b.png"),
        ("gs://bucket/a.png", "a.png"),
        ("https://example.com/images/more/c.png?X-Amz-Date=1/2&b=c", "more/c.png"),
        ("http://localhost:8080/data/upload/3/1a2b3c4d-a.png", "a.png"),
        ("C:\\mine\\a.png", "a.png"),
        ("more/c.png", "more/c.png"),
    ],
)
def test_images_are_found_by_what_label_studio_calls_them(images, written, file):
    _, (record,) = read(images, task(done(result()), image=written))
    assert record.path == images / file


def test_json_min_is_read(images):
    entry = {"image": "/data/upload/3/1a2b3c4d-a.png", "id": 7, "annotator": 1, "annotation_id": 2, "quality": "good"}
    label = [value | {"original_width": 60, "original_height": 40} for value in (
        RECTANGLE | {"rectanglelabels": ["kite"]}, POLYGON | {"polygonlabels": ["bird"]},
        {"format": "rle", "rle": encode_brush(BITMAP), "brushlabels": ["bird"]},
        {"x": 1, "y": 1, "width": 1, "keypointlabels": ["eye"]},
    )]  # fmt: skip
    entries = [entry | {"label": label[:1], "updated_at": "2023"}, entry | {"label": label, "updated_at": "2024"}]
    names, (a, b) = read(images, *entries, entry | {"image": "b.png", "id": 8, "choice": "x"})
    assert a.boxes == pytest.approx(np.array([BOX] * 3), abs=1e-3) and len(b) == 0
    assert names.names == ("bird", "kite") and a.labels.tolist() == [2, 1, 1]


@pytest.mark.parametrize("stated", [(60, 40), (40, 60), (120, 80), (None, None)])
def test_percentages_are_those_of_the_image_as_seen(images, stated):
    """The file has 40 x 60 pixels and an EXIF rotation that makes them 60 x 40."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((60, 40, 3), np.uint8)).save(images / "b.png", exif=exif)
    entry = result(original_width=stated[0], original_height=stated[1])
    _, (b,) = read(images, task(done(entry), image="b.png"))
    assert b.image_hw == HW and b.boxes == pytest.approx(np.array([BOX]), abs=1e-3)


def test_file_of_another_aspect_ratio_is_skipped(images):
    _, (b,) = read(images, task(done(result(original_width=80))), task(done(result()), image="b.png"))
    assert b.path.name == "b.png" and "80x40" in problems(images)["image_size_mismatch"]


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (result(RECTANGLE | {"x": None}), "malformed_object"),
        (result(RECTANGLE | {"x": "3"}), "malformed_object"),
        (result(RECTANGLE | {"x": 1e400}), "non_finite_box"),
        (result(RECTANGLE | {"width": 0}), "zero_area_box"),
        (result(RECTANGLE | {"width": 0, "rotation": 5}), "zero_area_box"),
        (result(RECTANGLE | {"rotation": "x"}), "malformed_object"),
        (result(label=None), "no_class"),
        (result(label=[]), "no_class"),
        (result(image_rotation=90), "malformed_object"),
        (result({"points": [[1, 2], [3, 4]]}, "polygonlabels"), "too_few_points"),
        (result({"points": [[1, 2], [3, 4], 5]}, "polygonlabels"), "malformed_object"),
        (result({"points": "x"}, "polygonlabels"), "malformed_object"),
        (result({"x": 5, "y": 5, "radiusX": 0, "radiusY": 1}, "ellipselabels"), "zero_area_box"),
        (result({"rle": [1, 2, 3]}, "brushlabels"), "invalid_mask"),
        (result({"rle": [1, 2, 300]}, "brushlabels"), "invalid_mask"),
        (result({"rle": "abc"}, "brushlabels"), "invalid_mask"),
        (result({"rle": 10**15}, "brushlabels"), "invalid_mask"),
        (result({"rle": encode_brush(BITMAP)[:-9]}, "brushlabels"), "invalid_mask"),
        (result({"rle": encode_brush(BITMAP[:20])}, "brushlabels"), "invalid_mask"),
        (brush(np.zeros(HW, bool)), "zero_area_box"),
        (brush(BITMAP, original_width=30, original_height=20), "rle_size_mismatch"),
        (result({"imageDataURL": "data:"}, "bitmasklabels"), "malformed_object"),
        (result({"sequence": []}, "videorectangle"), "malformed_object"),
        ({"type": "rectanglelabels", "value": 5}, "malformed_object"),
    ],
)
def test_broken_results_are_skipped_and_others_are_read(images, broken, kind):
    _, (a,) = read(images, task(done(result(), broken)))
    assert a.boxes == pytest.approx(np.array([BOX]), abs=1e-3)
    assert problems(images)[kind].partition(", ")[2].startswith("result 2")


@pytest.mark.parametrize(
    "broken", [5, None, {"data": 3, "annotations": []}, {"data": {"text": "a"}, "annotations": []}]
)
def test_task_without_an_image_is_skipped(images, broken):
    read(images, broken, task(done(result())))
    assert "malformed_image_entry" in problems(images)


@pytest.mark.parametrize("content", [[], {}, 5, [5], [{"a": 1}], {"images": []}])
def test_other_json_is_a_one_line_error(images, content):
    (images / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="is not Label Studio's JSON"):
        get_reader("label_studio").parse(images, images / "a.json", None)


def test_folders_of_local_files_are_found_and_name_the_splits(tmp_path, images):
    for split in ("train", "val"):
        (tmp_path / "set" / split).mkdir(parents=True)
        for number in range(2):
            rng = np.random.default_rng(number)
            Image.fromarray(rng.integers(0, 255, (*HW, 3), np.uint8)).save(tmp_path / "set" / split / f"{number}.png")
    tasks = [
        task(done(result()), image=f"/data/local-files/?d=set%2F{split}%2F{number}.png")
        for split in ("train", "val")
        for number in range(2)
    ]
    (tmp_path / "set" / "all.json").write_text(json.dumps(tasks))
    spec = find_spec(str(tmp_path / "set"))
    assert {split: len(spec.read(split)[1]) for split in spec.splits} == {"train": 2, "val": 2}
