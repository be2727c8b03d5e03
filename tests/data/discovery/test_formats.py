"""Discovery in a folder: the annotation format and the folder of the images, or a one-line error."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from helpers.any_format import BOX, SUFFIXES, WRITE, coco, members, put, put_images, put_text, via, yolo
from helpers.folders import SHARED

from detect.data import description
from detect.data.description import find_spec
from detect.data.readers import READERS
from detect.errors import DataError, UsageError

DATA = SHARED / "data"
NAMES = [f"{i}.png" for i in range(10)]


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch) -> Path:
    """Folder for the splits of folders that are not writable."""
    monkeypatch.setattr(description, "datasets_folder", lambda: tmp_path / "datasets")
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


def test_every_format_has_a_sample_for_these_tests():
    assert set(WRITE) == set(READERS)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (None, "", "no file names them; add classes.txt"),
        ("data.yaml", "names: {0: kite, 2: bird}", "must be 0, 1, ..., not 0, 2"),
        ("data.yaml", "names: [[kite]]", "the name of a class"),
        ("data.yaml", "names: [", "no file names them"),
        ("data.yaml", "names: {0: kite, x: bird}", "must be 0, 1, ..., not 0, x"),
        ("data.yaml", "names: {0: kite, 00: bird}", "must be 0, 1, ..., not 0, 00"),
        ("data.yaml", "names: [kite, '']", "the name of a class"),
        ("data.yaml", "names:\n- kite\n-\n", "data.yaml, line 3: an item is empty"),
        ("data.yaml", "names: {0: kite, 1: ~}", "data.yaml, line 1: '~' means no value"),
        ("data.yaml", "names: [kite, null]", "data.yaml, line 1: 'null' means no value"),
        ("data.yaml", "date: 2020-13-45", "no file names them"),
        ("data.yaml", "[" * 3000, "no file names them"),
    ],
)
def test_class_numbers_without_names_are_an_error(tmp_path, file, text, said):
    put_images(tmp_path / "set", *NAMES[:2])
    yolo(tmp_path / "set", NAMES[:2])
    if file:
        put_text(tmp_path / "set" / file, text)
    with pytest.raises(DataError) as error:
        find_spec(str(tmp_path / "set"))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_yaml_bomb_is_refused(tmp_path):
    """Nine levels of ten references each would expand to a billion texts."""
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    bomb = f"a0: &a0 [x]\n{levels}names: *a9\ntrain: *a9\n"
    put(tmp_path / "set", "yolo", "images", "labels", NAMES)
    (tmp_path / "set" / "classes.txt").unlink()
    put_text(tmp_path / "set" / "data.yaml", bomb)
    with pytest.raises(DataError, match="the name of a class"):
        find_spec(str(tmp_path / "set"))
    put_text(tmp_path / "set.yaml", f"{bomb}format: *a9\nsplits: {{}}\n")
    with pytest.raises(UsageError) as error:
        find_spec(str(tmp_path / "set.yaml"))
    assert len(str(error.value)) < 500
    put_text(tmp_path / "set.yaml", "format: coco\nsplits: !!python/object/apply:os.system [echo hello]\n")
    with pytest.raises(DataError, match="line 2: not YAML"):
        find_spec(str(tmp_path / "set.yaml"))


def test_contradicting_class_lists_are_an_error(tmp_path):
    for split, names in (("train", "kite\nbird\n"), ("val", "bird\nkite\n")):
        put(tmp_path / "set", "yolo", f"{split}/images", f"{split}/labels", NAMES[:2])
        put_text(tmp_path / "set" / split / "labels" / "classes.txt", names)
    (tmp_path / "set" / "classes.txt").unlink()
    with pytest.raises(DataError, match="list different classes"):
        find_spec(str(tmp_path / "set"))


@pytest.mark.parametrize("form", ["voc", "yolo", "labelme"])
@pytest.mark.parametrize(
    "folders", [("JPEGImages/a", "JPEGImages/b"), ("train", "val"), ("images/train", "images/val/x")]
)
def test_images_of_one_annotation_folder_may_be_in_several_folders(tmp_path, form, folders):
    names = [f"{folders[i // 3]}/{i}.png" for i in range(6)]
    put_images(tmp_path / "set", *names)
    WRITE[form](tmp_path / "set" / "annotations", [f"{i}.png" for i in range(6)])
    if form == "yolo":
        put_text(tmp_path / "set" / "classes.txt", "kite")
    spec = find_spec(str(tmp_path / "set"))
    found = members(spec)
    assert sorted(chain(*found.values())) == names
    if "val" in names[-1]:
        assert [len(found[split]) for split in ("train", "val")] == [3, 3]
    assert sum(len(spec.read(split)[1].boxes) for split in spec.splits) == 6


@pytest.mark.parametrize("form", ["voc", "labelme"])
def test_annotations_of_one_image_folder_may_be_in_several_folders(tmp_path, form):
    put_images(tmp_path / "set" / "images", *NAMES)
    for folder, some in (("a", NAMES[:4]), ("b", NAMES[4:])):
        WRITE[form](tmp_path / "set" / "annotations" / folder, some)
    spec = find_spec(str(tmp_path / "set"))
    assert sum(len(spec.read(split)[1].boxes) for split in spec.splits) == len(NAMES)


def test_images_of_equal_names_in_several_folders_are_an_error(tmp_path):
    put_images(tmp_path / "set", "a/0.png", "b/0.png", "b/1.png", "a/2.png")
    WRITE["voc"](tmp_path / "set" / "xml", ["0.png", "1.png", "2.png"])
    with pytest.raises(DataError, match=r"annotations in xml are in several folders, .* and .* same name"):
        find_spec(str(tmp_path / "set"))


def test_images_of_one_annotation_file_may_be_in_several_folders_if_names_are_unique(tmp_path):
    put_images(tmp_path / "set", *(f"images/{'ab'[i % 2]}/{name}" for i, name in enumerate(NAMES)))
    WRITE["coco"](tmp_path / "set" / "all.json", NAMES)
    spec = find_spec(str(tmp_path / "set"))
    assert sum(len(spec.read(split)[1].boxes) for split in spec.splits) == len(NAMES)


def test_two_folders_with_the_images_of_one_annotation_file_are_an_error(tmp_path):
    put_images(tmp_path / "set", *(f"images/{folder}/{name}" for folder in "ab" for name in NAMES))
    WRITE["coco"](tmp_path / "set" / "all.json", NAMES)
    with pytest.raises(DataError, match=r"all.json names are in images/a and in images/b"):
        find_spec(str(tmp_path / "set"))


def test_label_files_of_other_names_than_the_images_are_named(tmp_path):
    put(tmp_path / "set", "yolo", "images", "labels", NAMES)
    for path in (tmp_path / "set" / "images").iterdir():
        path.rename(path.with_stem(f"{path.stem}_jpg.rf.0123456789abcdef"))
    with pytest.raises(DataError, match=r"labels/.*no image has the same name"):
        find_spec(str(tmp_path / "set"))


def test_linked_folder_is_visited_once(tmp_path):
    put(tmp_path / "far" / "away", "coco", "", "a.json", NAMES)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "far" / "away", target_is_directory=True)
    (tmp_path / "far" / "away" / "round").symlink_to(tmp_path / "set", target_is_directory=True)
    assert sorted(chain(*members(find_spec(str(tmp_path / "set"))).values())) == [f"images/{n}" for n in NAMES]


def test_format_of_many_files_is_that_of_most_examined_ones(tmp_path):
    names = [f"{i:03}.png" for i in range(240)]
    put(tmp_path / "set", "yolo", "", "", names)
    for name in names[:150]:
        (tmp_path / "set" / name).with_suffix(".txt").write_text("")
    assert find_spec(str(tmp_path / "set")).format == "yolo"
    for name in names:
        (tmp_path / "set" / name).with_suffix(".txt").unlink()
    WRITE["labelme"](tmp_path / "set", names)
    coco(tmp_path / "set" / "annotations.json", names, classes=["bird"])
    with pytest.raises(UsageError, match=r"holds coco .* and labelme"):
        find_spec(str(tmp_path / "set"))


def test_formats_that_differ_are_an_error_and_one_can_be_chosen(tmp_path):
    put(tmp_path / "set", "voc", "images", "xml", NAMES)
    coco(tmp_path / "set" / "more.json", [])
    via(tmp_path / "set" / "other.json", NAMES)
    path = tmp_path / "set" / "xml" / "0.xml"
    path.write_text(path.read_text().replace("kite", "bird"))
    with pytest.raises(
        UsageError, match=r"holds coco \(more.json\) and via \(other.json\) and voc \(xml/0.xml\)"
    ) as error:
        find_spec(str(tmp_path / "set"))
    assert "0.png has kite at (10, 5, 30, 20) in via, and the class bird in voc" in str(error.value)
    assert find_spec(str(tmp_path / "set"), format="voc").format == "voc"
    with pytest.raises(UsageError, match=r"`format='yolo'`: .* found coco and via and voc"):
        find_spec(str(tmp_path / "set"), format="yolo")


@pytest.mark.parametrize(
    ("forms", "used", "reason"),
    [
        (("voc", "csv"), "csv", "comes first"),
        (("voc", "yolo"), "yolo", "lists the classes"),
        (("coco", "voc"), "coco", "lists the classes"),
        (("voc", "via"), "via", ""),
        (("yolo", "coco", "csv"), "coco", ""),
    ],
)
def test_of_formats_that_agree_the_richest_is_used(tmp_path, forms, used, reason):
    for form in forms:
        annotations = f"all{SUFFIXES[form]}" if form in SUFFIXES else {"voc": "xml", "yolo": "labels"}[form]
        put(tmp_path / "set", form, "images", annotations, NAMES)
    spec = find_spec(str(tmp_path / "set"))
    assert spec.format == used and reason in spec.discovery_note
    assert "is used instead of" in spec.discovery_note and spec.discovery_note.count("\n") == 0
    assert sum(map(len, members(spec).values())) == len(NAMES)


def test_a_format_with_more_of_the_images_is_used(tmp_path):
    put(tmp_path / "set", "coco", "images", "some.json", NAMES[:3])
    put(tmp_path / "set", "voc", "images", "xml", NAMES)
    spec = find_spec(str(tmp_path / "set"))
    assert spec.format == "voc" and f"has all {len(NAMES)} images" in spec.discovery_note


def test_formats_of_different_images_are_an_error(tmp_path):
    put(tmp_path / "set", "coco", "images", "some.json", NAMES[:3])
    put(tmp_path / "set", "voc", "images", "xml", NAMES[3:])
    with pytest.raises(
        UsageError, match=r"choose one with `format='coco'` or `format='voc'`.*has images that another"
    ):
        find_spec(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("first", "second", "used"), [(NAMES, NAMES, "one.json"), (NAMES[:2], NAMES, "two.json"), (NAMES, [], "one.json")]
)
def test_of_several_files_that_agree_the_one_with_all_images_is_used(tmp_path, first, second, used):
    put(tmp_path / "set", "coco", "images", "one.json", first)
    coco(tmp_path / "set" / "two.json", second)
    put_images(tmp_path / "set" / "images", *set(NAMES).difference(first))
    spec = find_spec(str(tmp_path / "set"))
    assert {part["annotations"] for part in spec.splits.values()} == {used}
    assert f"{used} is used instead of" in spec.discovery_note


@pytest.mark.parametrize("classes", [["kite"], ["bird"]])
def test_several_files_that_differ_are_an_error(tmp_path, classes):
    put(tmp_path / "set", "coco", "images", "one.json", NAMES[:3])
    coco(tmp_path / "set" / "two.json", NAMES if classes == ["bird"] else NAMES[2:], classes)
    put_images(tmp_path / "set" / "images", *NAMES[3:])
    with pytest.raises(DataError, match=r"has several annotations .*one.json, two.json") as error:
        find_spec(str(tmp_path / "set"))
    assert ("bird" if classes == ["bird"] else "lacks") in str(error.value)


@pytest.mark.parametrize("backup", ["labels_old", "backup/labels"])
@pytest.mark.parametrize("layout", ["images", "train/images"])
def test_labels_of_yolo_are_those_that_its_programs_read(tmp_path, layout, backup):
    put(tmp_path / "set", "yolo", layout, layout.replace("images", "labels"), NAMES)
    put(tmp_path / "set", "yolo", layout, backup, NAMES)
    for path in (tmp_path / "set" / backup).glob("*.txt"):
        path.write_text("0 0.5 0.5 1 1\n")
    spec = find_spec(str(tmp_path / "set"))
    assert np.allclose(spec.read("train")[1].boxes, BOX, atol=0.1)
    assert f"ignored {len(NAMES)} other label files in {backup}" in spec.discovery_note


def test_instances_are_preferred_among_cocos_own_files(tmp_path):
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
    "written", ["C:\\mine\\images\\{}", "/home/ann/images/{}", "images\\{}", "../../media/{}", "IMAGES/{}"]
)
def test_paths_of_other_machines_are_resolved(tmp_path, written):
    put_images(tmp_path / "set" / "images", *NAMES)
    coco(tmp_path / "set" / "labels.json", [written.format(n) for n in NAMES])
    assert sorted(chain(*members(find_spec(str(tmp_path / "set"))).values())) == [f"images/{n}" for n in NAMES]


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda folder: put_images(folder, *NAMES), r"no annotations in .*10.*COCO JSON"),
        (lambda folder: coco(folder / "a.json", NAMES), "no image in .*a.json"),
        (
            lambda folder: (put_images(folder, *NAMES), put_text(folder / "a.json", '{"annotations": []}')),
            "a.json lacks 'images' and 'categories'",
        ),
        (
            lambda folder: (put_images(folder, *NAMES[:1]), put_text(folder / "0.xml", "<annotation><object>")),
            r"0 images; .*skipped: 0\.xml: ",
        ),
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
                ("val: {}", "splits.yaml should hold lists"),
                (f"val: [{', '.join(NAMES)}]", "leaves no image for train"),
                ("val: [gone.png]", "made for another version of the folder"),
                ("val: [0.png, 1.png]\ntest: [1.png]", "has images in both val and test: 1.png"),
                ("val: [", "splits.yaml, line 1: not YAML"),
            )
        ],
        *[
            (lambda folder, name=name, text=text: (put_images(folder, *NAMES), put_text(folder / name, text)), said)
            for name, text, said in (
                (
                    "a.csv",
                    "0.png,kite,1,2,3,4\n",
                    "a.csv cannot be read: .* header line lacks filename, .* add one such as",
                ),
                ("a.csv", "place,date\n", "the header line of a.csv names no columns such as filename,class"),
                ("a.xml", "<annotation><object><polygon>", "LabelMe.* export COCO"),
                ("a.json", '[{"id": 1, "annotations": [], "data": {"image": "0.png"}}]', "tasks without annotations"),
            )
        ],
    ],
)
def test_unusable_folder_is_a_one_line_error(tmp_path, build, said):
    (tmp_path / "set").mkdir()
    build(tmp_path / "set")
    with pytest.raises(DataError, match=said) as error:
        find_spec(str(tmp_path / "set"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("no/such", "no such folder: no/such"),
        ("set.zip", "set.zip'` is an archive; unpack it first"),
        ("a" * 300, "unknown dataset"),
        ("set/data.yaml", "is YOLO's description of a dataset; give its folder, set"),
    ],
)
def test_value_that_is_not_a_folder_is_a_usage_error(tmp_path, monkeypatch, data, said):
    monkeypatch.chdir(tmp_path)
    put_text(tmp_path / "set.zip", "PK")
    put_text(tmp_path / "set" / "data.yaml", "names: [kite]\ntrain: images\n")
    with pytest.raises(UsageError, match=said):
        find_spec(data)


def test_folder_is_chosen_by_path_and_described_dataset_by_name(tmp_path, monkeypatch, capsys, datasets):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    put_text(tmp_path / "set.yaml", "names: [kite]\n")
    assert find_spec(str(tmp_path / "set")).format == find_spec("set").format == "coco"
    put_text(datasets / "set.yaml", "format: via\nsplits: {}\n")
    assert find_spec("set").format == "via" and find_spec("./set").format == "coco"
    assert "`data='set'` is the dataset described in" in capsys.readouterr().err


def test_data_root_with_a_folder_is_an_error(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    with pytest.raises(UsageError, match="`data_root` is for datasets with a description"):
        find_spec(str(tmp_path / "set"), data_root=tmp_path)


@pytest.mark.skipif(not DATA.is_dir(), reason="the real datasets are not there")
@pytest.mark.parametrize(
    ("name", "format", "counts"),
    [
        ("bccd", "voc", {"train": 205, "val": 87, "test": 72}),
        ("balloon", "via", {"train": 61, "val": 13}),
        ("coco_tiny80", "coco", {"train": 80, "val": 80}),
    ],
)
def test_real_datasets_are_discovered(name, format, counts):
    spec = find_spec(str(DATA / name))
    assert spec.format == format
    assert {split: len(spec.read(split)[1]) for split in counts} == counts
