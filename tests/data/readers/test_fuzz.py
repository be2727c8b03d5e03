"""Reading random annotations gives consistent records or a one-line error that names the file."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import cvat_files
from helpers import label_studio_files as studio
from helpers.labelme_files import document, masked, shape
from helpers.reading import read_split
from helpers.supervisely_files import bitmap as supervisely_bitmap
from helpers.supervisely_files import document as supervisely_document
from helpers.supervisely_files import shape as supervisely_shape
from helpers.via_files import CIRCLE, ELLIPSE, KINDS, LINE, RECT, project, region
from helpers.via_files import SQUARE as VIA_SQUARE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detect.data.columns import RLE
from detect.data.readers import get_reader
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.data.validation.problems import KINDS as PROBLEMS
from detect.errors import DetectError
from detect.media.images import write_image
from detect.structures import masks
from detect.structures.image_record import ImageRecord

HW = (40, 60)
SQUARE = [[10, 5, 30, 5, 30, 20, 10, 20]]
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("HUGE"), st.just([]),
    st.just({}),
    st.lists(st.floats() | st.integers(-99, 99), max_size=9), st.just([[1, 2], "x"]), st.just({"size": [40, 60]}),
    st.just({"size": [40, 60], "counts": "x"}), st.just({"size": [40, 60], "counts": [2400.5]}),
    st.just({"size": [4, 6], "counts": [24]}), st.just({"size": [40, 60], "counts": [2**40]}),
)  # fmt: skip


GONE = "gone"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for name in ("a.png", "b.png"):
        write_image(folder / "images" / name, np.zeros((*HW, 3), np.uint8))
    return folder


def check(form: str, folder: Path, annotations: Path, classes: list[str] | None = None) -> list[ImageRecord]:
    """Return the records, [] after a one-line error; check that they can be drawn and trained on."""
    try:
        names, records = read_split(form, folder / "images", annotations, classes)
    except DetectError as error:
        assert str(annotations) in str(error)
        return []
    for record in records:
        assert np.isfinite(record.boxes).all() and np.isfinite(record.areas).all() and (record.areas >= 0).all()
        assert (record.boxes[:, 2:] > record.boxes[:, :2]).all() and record.image_hw == HW
        assert set(record.labels.tolist()) <= set(range(1, len(names) + 1))
        for mask in record.masks or []:
            assert masks.to_bitmap(masks.from_coco(mask, HW)).shape == HW
    return list(records)


def coco() -> dict[str, Any]:
    one = {"image_id": 1, "category_id": 1, "bbox": [10, 5, 20, 15], "area": 300, "segmentation": SQUARE, "iscrowd": 0}
    annotations = [{**deepcopy(one), "id": i, "image_id": 1 + i % 2} for i in range(4)]
    annotations[1] |= {"segmentation": [], "attributes": {"rotation": 30, "occluded": False}}
    annotations[2] |= {"segmentation": [[[10, 5], [30, 5], [30, 20]]], "keypoints": [10, 5, 2], "num_keypoints": 1}
    annotations[3] |= {"segmentation": list(SQUARE[0]), "bbox": []}
    return {
        "images": [{"id": i + 1, "file_name": n, "height": 40, "width": 60} for i, n in enumerate(("a.png", "b.png"))],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "kite"}, {"id": 2, "name": "bird", "supercategory": "none"}],
    }


def paths(part: Any, above: tuple = ()) -> list[tuple]:
    """Return the keys that lead to every value."""
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return [above, *(path for key, value in inner for path in paths(value, (*above, key)))]


def put(part: Any, path: tuple, value: Any) -> None:
    """Replace the value at a path, or delete it if the new value is GONE."""
    *above, last = path
    with suppress(KeyError, IndexError, TypeError):  # an earlier change removed the path
        for key in above:
            part = part[key]
        if value == GONE:
            del part[last]
        else:
            part[last] = deepcopy(value)  # a later change may modify it


def text_of(whole: Any) -> str:
    """Return JSON in which each HUGE is a number of thousands of digits, which JSON allows."""
    return json.dumps(whole).replace('"HUGE"', "1" + "0" * 5000)


def read_unvalidated(form: str, folder: Path, annotations: Path) -> tuple[UnvalidatedSplit, int] | None:
    """Return the split and the number of skipped objects; None if reading fails."""
    try:
        unvalidated = get_reader(form).parse(folder / "images", annotations, None)
    except DetectError:
        return None
    return unvalidated, sum(PROBLEMS[entry.kind].subject == "object" for entry in unvalidated.skipped)


def _num_left_out(split: UnvalidatedSplit) -> int:
    return sum(note.kind in ("background_shape", "shape_without_area") for note in split.notes)


@FUZZ
@given(path=st.sampled_from(paths(coco())[1:]), value=ODD)
def test_coco(folder, capsys, path, value):
    whole = coco()
    put(whole, path, value)
    (folder / "ground truth.json").write_text(text_of(whole))
    records = check("coco", folder, folder / "ground truth.json")
    if path[0] == "annotations" and len(path) > 1 and records:
        lost = 4 - sum(map(len, records))
        said = capsys.readouterr().err
        assert lost <= 1 and (lost == 0 or "1 skipped" in said or "without objects" in said)


@FUZZ
@given(cut=st.integers(0, 700), byte=st.integers(0, 255))
def test_coco_with_one_changed_byte(folder, cut, byte):
    text = bytearray(json.dumps(coco()).encode())
    text[cut % len(text)] = byte
    (folder / "ground truth.json").write_bytes(text)
    check("coco", folder, folder / "ground truth.json")
    (folder / "ground truth.json").write_bytes(text[: cut % len(text)])
    check("coco", folder, folder / "ground truth.json")


@FUZZ
@given(
    words=st.lists(st.floats() | st.integers() | st.sampled_from(["", "x", "0.5", "1", "\n", "\0", "½"]), max_size=12)
)
def test_yolo(words, folder):
    (folder / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n" + " ".join(map(str, words)))
    check("yolo", folder, folder / "labels", ["kite", "bird"])


@FUZZ
@given(
    lines=st.lists(st.lists(st.sampled_from(["0", "1", "2", "0.5", "0.25", "0.91", "17"]), max_size=18), max_size=4),
    data=st.sampled_from(["", "task: obb", "task: segment", "kpt_shape: [2, 3]", "kpt_shape: [4, 2]", "kpt_shape: x"]),
)
def test_yolo_lines_of_every_length(lines, data, folder):
    (folder / "labels" / "a.txt").write_text(
        "0 0.5 0.5 0.2 0.2\n" + "\n".join("0 " + " ".join(line) for line in lines)
    )
    (folder / "labels" / "data.yaml").write_text(f"names: [kite, bird]\n{data}")
    try:
        check("yolo", folder, folder / "labels", ["kite", "bird"])
    finally:
        (folder / "labels" / "data.yaml").unlink()


@FUZZ
@given(
    cut=st.integers(0, 300), text=st.sampled_from(["", "<", "&", "<!DOCTYPE", "nan", "-9e9", "</object>", "é", "\0"])
)
def test_voc(cut, text, folder):
    corners = "<xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>20</ymax>"
    size = "<size><width>60</width><height>40</height></size>"
    whole = f"<annotation>{size}<object><name>kite</name><bndbox>{corners}</bndbox></object></annotation>"
    at = cut % len(whole)
    (folder / "xml").mkdir(exist_ok=True)
    (folder / "xml" / "a.xml").write_text(whole[:at] + text + whole[at + cut % 7 :])
    check("voc", folder, folder / "xml")


CVAT = cvat_files.document(
    cvat_files.image(
        cvat_files.shape(more='rotation="30"'),
        cvat_files.polygon(more='group_id="1"'),
        cvat_files.mask(np.eye(9, dtype=bool), 3, 4, more='group_id="1"'),
        cvat_files.shape("ellipse", 'cx="20" cy="15" rx="10" ry="5"'),
        cvat_files.shape("points", 'points="1,2"'),
    ),
    cvat_files.image(cvat_files.polygon(label="bird"), name="b.png"),
)


@FUZZ
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, len(CVAT)),
            st.integers(0, 9),
            st.sampled_from(
                ["", "<", '"', "nan", "-9e9", "1e400", ";", ",", "</image>", "<box/>", "9" * 30, "é", "\0"]
            ),
        ),
        min_size=1,
        max_size=2,
    )
)
def test_cvat(changes, folder):
    text = CVAT
    for at, length, new in changes:
        text = text[:at] + new + text[at + length :]
    (folder / "cvat.xml").write_text(text)
    check("cvat", folder, folder / "cvat.xml")


LABEL_STUDIO = [
    studio.task(
        studio.done(
            studio.result(),
            studio.result(studio.POLYGON, "polygonlabels"),
            studio.result({"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 20}, "ellipselabels"),
            studio.brush(np.eye(40, 60, dtype=bool)),
            studio.result({"choices": ["a"]}, "choices", None),
        ),
        studio.done(studio.result(label="bird"), ground_truth=True),
    ),
    studio.task(studio.done(studio.result(kind="labels")), image="b.png"),
]


@FUZZ
@given(
    changes=st.lists(st.tuples(st.sampled_from(paths(LABEL_STUDIO)[1:]), ODD | st.just(GONE)), min_size=1, max_size=2)
)
def test_label_studio(folder, changes):
    whole = deepcopy(LABEL_STUDIO)
    for path, value in changes:
        put(whole, path, value)
    (folder / "project.json").write_text(text_of(whole))
    check("label_studio", folder, folder / "project.json")


SUPERVISELY = supervisely_document(
    supervisely_shape(),
    supervisely_shape([[10, 5], [29, 5], [29, 19]], "polygon", [[15, 6], [25, 6], [25, 9]]),
    supervisely_shape([[3, 4]], "point"),
    supervisely_bitmap(np.eye(9, dtype=bool), 3, 4),
)


@FUZZ
@given(
    changes=st.lists(st.tuples(st.sampled_from(paths(SUPERVISELY)[1:]), ODD | st.just(GONE)), min_size=1, max_size=2)
)
def test_supervisely(folder, changes):
    whole = deepcopy(SUPERVISELY)
    for path, value in changes:
        put(whole, path, value)
    (folder / "ann").mkdir(exist_ok=True)
    (folder / "ann" / "a.png.json").write_text(text_of(whole))
    check("supervisely", folder, folder / "ann")


WORDS_OF_LINES = st.lists(
    st.floats() | st.integers() | st.sampled_from(["", "x", "a", "0.5", "1", "\n", "\0", '"', "½", "kite"]),
    max_size=14,
)


@FUZZ
@given(words=WORDS_OF_LINES)
def test_dota(words, folder):
    (folder / "dota").mkdir(exist_ok=True)
    (folder / "dota" / "a.txt").write_text("gsd:1\n1 1 9 1 9 9 1 9 kite 0\n" + " ".join(map(str, words)))
    check("dota", folder, folder / "dota")


@FUZZ
@given(words=WORDS_OF_LINES)
def test_openimages(words, folder):
    header = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf"
    text = f"{header}\na,kite,0,.5,0,.5,0\n{','.join(map(str, words))}"
    (folder / "ground truth.csv").write_bytes(text.encode())
    check("openimages", folder, folder / "ground truth.csv")


LABELME = document(
    shape(),
    shape([[10, 5], [30, 20]], "rectangle"),
    shape([[30, 20], [35, 20]], "circle"),
    shape(group_id=1),
    shape([[40, 5], [50, 5], [50, 9]], group_id=1),
    shape(kind="line"),
    masked(np.eye(9, dtype=np.uint8), 3, 4, label="bird"),
)


@FUZZ
@given(changes=st.lists(st.tuples(st.sampled_from(paths(LABELME)[1:]), ODD | st.just(GONE)), min_size=1, max_size=2))
def test_labelme(folder, changes):
    whole = deepcopy(LABELME)
    for path, value in changes:
        put(whole, path, value)
    (folder / "labelme").mkdir(exist_ok=True)
    (folder / "labelme" / "a.json").write_text(text_of(whole))
    check("labelme", folder, folder / "labelme")
    if (found := read_unvalidated("labelme", folder, folder / "labelme")) and len(found[0].table):
        mask_column, num_skipped = found[0].table.masks, found[1]
        num_shapes = len(mask_column.point_ends) + int((mask_column.kinds == RLE).sum())  # each polygon of a group
        assert num_shapes + num_skipped + _num_left_out(found[0]) == len(whole["shapes"] or [])


@FUZZ
@given(cut=st.integers(0, 2000), byte=st.integers(0, 255))
def test_labelme_with_one_changed_byte(folder, cut, byte):
    (folder / "labelme").mkdir(exist_ok=True)
    text = bytearray(json.dumps(LABELME).encode())
    text[cut % len(text)] = byte
    (folder / "labelme" / "a.json").write_bytes(text)
    check("labelme", folder, folder / "labelme")
    (folder / "labelme" / "a.json").write_bytes(text[: cut % len(text)])
    check("labelme", folder, folder / "labelme")


CSV = [
    ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"],
    *([name, "60", "40", "kite", "10", "5", "30", "20"] for name in ("a.png", "b.png", "a.png")),
]
WORDS = (
    st.floats() | st.integers() | st.text(max_size=3) | st.sampled_from(["", '"', '""', ",", ";", "\n", "\r", "\0"])
)


@FUZZ
@given(
    changes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7), WORDS), max_size=3), sign=st.sampled_from(",;")
)
def test_csv(folder, changes, sign):
    cells = deepcopy(CSV)
    for row, column, value in changes:
        cells[row][column] = str(value)
    text = "\n".join(sign.join(row) for row in cells)
    (folder / "ground truth.csv").write_bytes(text.encode())
    check("csv", folder, folder / "ground truth.csv")
    if found := read_unvalidated("csv", folder, folder / "ground truth.csv"):
        with io.StringIO(text, newline="") as file:
            file.readline()
            rows = [row for row in csv.reader(file, delimiter=sign) if any(cell.strip() for cell in row)]
        assert len(found[0].table.labels) + found[1] == len(rows)


VIA = project(*(region(s, kind="k") for s in (VIA_SQUARE, RECT, CIRCLE, ELLIPSE, LINE)), kind=KINDS)


@FUZZ
@given(
    changes=st.lists(st.tuples(st.sampled_from(paths(VIA)[1:]), ODD | st.just(GONE)), min_size=1, max_size=3),
    classes=st.sampled_from([None, ["kite"], ["kite", "balloon"]]),
)
def test_via(folder, changes, classes):
    whole = deepcopy(VIA)
    for path, value in changes:
        put(whole, path, value)
    (folder / "ground truth.json").write_text(text_of(whole))
    check("via", folder, folder / "ground truth.json", classes)
    if found := read_unvalidated("via", folder, folder / "ground truth.json"):
        entries = whole.get("_via_img_metadata", whole)
        num_read = len(found[0].table.labels) + found[1] + _num_left_out(found[0])
        assert num_read == sum(len(entry["regions"]) for entry in entries.values())
