"""CVAT: shapes of images and of video frames, groups, labels, and entries that are broken."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.any_format import put_images
from helpers.cvat_files import CORNERS, document, image, mask, polygon, read, shape
from helpers.reading import read_problems, read_split
from helpers.via_files import BITMAP, HW, bitmap_of

from detect.data.description import find_spec
from detect.data.readers import get_reader
from detect.errors import DataError


def problems(images) -> dict[str, str]:
    return dict(read_problems("cvat", images, images.parent / "annotations.xml"))


@pytest.mark.parametrize(
    ("shapes", "boxes"),
    [
        ([shape()], [[10, 5, 30, 20]]),
        ([shape(more='rotation="0.00"')], [[10, 5, 30, 20]]),
        ([shape(more='rotation="180.00"')], [[10, 5, 30, 20]]),
        ([shape(attributes='xtl="10" ytl="10" xbr="30" ybr="20"', more='rotation="90"')], [[15, 5, 25, 25]]),
        ([shape(attributes='xtl="10" ytl="10" xbr="30" ybr="20"', more='rotation="30"')],
         [[8.8397, 5.6699, 31.1603, 24.3301]]),
        ([polygon()], [[10, 5, 30, 20]]),
        ([polygon("10,5;30,5;20,20")], [[10, 5, 30, 20]]),
        ([shape("ellipse", 'cx="20" cy="15" rx="10" ry="5"')], [[10, 10, 30, 20]]),
        ([shape("ellipse", 'cx="20" cy="15" rx="10" ry="5"', more='rotation="90.00"')], [[15, 5, 25, 25]]),
        ([shape("ellipse", 'cx="20" cy="15" rx="10" ry="-5"')], [[10, 10, 30, 20]]),
        ([mask(BITMAP[5:20, 10:30], 10, 5)], [[10, 5, 30, 20]]),
        ([mask(BITMAP[3:25, 8:33], 8, 3)], [[10, 5, 30, 20]]),
        ([mask(np.ones((9, 9), bool), -4, -3)], [[0, 0, 5, 6]]),
        ([mask(np.ones((9, 9), bool), 55, 36)], [[55, 36, 60, 40]]),
        ([shape("cuboid", " ".join(f'x{k}="{x}" y{k}="{y}"' for k, x, y in (
            ("tl1", 10, 5), ("bl1", 10, 18), ("tr1", 25, 6), ("br1", 25, 20),
            ("tl2", 15, 4), ("bl2", 15, 17), ("tr2", 30, 5), ("br2", 30, 19))))], [[10, 4, 30, 20]]),
        ([shape("points", 'points="1,2;3,4"'), shape("polyline", f'points="{CORNERS}"'), shape("tag", "")], []),
        ([shape("skeleton", "", inside='<points label="wing" points="1,2"></points>'), shape()], [[10, 5, 30, 20]]),
    ],
)  # fmt: skip
def test_shapes_have_their_boxes(images, shapes, boxes):
    _, (a,) = read(images, image(*shapes))
    assert a.boxes == pytest.approx(np.array(boxes).reshape(-1, 4), abs=1e-3)


def test_mask_is_read_row_by_row(images):
    rng = np.random.default_rng(0)
    bitmap = np.zeros(HW, bool)
    bitmap[7:19, 12:40] = rng.random((12, 28)) > 0.5
    _, (a,) = read(images, image(mask(bitmap[7:19, 12:40], 12, 7)))
    assert not a.iscrowd.any() and np.array_equal(bitmap_of(a), bitmap) and a.areas.tolist() == [bitmap.sum()]


def test_rotated_box_is_noted_and_a_polygon_among_masks(images):
    rotated = shape(attributes='xtl="10" ytl="10" xbr="30" ybr="20"', more='rotation="30.00"')
    _, (a,) = read(images, image(rotated, shape()))
    assert a.masks is None and problems(images) == {"rotated_box": "a.png, shape 1: by 30.00 degrees"}
    _, (a,) = read(images, image(rotated, shape(), polygon()))
    first = [10.0, 5.0, 30.0, 5.0]
    assert a.masks[1][0].tolist()[:4] == first == a.masks[2][0].tolist()[:4]
    assert a.masks[0][0].tolist()[:4] == pytest.approx([13.8397, 5.6699, 31.1603, 15.6699], abs=1e-3)


def test_polygons_and_masks_of_a_group_are_one_object(images):
    one, other = polygon("0,0;9,0;9,9", more='group_id="3"'), polygon("20,20;29,20;29,29", more='group_id="3"')
    _, (a,) = read(images, image(one, other, polygon("1,1;5,1;5,5"), polygon(more='group_id="3"', label="bird")))
    assert a.boxes.tolist() == [[0, 0, 29, 29], [1, 1, 5, 5], [10, 5, 30, 20]] and len(a.masks[0]) == 2
    brush = mask(BITMAP[5:20, 10:30], 10, 5, more='group_id="3"')
    _, (a,) = read(images, image(one, brush, shape(more='group_id="3"'), shape(more='group_id="3"')))
    assert a.boxes.tolist() == [[1, 0, 30, 20], [10, 5, 30, 20], [10, 5, 30, 20]]


def test_classes_are_the_labels_for_shapes_with_an_area(images):
    names, (a,) = read(images, image(shape(label="bird")))
    assert names.names == ("kite", "bird") and a.labels.tolist() == [2]


def test_labels_of_the_parts_of_a_skeleton_are_not_classes(images):
    part = "<label><name>wing</name><type>any</type><parent>body</parent></label>"
    text = document(image(shape())).replace("</labels>", f"{part}</labels>")
    (images.parent / "annotations.xml").write_text(text, encoding="utf-8")
    names, _ = read_split("cvat", images, images.parent / "annotations.xml")
    assert names.names == ("kite", "bird")
    names, (a,) = read(images, image(shape(label="wing")))
    assert names.names == ("kite", "bird", "wing") and a.labels.tolist() == [3]
    names, (a,) = read(images, image(shape(label="b&amp;c"), shape(label="a")), labels=())
    assert names.names == ("a", "b&c") and a.labels.tolist() == [2, 1]


def test_images_without_shapes_have_no_objects_and_missing_sizes_are_read(images):
    _, (a, c) = read(images, image(), image(mask(BITMAP, 0, 0), name="more/c.png", size=""))
    assert len(a) == 0 and c.image_hw == HW and c.boxes.tolist() == [[10, 5, 30, 20]]


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (shape(attributes='xtl="10" ytl="5" xbr="30"'), "malformed_object"),
        (shape(attributes='xtl="ten" ytl="5" xbr="30" ybr="20"'), "malformed_object"),
        (shape(attributes='xtl="nan" ytl="5" xbr="30" ybr="20"'), "non_finite_box"),
        (shape(attributes='xtl="10" ytl="5" xbr="10" ybr="20"'), "zero_area_box"),
        (shape(attributes='xtl="10" ytl="5" xbr="10" ybr="20"', more='rotation="5"'), "zero_area_box"),
        (shape(more='rotation="inf"'), "non_finite_box"),
        (shape(label=" "), "no_class"),
        (shape("circle", 'r="3"'), "malformed_object"),
        (polygon("1,2;3,4"), "too_few_points"),
        (polygon("1,2;3,4;5"), "malformed_object"),
        (polygon("1,2;3,4;5,x"), "malformed_object"),
        (polygon(""), "too_few_points"),
        (shape("ellipse", 'cx="20" cy="15" rx="0" ry="5"'), "zero_area_box"),
        (shape("mask", 'rle="3, 2" left="1" top="1" width="3" height="2"'), "invalid_mask"),
        (shape("mask", 'rle="x" left="1" top="1" width="3" height="2"'), "invalid_mask"),
        (shape("mask", 'rle="6" left="1" top="1" width="3" height="2"'), "zero_area_box"),
        (shape("mask", 'rle="-1, 7" left="1" top="1" width="3" height="2"'), "invalid_mask"),
        (shape("mask", 'rle="0, 6" left="61" top="1" width="3" height="2"'), "box_outside_image"),
        (shape("mask", 'rle="0, 6" left="1" top="1" width="300000" height="200000"'), "invalid_mask"),
        (shape("mask", 'rle="0, 6" left="1.5" top="1" width="3" height="2"'), "malformed_object"),
        (shape("mask", f'rle="0, {10**30}" left="1" top="1" width="3" height="2"'), "invalid_mask"),
        (shape("cuboid", 'xtl1="3"'), "malformed_object"),
    ],
)
def test_broken_shapes_are_skipped_and_others_are_read(images, broken, kind):
    _, (a,) = read(images, image(broken, shape()))
    assert len(a) == 1 and a.boxes.tolist() == [[10, 5, 30, 20]]
    assert problems(images)[kind].startswith("a.png, shape 1")


def test_image_without_a_name_and_group_with_a_broken_part(images):
    far = polygon("0,0;9,0;999999,9", more='group_id="3"')
    _, (a,) = read(images, image(name=""), image(far, mask(BITMAP, 0, 0, more='group_id="3"')))
    assert a.boxes.tolist() == [[10, 5, 30, 20]]
    assert set(problems(images)) == {"malformed_image_entry", "invalid_mask"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotations", "is not XML"),
        ("", "is not XML"),
        ("<annotation></annotation>", "its root is <annotation>"),
        ("<annotations><version>1.1</version></annotations>", "neither images nor tracks"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "is not XML"),
    ],
)
def test_other_xml_is_a_one_line_error(images, text, said):
    (images / "a.xml").write_text(text)
    with pytest.raises(DataError, match=said) as error:
        get_reader("cvat").parse(images, images / "a.xml", None)
    assert "\n" not in str(error.value)


def track(*shapes: str, label: str = "kite") -> str:
    return f'<track id="0" label="{label}" source="manual">{"".join(shapes)}</track>'


def box_in(frame: object, outside: int = 0, left: int = 10) -> str:
    edges = f'xtl="{left}" ytl="5" xbr="30" ybr="20"'
    return f'<box frame="{frame}" outside="{outside}" occluded="0" keyframe="1" {edges} z_order="0"></box>'


TASK = (
    "<size>3</size><mode>interpolation</mode><start_frame>0</start_frame><stop_frame>3</stop_frame>"
    "<original_size><width>60</width><height>40</height></original_size>"
)


def test_tracks_are_objects_of_the_frames_that_exist(tmp_path, capsys):
    put_images(tmp_path / "images", *(f"frame_{i:06d}.PNG" for i in (0, 1, 3, 4)))
    content = track(box_in(0), box_in(1, left=11), box_in(2, left=12), box_in(3, outside=1)), track(box_in("x"))
    names, records = read(tmp_path / "images", *content, task=TASK)
    assert [r.path.name for r in records] == [f"frame_{i:06d}.PNG" for i in (0, 1, 3)]
    assert [r.boxes[:, 0].tolist() for r in records] == [[10], [11], []] and names.names == ("kite", "bird")
    err = capsys.readouterr().err
    assert "ignored 1 frame that" in err and "frame 'x'" in err


@pytest.mark.parametrize("files", [("0.png", "1.png"), ("frame_000001.png", "frame_000002.png")])
def test_video_without_its_frames_names_the_export(tmp_path, files):
    put_images(tmp_path / "images", *files)
    with pytest.raises(DataError, match=r"lacks its first frame.* export 'CVAT for images 1\.1'"):
        read(tmp_path / "images", track(box_in(1)), task=TASK)


@pytest.mark.parametrize("folders", [True, False])
def test_subsets_of_a_project_are_the_splits(tmp_path, folders):
    files = {f"{i}.png": subset for i, subset in enumerate(["Train"] * 3 + ["Validation"] * 2 + ["Test"])}
    put_images(tmp_path / "set" / "images", *(f"{s}/{n}" if folders else n for n, s in files.items()))
    text = document(*(image(shape(), name=n, more=f'subset="{s}" task_id="2"') for n, s in files.items()))
    (tmp_path / "set" / "annotations.xml").write_text(text)
    spec = find_spec(str(tmp_path / "set"))
    assert {split: len(spec.read(split)[1]) for split in spec.splits} == {"train": 3, "val": 2, "test": 1}
