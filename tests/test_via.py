"""VIA's files: every version and shape is read as it was drawn, and nothing is lost in silence."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detect import masks
from detect.data.archive import verify_files
from detect.data.dataset import DetectionDataset
from detect.data.readers import coco, via
from detect.data.readers.via_shapes import outline
from detect.data.spec import find_spec
from detect.data.transforms import TrainTransform
from detect.errors import DataError, DetectError, UsageError
from detect.media.images import write_image
from detect.types import ImageRecord

HW = (40, 60)
SQUARE = {"name": "polygon", "all_points_x": [10, 30, 30, 10], "all_points_y": [5, 5, 20, 20]}
RECT = {"name": "rect", "x": 10, "y": 5, "width": 20, "height": 15}
BITMAP = np.zeros(HW, bool)
BITMAP[5:20, 10:30] = True
CIRCLE = {"name": "circle", "cx": 30, "cy": 20, "r": 10}
ELLIPSE = {"name": "ellipse", "cx": 30, "cy": 20, "rx": 15, "ry": 5, "theta": 0.5}
LINE = SQUARE | {"name": "polyline"}
NAN, INF = math.nan, math.inf
GONE = "gone"

KINDS = {"type": "dropdown", "options": {"k": "kite", "b": "balloon", "n": "never seen"}}


def region(shape: dict[str, Any] | None = None, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": dict(SQUARE if shape is None else shape), "region_attributes": attributes}


def shaped(shape: dict[str, Any] = SQUARE, **changes: Any) -> dict[str, Any]:
    """A region with a changed shape; a change to None takes the key away."""
    return region({k: v for k, v in (shape | changes).items() if v is not None})


def entries(*regions: Any, version: int = 2) -> dict[str, Any]:
    """b.png with ``regions`` and a.png without any."""
    held = [list(regions), []] if version == 2 else [{str(i): r for i, r in enumerate(regions)}, {}]
    return {
        "b.png123": {"filename": "b.png", "size": 123, "regions": held[0], "file_attributes": {}},
        "a.png45": {"filename": "a.png", "size": 45, "regions": held[1], "file_attributes": {}},
    }


def project(*regions: Any, **attributes: Any) -> dict[str, Any]:
    """A project of VIA 2 with the ``attributes`` of its regions."""
    return {
        "_via_settings": {"core": {"filepath": {}, "default_filepath": "C:\\somewhere\\else\\"}},
        "_via_img_metadata": entries(*regions),
        "_via_attributes": {"region": attributes, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": ["b.png123", "a.png45"],
    }


def as_csv(content: dict[str, Any], mark: str = "") -> str:
    """The CSV export of the same entries."""
    names = ("file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes")
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow([f"{mark}filename", *names, "region_attributes"])
    for entry in content.values():
        held = entry["regions"]
        for i, one in enumerate(held or [{"shape_attributes": {}, "region_attributes": {}}]):
            attributes = [json.dumps(one["shape_attributes"]), json.dumps(one["region_attributes"])]
            lines.writerow([entry["filename"], entry["size"], "{}", len(held), i, *attributes])
    return out.getvalue()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("via") / "images"
    (folder / "more").mkdir(parents=True)
    for name in ("a.png", "b.png", "more/c.png"):
        write_image(folder / name, np.zeros((*HW, 3), np.uint8))
    return folder


@pytest.fixture
def read(images: Path, tmp_path: Path) -> Callable:
    """Write ``content`` and read it back."""

    def read(content: Any, classes: list[str] | None = None, name: str = "truth.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return via.read(images, path, classes)

    return read


def bitmap_of(record: ImageRecord, i: int = 0) -> np.ndarray:
    return masks.to_bitmap(masks.from_coco(record.masks[i], record.image_hw))


def one_warning(capsys: pytest.CaptureFixture) -> str:
    (warning,) = capsys.readouterr().err.splitlines()
    return warning


# Versions


@pytest.mark.parametrize("kind", ["1", "2", "project", "csv 1", "csv 2"])
def test_every_version_gives_the_same_in_the_order_of_the_file_names(read, images, kind):
    regions = [region(), region(SQUARE | {"all_points_x": [0, 8, 0], "all_points_y": [0, 0, 6]})]
    files = {
        "1": (entries(*regions, version=1),),
        "2": (entries(*regions),),
        "project": (project(*regions),),
        "csv 1": (as_csv(entries(*regions), mark="#"), "truth.csv"),
        "csv 2": (as_csv(entries(*regions)), "TRUTH.CSV"),
    }
    content, *name = files[kind]
    names, (a, b) = read(content, ["balloon"], *name)
    assert names.names == ("balloon",) and names.ids == (1,)
    assert [r.path for r in (a, b)] == [images / "a.png", images / "b.png"]
    assert a.image_id != b.image_id and a.image_hw == b.image_hw == HW
    assert a.boxes.shape == (0, 4) and a.masks == []
    assert b.boxes.tolist() == [[10, 5, 30, 20], [0, 0, 8, 6]] and b.labels.tolist() == [1, 1]
    np.testing.assert_array_equal(bitmap_of(b), BITMAP)
    assert b.areas[0] == 300 and len(set(b.annotation_ids.tolist())) == 2


def test_a_square_is_the_same_as_in_coco_and_as_a_rectangle(read, images, tmp_path):
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 5, 20, 15], "area": 300}
    annotation["segmentation"] = [[10, 5, 30, 5, 30, 20, 10, 20]]
    picture = {"id": 1, "file_name": "b.png", "height": 40, "width": 60}
    path = tmp_path / "coco.json"
    categories = [{"id": 1, "name": "square"}]
    path.write_text(json.dumps({"images": [picture], "annotations": [annotation], "categories": categories}))
    _, (from_coco,) = coco.read(images, path)
    _, (_, from_via) = read(entries(region(), region(RECT)), ["square"])
    for i in (0, 1):
        np.testing.assert_array_equal(from_coco.boxes[0], from_via.boxes[i])
        np.testing.assert_array_equal(from_coco.areas[0], from_via.areas[i])
        np.testing.assert_array_equal(bitmap_of(from_coco), bitmap_of(from_via, i))


# Shapes


@pytest.mark.parametrize("r", [2, 7.5, 31, 150, 1000])
@pytest.mark.parametrize("ratio", [1, 0.3])
def test_round_shapes_keep_their_area(r, ratio):
    """The polygon lies in the shape, so 1 - IoU is the share of the area that it misses."""
    circle = {"name": "circle", "cx": 5000, "cy": 5000, "r": r}
    ellipse = {"name": "ellipse", "cx": 5000, "cy": 5000, "rx": r, "ry": r * ratio, "theta": 0.7}
    for shape, area in ((circle, math.pi * r * r), (ellipse, math.pi * r * r * ratio)):
        box, polygon = outline(shape, "here")
        x, y = np.array(polygon).reshape(-1, 2).T - 5000
        inside = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
        assert 0.995 * area < inside <= area
        np.testing.assert_allclose([x.min(), y.min(), x.max(), y.max()], np.array(box) - 5000, atol=0.01 * r)
        middle = (np.array([x, y]) + np.roll([x, y], -1, axis=1)) / 2
        if shape is circle:
            assert r - np.hypot(*middle).min() < 0.11


@pytest.mark.parametrize("theta", [0, 0.5, -1.2, math.pi / 2, 9])
def test_an_ellipse_is_turned_as_the_browser_turns_it(read, theta):
    """Radians, clockwise as seen: the pixels are those whose place, turned back, lies in the upright ellipse."""
    _, (_, b) = read(entries(shaped(ELLIPSE, theta=theta)), ["egg"])
    y, x = np.mgrid[: HW[0], : HW[1]] + 0.5
    along = (x - 30) * math.cos(theta) + (y - 20) * math.sin(theta)
    across = (y - 20) * math.cos(theta) - (x - 30) * math.sin(theta)
    truth = (along / 15) ** 2 + (across / 5) ** 2 <= 1
    found = bitmap_of(b).astype(bool)
    assert (found & truth).sum() / (found | truth).sum() > 0.93  # pixels on the edge go either way
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    np.testing.assert_allclose(b.boxes[0], [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], atol=1)


def test_version_1_ellipses_are_upright_and_lines_are_closed(read, capsys):
    _, (_, b) = read(entries(shaped(ELLIPSE, theta=None), region(CIRCLE), region(LINE), version=1), ["thing"])
    assert b.boxes.tolist() == [[15, 15, 45, 25], [20, 10, 40, 30], [10, 5, 30, 20]]
    np.testing.assert_array_equal(bitmap_of(b, 2), BITMAP)
    assert "truth.json: 1 polylines of 3 points or more are taken for closed outlines" in one_warning(capsys)


def test_shapes_may_reach_out_of_the_picture_as_in_coco(read):
    _, (_, b) = read(entries(shaped(CIRCLE, cx=0, cy=0, r=20), shaped(RECT, x=50, width=30)), ["thing"])
    assert b.boxes.tolist() == [[-20, -20, 20, 20], [50, 5, 80, 20]]
    assert b.areas[0] == pytest.approx(math.pi * 100, rel=0.03) and b.areas[1] == 150


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (region({"name": "point", "cx": 3, "cy": 4}), "a point has no area"),
        (shaped(LINE, all_points_x=[1, 9], all_points_y=[1, 9]), "a line of 2 different points"),
        (shaped(LINE, all_points_x=[1, 9, 1], all_points_y=[1, 9, 1]), "a line of 2 different points"),
        (shaped(all_points_x=[1, 9], all_points_y=[1, 9]), "a polygon needs at least 3 points"),
        (shaped(all_points_x=[1, NAN, 3], all_points_y=[1, 2, 3]), "nan is no place in a picture"),
        (shaped(all_points_x=[1, INF, 3], all_points_y=[1, 2, 3]), "inf is no place in a picture"),
        (shaped(RECT, width=0), "has no area"),
        (shaped(RECT, height=-3), "has no area"),
        (shaped(RECT, x=70), "lies outside the 60x40 picture"),
        (shaped(RECT, x=10**400), "inf is no place"),
        (shaped(RECT, width=1e30), "far out"),
        (shaped(CIRCLE, r=0), "a radius of 0 encloses nothing"),
        (shaped(CIRCLE, r=-2), "a radius of -2 encloses nothing"),
        (shaped(CIRCLE, r=1e308), "far out"),
        (shaped(ELLIPSE, theta=NAN), "nan is no place"),
    ],
)
def test_regions_without_an_area_are_left_out_with_one_warning(read, capsys, bad, said):
    _, (_, b) = read(entries(region(), bad, region()), ["thing"])
    assert b.annotation_ids.tolist() == [1, 3] and len(b.masks) == 2
    warning = one_warning(capsys)
    assert "truth.json: 1 objects cannot be used" in warning and re.search(f"b.png, region 2: .*{said}", warning)


# Classes


@pytest.mark.parametrize(
    ("regions", "names", "labels"),
    [
        ([region(kind="kite"), region(note=" ", kind="balloon\n")], ("balloon", "kite"), [2, 1]),
        ([region(Name="kite", note="big"), region(Name="balloon")], ("balloon", "kite"), [2, 1]),
        ([region(kind=7), region(kind="7"), region(kind=10)], ("10", "7"), [2, 2, 1]),
        ([region(kind={"kite": True, "balloon": False}), region(kind={"balloon": True})], ("balloon", "kite"), [2, 1]),
    ],
    ids=["the only one in use", "the one called so", "numbers", "check boxes"],
)
def test_without_classes_an_attribute_names_them_and_they_are_sorted(read, regions, names, labels):
    found, (_, b) = read(entries(*regions))
    assert found.names == names and b.labels.tolist() == labels
    found, (_, b) = read(as_csv(entries(*regions)), name="truth.csv")
    assert found.names == names and b.labels.tolist() == labels


def test_options_give_the_classes_in_their_order_by_what_is_displayed(read):
    names, (_, b) = read(project(region(kind="b"), region(kind="k"), kind=KINDS))
    assert names.names == ("kite", "balloon", "never seen") and b.labels.tolist() == [2, 1]
    names, _ = read(project(kind=KINDS))
    assert names.names == ("kite", "balloon", "never seen"), "pictures without objects have the classes too"


@pytest.mark.parametrize(
    "options", [{"k": "", "b": None}, {"k": "thing", "b": "thing"}, {"k": "1.jpg", "b": "2.jpg", "type": "image"}]
)
def test_options_go_by_their_ids_where_nothing_better_is_displayed(read, options):
    kind = {"type": options.pop("type", "radio"), "options": options}
    names, (_, b) = read(project(region(kind="b"), kind=kind))
    assert names.names == ("k", "b") and b.labels.tolist() == [2]


@pytest.mark.parametrize(("classes", "labels"), [(["balloon", "kite"], [1, 2]), (["k", "b"], [2, 1]), (["kite"], [1])])
def test_classes_of_the_description_choose_among_the_options(read, capsys, classes, labels):
    """By what is displayed or by id; the others are left out, as in COCO."""
    names, (_, b) = read(project(region(kind="b"), region(kind="k"), kind=KINDS), classes)
    assert names.names == tuple(classes) and b.labels.tolist() == labels
    assert capsys.readouterr().err == ""
    with pytest.raises(UsageError, match=r"truth\.json: unknown class 'balon': did you mean balloon"):
        read(project(region(kind="b"), kind=KINDS), ["balon", "kite"])


def test_of_several_attributes_one_with_options_then_the_first_that_is_called_so(read, capsys):
    """VIA's own example has 'name' for Socrates and 'type' for what he is."""
    both = [region(name="Socrates", type="b"), region(name="Plato", type="k")]
    names, _ = read(project(*both, type=KINDS, name={"type": "text", "default_value": ""}))
    assert names.names[:2] == ("kite", "balloon")
    assert "the classes are read from 'type', not from name" in one_warning(capsys)
    names, _ = read(entries(*both))
    assert names.names == ("Plato", "Socrates")
    assert "the classes are read from 'name', not from type" in one_warning(capsys)
    names, _ = read(entries(*both), ["b", "k"])
    assert names.names == ("b", "k") and capsys.readouterr().err == "", "what the description names tells"


def test_regions_without_a_class_are_left_out_with_one_warning(read, capsys):
    regions = [region(kind="kite"), region(), region(kind=""), region(kind=None), region(kind={"a": True, "b": True})]
    _, (_, b) = read(entries(*regions))
    assert b.annotation_ids.tolist() == [1]
    warning = one_warning(capsys)
    assert "4 objects" in warning and "b.png, region 2: its 'kind' names 0 classes" in warning
    assert "region 5: its 'kind' names 2 classes: a, b" in warning
    _, (_, b) = read(entries(*regions[:2]), ["kite"])
    assert b.annotation_ids.tolist() == [1] and "region 2: its 'kind'" in one_warning(capsys)


def test_a_single_class_is_every_regions_where_no_attribute_says_it(read, capsys):
    _, (_, b) = read(entries(region(), region()), ["balloon"])
    assert b.labels.tolist() == [1, 1] and capsys.readouterr().err == ""
    _, (_, b) = read(entries(region(note="big"), region()), ["balloon"])
    assert b.labels.tolist() == [1, 1]
    assert "every region is taken for balloon, whatever its note says" in one_warning(capsys)


@pytest.mark.parametrize(
    ("content", "classes", "said"),
    [
        (entries(region()), None, "its 1 regions name no class; write exactly one under 'classes'"),
        (entries(), None, "it has no regions and names no class; write exactly one"),
        (entries(region()), ["balloon", "kite"], "its 1 regions name no class, so .* exactly one, not balloon, kite"),
        (entries(region(kind="baloon")), ["balloon", "kite"], "b.png, region 1: unknown class 'baloon': did you mean"),
        (entries(region(kind="kite"), region(kind="dog")), ["kite"], "b.png, region 2: unknown class 'dog'"),
        (project(region(kind="x"), kind=KINDS), None, "b.png, region 1: unknown class 'x': known are kite, balloon"),
        (entries(region(size="big", hue="red")), None, "which of the attributes size, hue is the class"),
        (entries({**region(), "region_attributes": None}), ["a"], "region 1: 'region_attributes' is 'None'"),
        (entries(region(kind=["kite"])), ["a"], r"region 1: attribute 'kind' is \"\['kite'\]\", it should be text"),
        (entries(region(kind={"a": 1})), ["a"], "attribute 'kind' has a box checked '1', it should be true or false"),
        (project(kind=5), ["a"], "_via_attributes: region: kind is '5', it should be a dict"),
        (project(kind={"type": "radio", "options": []}), ["a"], "kind: 'options' is .* it should be a dict"),
        (project(kind={"type": "radio", "options": {"a": 5}}), ["a"], "kind: option '5' should be text"),
        (project() | {"_via_attributes": []}, ["a"], "'_via_attributes' is .* it should be a dict"),
    ],
)
def test_classes_that_cannot_be_told_are_refused(read, content, classes, said):
    with pytest.raises(DataError, match=said) as error:
        read(content, classes)
    assert "truth.json" in str(error.value) and "\n" not in str(error.value)


# Files


@pytest.mark.parametrize(
    "name",
    ["more/c.png", "more\\c.png", "./more/c.png", "C:\\work\\a.png", "c:/work/a.png", "/no/such/folder/a.png"],
)
def test_pictures_are_found_by_the_paths_of_other_machines(read, images, name):
    _, (record,) = read({"x": {"filename": name, "size": -1, "regions": [region()]}}, ["balloon"])
    assert record.path == images / ("more/c.png" if "c.png" in name else "a.png")


@pytest.mark.parametrize("name", ["nowhere.png", "", "x" * 5000, "a\0.png", "more", "C:\\"])
def test_pictures_that_are_not_there_are_named(read, name):
    with pytest.raises(DataError, match=r"truth\.json names 1 of 1 images that are not there"):
        read({"x": {"filename": name, "size": 1, "regions": []}}, ["balloon"])


def entry(**changes: Any) -> dict[str, Any]:
    whole = {"filename": "a.png", "size": 1, "regions": []} | changes
    return {"a": {k: v for k, v in whole.items() if v != GONE}}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("[", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a": ' + "1" * 5000 + "}", "is not JSON"),
        ([], "it should hold one dict, not a list"),
        ({"a": 5}, r"truth\.json: a is a int"),
        (entry(filename=GONE), r"truth\.json: a lacks the key 'filename'"),
        (entry(filename=5), "a: 'filename' is '5', it should be text"),
        (
            entry(filename="https://x.org/a.png"),
            "the web address https://x.org/a.png; download the picture to .*images",
        ),
        (entry(filename="data:image/png;base64,AAAA"), "the web address"),
        (entry(regions=GONE), r"a\.png lacks the key 'regions'"),
        (entry(regions=None), r"a\.png: 'regions' is 'None', it should be a list"),
        (entries() | {"x": {"filename": "a.png", "regions": {}}}, r"a\.png is listed twice"),
        (entries() | {"x": {"filename": "C:\\a.png", "regions": {}}}, r"a\.png is listed twice"),
        ({"_via_settings": {}}, "lacks the key '_via_img_metadata'"),
        (project() | {"_via_img_metadata": []}, "'_via_img_metadata' is .* it should be a dict"),
        ({"project": {}, "config": {}, "file": {}, "metadata": {}, "view": {}}, "is a VIA 3 project"),
        (entries("x"), r"b\.png, region 1 is a str"),
        (entries({"region_attributes": {}}), r"b\.png, region 1 lacks the key 'shape_attributes'"),
        (entries({"shape_attributes": SQUARE}), r"b\.png, region 1 lacks the key 'region_attributes'"),
        (entries(shaped(name=None)), "region 1 lacks the key 'name'"),
        (
            entries(region(), shaped(name="rectangle")),
            "b.png, region 2: unknown shape 'rectangle': did you .* rect.*point",
        ),
        (entries(shaped(all_points_y=[1, 2])), r"b\.png, region 1 has 4 x for 2 y"),
        (entries(shaped(all_points_x=[], all_points_y=[])), r"b\.png, region 1 has 0 x for 0 y"),
        (entries(shaped(all_points_x=5)), r"region 1: 'all_points_x' is '5', it should be a list"),
        (
            entries(shaped(all_points_x=[1, 2, "3", 4])),
            "'all_points_x' has a point that is '3', it should be a number",
        ),
        (entries(shaped(all_points_y=None)), r"region 1 lacks the key 'all_points_y'"),
        (entries(shaped(RECT, width=None)), "region 1 lacks the key 'width'"),
        (entries(shaped(RECT, width=True)), "region 1: 'width' is 'True', it should be a number"),
        (entries(shaped(CIRCLE, r="5")), "region 1: 'r' is '5', it should be a number"),
        (entries(shaped(ELLIPSE, theta=[1])), r"region 1: 'theta' is '\[1\]', it should be a number"),
    ],
)
def test_a_bad_file_is_one_line_that_says_what_and_where(read, bad, said):
    with pytest.raises(DataError, match=said) as error:
        read(bad, ["balloon"])
    assert "truth.json" in str(error.value) and "\n" not in str(error.value)


HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("", "is not VIA's CSV: its first line does not name filename, file_size"),
        ("a,b\n1,2\n", "does not name filename"),
        (HEADER + 'a.png,1,"{}",0,0,"{}"\n', "line 2 should have 7 cells"),
        (HEADER + 'a,b.png,1,"{}",0,0,"{}","{}"\n', "line 2 should have 7 cells; texts with commas need quotes"),
        (
            HEADER + 'a.png,1,"{}",1,0,"{name}","{}"\n',
            "line 2: region_shape_attributes is '{name}', which is not JSON",
        ),
        (HEADER + 'a.png,1,"{}",1,0,"5","{}"\n', "a.png, region 1: 'shape_attributes' is '5', it should be a dict"),
        (HEADER + 'a.png,1,"{}",1,0,"{}","{}"\n', "a.png, region 1 lacks the key 'name'"),
        (HEADER + 'a.png,1,"{}",1,0,"{}\n', "is not CSV"),
        (HEADER + f'a.png,1,"{"x" * 200_000}",0,0,"{{}}","{{}}"\n', "is not CSV: field larger than"),
    ],
)
def test_a_bad_csv_is_one_line_that_says_what_and_where(read, bad, said):
    with pytest.raises(DataError, match=said) as error:
        read(bad, ["balloon"], "truth.csv")
    assert "truth.csv" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_or_binary_csv_is_named(images, tmp_path):
    with pytest.raises(DataError, match=r"no such annotation file: .*none\.csv"):
        via.read(images, tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*folder\.csv: Is a directory"):
        via.read(images, tmp_path / "folder.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match=r"binary\.csv is not CSV"):
        via.read(images, tmp_path / "binary.csv")


def test_the_sizes_that_a_project_notes_are_checked_unless_unknown(images):
    held = project()
    held["_via_img_metadata"]["a.png45"]["size"] = -1
    (images / "via.json").write_text(json.dumps(held))
    download = {"url": "https://x.org/y.zip", "via_sizes": ["via.json"]}
    with pytest.raises(DataError, match=r"b\.png has \d+ bytes, expected 123$"):
        verify_files(download, images)
    held["_via_img_metadata"]["b.png123"]["size"] = (images / "b.png").stat().st_size
    (images / "via.json").write_text(json.dumps(held))
    verify_files(download, images)


# Anything at all

WHOLE = project(*(region(s, kind="k") for s in (SQUARE, RECT, CIRCLE, ELLIPSE, LINE)), kind=KINDS)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([10**400, 1e308]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "r", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths to every part of ``value``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


def put(part: Any, place: tuple, value: Any) -> None:
    *above, last = place
    with suppress(KeyError, IndexError, TypeError):  # another change took the place away
        for key in above:
            part = part[key]
        if value == GONE:
            del part[last]
        else:
            part[last] = value


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    changes=st.lists(st.tuples(st.sampled_from(places(WHOLE)[1:]), ODD | st.just(GONE)), min_size=1, max_size=3),
    classes=st.sampled_from([None, ["kite"], ["kite", "balloon"]]),
)
def test_a_file_with_anything_anywhere_is_read_or_refused_in_one_line(images, tmp_path, changes, classes):
    whole = deepcopy(WHOLE)
    for place, value in changes:
        put(whole, place, value)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(whole))
    try:
        names, records = via.read(images, path, classes)
    except DetectError as error:
        assert str(path) in str(error)
    else:
        for record in records:
            assert np.isfinite(record.boxes).all() and np.isfinite(record.areas).all()
            assert len(record.masks) == len(record) and set(record.labels) <= set(range(1, len(names) + 1))


# From a description to a batch


@pytest.mark.parametrize("classes", ["", "classes: [balloon, kite]\n"])
def test_a_project_trains_from_its_description(images, tmp_path, classes):
    held = project(region(RECT, kind="b"), region(CIRCLE, kind="k"), kind=KINDS)
    held["_via_img_metadata"]["c"] = {"filename": "more\\c.png", "size": -1, "regions": [region(ELLIPSE, kind="k")]}
    (images.parent / "via.json").write_text(json.dumps(held))
    description = tmp_path / "mine.yaml"
    description.write_text(
        f"format: via\n{classes}splits:\n"
        "  train: {images: images, annotations: via.json, without: [more/c.png]}\n"
        "  val: {images: images, annotations: via.json, files: [more/c.png]}\n"
    )
    spec = find_spec(str(description), images.parent)
    spec.prepare()
    names, records = spec.read("train")
    assert [r.path.name for r in records] == ["a.png", "b.png"]
    assert [names.name(n) for n in records[1].labels] == ["balloon", "kite"]
    assert [r.path.name for r in spec.read("val")[1]] == ["c.png"]
    image, target = DetectionDataset(records, TrainTransform(64, (1.0, 1.0)), with_masks=True)[1]
    assert image.shape[0] == 3 and target["masks"].shape == (2, *image.shape[1:])
    assert target["masks"].flatten(1).sum(1).min() > 100
