"""What is found in a folder: the format and whose images they are, or what is missing to tell."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest
from helpers.any_format import WRITE, coco, members, put, put_images, put_text, via, yolo
from helpers.folders import SHARED

from detect.cli.settings.shared import FORMATS
from detect.data import description
from detect.data.description import find_spec
from detect.data.readers import READERS
from detect.errors import DataError, UsageError

DATA = SHARED / "data"
NAMES = [f"{i}.png" for i in range(10)]


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch) -> Path:
    """The folder where splits are kept that cannot be kept with the data."""
    monkeypatch.setattr(description, "DATASETS", tmp_path / "datasets")
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


def test_every_reader_is_a_format_that_can_be_asked_for():
    assert set(FORMATS) == {"auto", *READERS} and set(WRITE) == set(READERS)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (None, "", "nothing names them; put the names into classes.txt"),
        ("data.yaml", "names: {0: kite, 2: bird}", "should be 0, 1, ..., not 0, 2"),
        ("data.yaml", "names: [[kite]]", "'names' should be texts"),
        ("data.yaml", "names: [", "nothing names them"),
        ("data.yaml", "names: {0: kite, x: bird}", "should be 0, 1, ..., not 0, x"),
        ("data.yaml", "date: 2020-13-45", "nothing names them"),
        ("data.yaml", "[" * 3000, "nothing names them"),
    ],
)
def test_numbers_without_names_are_refused(tmp_path, file, text, said):
    put_images(tmp_path / "set", *NAMES[:2])
    yolo(tmp_path / "set", NAMES[:2])
    if file:
        put_text(tmp_path / "set" / file, text)
    with pytest.raises(DataError) as error:
        find_spec(str(tmp_path / "set"))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_yaml_that_unfolds_without_end_is_refused_at_once(tmp_path):
    """Nine levels of ten references each: a thousand million texts, were they all written out."""
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    bomb = f"a0: &a0 [x]\n{levels}names: *a9\ntrain: *a9\n"
    put(tmp_path / "set", "yolo", "images", "labels", NAMES)
    (tmp_path / "set" / "classes.txt").unlink()
    put_text(tmp_path / "set" / "data.yaml", bomb)
    with pytest.raises(DataError, match="'names' should be texts"):
        find_spec(str(tmp_path / "set"))
    put_text(tmp_path / "set.yaml", f"{bomb}format: *a9\nsplits: {{}}\n")
    with pytest.raises(UsageError) as error:
        find_spec(str(tmp_path / "set.yaml"))
    assert len(str(error.value)) < 500
    put_text(tmp_path / "set.yaml", "format: coco\nsplits: !!python/object/apply:os.system [echo hello]\n")
    with pytest.raises(DataError, match="is not YAML"):
        find_spec(str(tmp_path / "set.yaml"))


def test_lists_of_names_that_differ_are_refused(tmp_path):
    for split, names in (("train", "kite\nbird\n"), ("val", "bird\nkite\n")):
        put(tmp_path / "set", "yolo", f"{split}/images", f"{split}/labels", NAMES[:2])
        put_text(tmp_path / "set" / split / "labels" / "classes.txt", names)
    (tmp_path / "set" / "classes.txt").unlink()
    with pytest.raises(DataError, match="differ, and a number can stand for one class"):
        find_spec(str(tmp_path / "set"))


def test_one_folder_of_annotations_is_of_one_folder_of_images(tmp_path):
    put_images(tmp_path / "set", "train/0.png", "val/1.png")
    WRITE["voc"](tmp_path / "set" / "xml", ["0.png", "1.png"])
    with pytest.raises(DataError, match=r"images of the annotations in xml lie in several folders, .* and "):
        find_spec(str(tmp_path / "set"))


def test_a_linked_folder_is_looked_into_once(tmp_path):
    put(tmp_path / "far" / "away", "coco", "", "a.json", NAMES)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "far" / "away", target_is_directory=True)
    (tmp_path / "far" / "away" / "round").symlink_to(tmp_path / "set", target_is_directory=True)
    assert sorted(chain(*members(find_spec(str(tmp_path / "set"))).values())) == [f"images/{n}" for n in NAMES]


def test_a_few_of_many_files_do_not_hide_what_the_others_are(tmp_path):
    names = [f"{i:03}.png" for i in range(240)]
    put(tmp_path / "set", "yolo", "", "", names)
    for name in names[:150]:
        (tmp_path / "set" / name).with_suffix(".txt").write_text("")
    assert find_spec(str(tmp_path / "set")).format == "yolo"
    for name in names:
        (tmp_path / "set" / name).with_suffix(".txt").unlink()
    WRITE["labelme"](tmp_path / "set", names)
    coco(tmp_path / "set" / "annotations.json", names)
    with pytest.raises(UsageError, match=r"holds coco .* and labelme"):
        find_spec(str(tmp_path / "set"))


def test_two_formats_are_an_error_that_names_both_and_one_can_be_chosen(tmp_path):
    put(tmp_path / "set", "voc", "images", "xml", NAMES)
    coco(tmp_path / "set" / "more.json", [])
    via(tmp_path / "set" / "other.json", NAMES)
    with pytest.raises(UsageError, match=r"holds coco \(more.json\) and via \(other.json\) and voc \(xml/0.xml\)"):
        find_spec(str(tmp_path / "set"))
    assert find_spec(str(tmp_path / "set"), form="voc").format == "voc"
    with pytest.raises(UsageError, match=r"--format yolo: nothing in .* there is coco and via and voc"):
        find_spec(str(tmp_path / "set"), form="yolo")


def test_several_files_of_one_split_are_an_error_that_names_them(tmp_path):
    put(tmp_path / "set", "coco", "images", "one.json", NAMES)
    coco(tmp_path / "set" / "two.json", NAMES)
    with pytest.raises(DataError, match=r"in several places.*one.json, two.json"):
        find_spec(str(tmp_path / "set"))


def test_of_cocos_own_files_the_instances_are_taken(tmp_path):
    for split in ("train", "val"):
        put(tmp_path / "set", "coco", split, f"annotations/instances_{split}.json", NAMES[:2])
        coco(tmp_path / "set" / "annotations" / f"person_keypoints_{split}.json", NAMES[:2])
        panoptic = {"images": [], "categories": [], "annotations": [{"segments_info": []}]}
        put_text(tmp_path / "set" / "annotations" / f"panoptic_{split}.json", json.dumps(panoptic))
        put_text(tmp_path / "set" / "annotations" / f"captions_{split}.json", '{"images": [], "annotations": []}')
    assert [p["annotations"] for p in find_spec(str(tmp_path / "set")).splits.values()] == [
        "annotations/instances_train.json",
        "annotations/instances_val.json",
    ]


@pytest.mark.parametrize(
    "written", ["C:\\mine\\images\\{}", "/home/ann/images/{}", "images\\{}", "../../media/{}", "PICTURES/{}"]
)
def test_names_of_another_machine_find_their_images(tmp_path, written):
    put_images(tmp_path / "set" / "images", *NAMES)
    coco(tmp_path / "set" / "labels.json", [written.format(n) for n in NAMES])
    assert sorted(chain(*members(find_spec(str(tmp_path / "set"))).values())) == [f"images/{n}" for n in NAMES]


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda folder: put_images(folder, *NAMES), "no annotations found in .* beside 10 images"),
        (lambda folder: coco(folder / "a.json", NAMES), "no image in .* or below it"),
        (lambda folder: put(folder, "coco", "", "a.json", NAMES[:1]), "to train and to validate takes two"),
        (
            lambda folder: (put_images(folder, *NAMES), put_text(folder / "a.json", '{"images": [')),
            "a.json cannot be read",
        ),
        (
            lambda folder: (put(folder, "coco", "", "train.json", NAMES), put_text(folder / "val.json", "{")),
            "val.json cannot be read",
        ),
        *[
            (
                lambda folder, text=text: (put(folder, "voc", "", "", NAMES), put_text(folder / "splits.yaml", text)),
                said,
            )
            for text, said in (
                ("val: {}", "splits.yaml should have the lists"),
                (f"val: [{', '.join(NAMES)}]", "leaves no image for train"),
                ("val: [gone.png]", "leaves no image for val"),
                ("val: [0.png, 1.png]\ntest: [1.png]", "has images in both val and test: 1.png"),
                ("val: [", "splits.yaml cannot be read"),
            )
        ],
        *[
            (lambda folder, name=name, text=text: (put_images(folder, *NAMES), put_text(folder / name, text)), said)
            for name, text, said in (
                ("a.csv", "0.png,1,2,3,4,kite\n", "a.csv cannot be read: its first line does not name filename"),
                ("a.xml", "<annotations>\n<meta>", "it is CVAT's own XML; export COCO"),
                ("a.xml", "<annotation><object><polygon>", "it is the XML of LabelMe's web page"),
                ("a.json", '[{"id": 1, "annotations": [], "data": {}}]', "Label Studio's own JSON; export COCO"),
            )
        ],
    ],
)
def test_what_cannot_be_taken_for_a_data_set_is_told(tmp_path, build, said):
    (tmp_path / "set").mkdir()
    build(tmp_path / "set")
    with pytest.raises(DataError, match=said) as error:
        find_spec(str(tmp_path / "set"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("no/such", "no such folder: no/such"),
        ("set.zip", "set.zip is an archive; unpack it first"),
        ("a" * 300, "unknown dataset"),
        ("set/data.yaml", "is YOLO's description of a dataset; give its folder, set"),
    ],
)
def test_what_is_no_folder_is_told(tmp_path, monkeypatch, data, said):
    monkeypatch.chdir(tmp_path)
    put_text(tmp_path / "set.zip", "PK")
    put_text(tmp_path / "set" / "data.yaml", "names: [kite]\ntrain: images\n")
    with pytest.raises(UsageError, match=said):
        find_spec(data)


def test_a_folder_goes_by_its_path_before_a_file_of_that_name(tmp_path, monkeypatch, capsys, datasets):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    put_text(tmp_path / "set.yaml", "names: [kite]\n")
    assert find_spec(str(tmp_path / "set")).format == find_spec("set").format == "coco"
    put_text(datasets / "set.yaml", "format: via\nsplits: {}\n")
    assert find_spec("set").format == "via" and find_spec("./set").format == "coco"
    assert "is the dataset of that name" in capsys.readouterr().err


def test_flags_that_do_not_fit_a_folder_are_refused(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    with pytest.raises(UsageError, match="--data-root is for datasets with a name"):
        find_spec(str(tmp_path / "set"), data_root=tmp_path)


@pytest.mark.skipif(not DATA.is_dir(), reason="the real datasets are not there")
@pytest.mark.parametrize(
    ("name", "form", "counts"),
    [
        ("bccd", "voc", {"train": 205, "val": 87, "test": 72}),
        ("balloon", "via", {"train": 61, "val": 13}),
        ("coco_tiny80", "coco", {"train": 80, "val": 80}),
    ],
)
def test_real_data_sets_are_found(name, form, counts):
    spec = find_spec(str(DATA / name))
    assert spec.format == form
    assert {split: len(spec.read(split)[1]) for split in counts} == counts
