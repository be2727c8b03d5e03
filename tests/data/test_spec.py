"""Descriptions of datasets: each split gets exactly its images, and a mistake in the YAML is a one-line error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.folders import ROOT, SHARED

from detect.data import spec
from detect.data.description import described_datasets, find_spec
from detect.data.digests import image_digests
from detect.errors import DataError, DetectError, UsageError
from detect.media.images import write_image

BALLOON = SHARED / "data" / "balloon"
IMAGES = ("a.png", "b.png", "more/c.png", "more/a.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of set.yaml, with the files of the dataset in files/."""
    images = []
    for number, name in enumerate(IMAGES, start=1):
        path = tmp_path / "files" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.full((20, 30, 3), 40 * number, np.uint8))
        images.append({"id": number, "file_name": name, "height": 20, "width": 30})
    ground_truth = {"categories": [{"id": 90, "name": "kite"}, {"id": 7, "name": "bird"}], "images": images}
    (tmp_path / "files" / "ground truth.json").write_text(json.dumps({**ground_truth, "annotations": []}))
    (tmp_path / "files" / "empty.json").write_text(json.dumps({**ground_truth, "annotations": [], "images": []}))
    return tmp_path


def described(**changes: Any) -> dict[str, Any]:
    """Return a valid description with changes; a change to None removes the key."""
    part = {"images": "images", "annotations": "ground truth.json"}
    content = {"format": "coco", "root": "files", "splits": {"train": part, "val": dict(part)}} | changes
    return {k: v for k, v in content.items() if v is not None}


def find(folder: Path, content: Any, data_root: Path | None = None):
    """Write ``content`` to set.yaml and return its spec."""
    path = folder / "set.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return find_spec(str(path), data_root)


def names(folder: Path, **choice: Any) -> list[str]:
    """Return the images of a split with this ``choice`` of files."""
    part = {"images": "images", "annotations": "ground truth.json"} | choice
    _, records = find(folder, described(splits={"train": part})).read("train")
    return [r.path.relative_to(folder / "files" / "images").as_posix() for r in records]


def test_a_note_about_several_splits_is_one_warning(folder, capsys):
    path = folder / "files" / "ground truth.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["id"] = f"image {image['id']}"
    path.write_text(json.dumps(content))
    found = find(folder, described())
    for split in found.splits:
        found.read(split)
    assert capsys.readouterr().err.count("ids that are not whole numbers") == 1


def test_paths_are_relative_to_the_description(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    found = find(folder, described())
    found.prepare()
    assert (found.name, found.root) == ("set", folder / "files")
    classes, records = found.read("val")
    assert classes.names == ("kite", "bird") and classes.ids == (90, 7)
    assert [r.path for r in records] == [folder / "files" / "images" / name for name in IMAGES]
    monkeypatch.chdir(folder)
    assert len(find_spec("set.yaml").read("val")[1]) == 4


def test_default_root_is_named_after_the_description(folder):
    assert find(folder, described(root=None)).root == folder / "set"
    assert find(folder, described(root=None, name="other")).name == "other"


def test_data_root_replaces_the_root(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "files").rename(elsewhere / "mine")
    found = find(folder, described(), elsewhere / "mine")
    found.prepare()
    assert len(found.read("train")[1]) == 4
    for wrong in (elsewhere / "none", folder / "set.yaml"):
        with pytest.raises(DataError, match=f"`data_root={wrong}` is not a folder"):
            find(folder, described(), wrong).prepare()


def test_missing_folder_is_named(folder):
    with pytest.raises(DataError, match=f"dataset 'set': no such folder {folder / 'none'}"):
        find(folder, described(root="none")).prepare()


def test_only_missing_files_are_rendered_or_downloaded(folder, monkeypatch):
    made = []
    monkeypatch.setattr(spec, "render_dataset", lambda kind, root, seed: made.append((kind, root, seed)))
    monkeypatch.setattr(spec, "fetch_archive", lambda download, root: made.append((download["url"], root)))
    render, download = {"render": {"kind": "shapes", "seed": 3}}, {"download": {"url": "http://x/y.zip"}}
    find(folder, described(**render)).prepare()
    assert made == []
    (folder / "empty").mkdir()
    for missing in ("none", "empty"):
        find(folder, described(root=missing, **render)).prepare()
    assert made == [("shapes", folder / "none", 3), ("shapes", folder / "empty", 3)]
    made.clear()
    find(folder, described(root="none", **download)).prepare()
    assert made == [("http://x/y.zip", folder / "none")]


def test_existing_files_of_a_download_are_verified(folder):
    wrong = {"url": "http://127.0.0.1:9/y.zip", "sha256": {"none.json": "00"}}
    with pytest.raises(DataError, match=r"none\.json is missing"):
        find(folder, described(download=wrong)).prepare()


def test_classes_can_be_chosen(folder):
    assert find(folder, described(classes=["bird"])).read("train")[0].names == ("bird",)


# Splits


def test_split_has_the_listed_files_or_all_others(folder):
    assert names(folder) == list(IMAGES)
    assert names(folder, files=["more/c.png", "a.png"]) == ["a.png", "more/c.png"]
    assert names(folder, without=["b.png"]) == ["a.png", "more/c.png", "more/a.png"]
    assert names(folder, files=["a.png", "b.png"], without=["b.png"]) == ["a.png"]


def test_images_of_the_same_name_in_two_folders_are_distinct(folder):
    """Otherwise an image of val would be trained on."""
    assert names(folder, files=["a.png"]) == ["a.png"]
    assert names(folder, without=["more/a.png"]) == ["a.png", "b.png", "more/c.png"]


@pytest.mark.parametrize("key", ["files", "without"])
def test_listed_files_without_annotations_are_counted_and_named(folder, key):
    missing = [f"{n}.jpg" for n in range(7)]
    with pytest.raises(
        DataError, match=r"ground truth\.json has no annotations for 7 listed files: 0\.jpg, .*and 2 more"
    ):
        names(folder, **{key: [*missing, "a.png"]})


def test_split_without_images_is_an_error(folder):
    for choice in ({"annotations": "empty.json"}, {"files": []}, {"without": list(IMAGES)}):
        with pytest.raises(DataError, match="dataset 'set': split 'train' has no images"):
            names(folder, **choice)


def test_split_with_mostly_invalid_objects_is_an_error(folder):
    ground_truth = json.loads((folder / "files" / "ground truth.json").read_text())
    boxes = [[1, 1, 8, 8], [2, 2, 9, 9], [3, 3, 0, 9], [4, 4, 9, 0]]
    one = {"image_id": 1, "category_id": 7, "iscrowd": 0}
    for more, refused in (([], False), ([[5, 5, 0, 4]], True)):
        ground_truth["annotations"] = [{**one, "id": n, "bbox": box} for n, box in enumerate([*boxes, *more], 1)]
        (folder / "files" / "ground truth.json").write_text(json.dumps(ground_truth))
        if refused:
            with pytest.raises(DataError, match=r"3 of 5 objects .*doctor\.py fix"):
                find(folder, described()).read("train")
            assert len(find(folder, described()).read("train", lenient=True)[1].labels) == 2
        else:
            assert len(find(folder, described()).read("train")[1].labels) == 2


def test_objects_of_unlisted_images_do_not_count_as_invalid(folder):
    ground_truth = json.loads((folder / "files" / "ground truth.json").read_text())
    square, stray = [2, 2, 9, 2, 9, 9, 2, 9], [1, 1, 4, 4]
    one = {"category_id": 7, "iscrowd": 0, "bbox": [2, 2, 7, 7]}
    drawn = [{**one, "id": n, "image_id": 1, "segmentation": [square, stray, stray]} for n in range(1, 6)]
    elsewhere = [{**one, "id": 10 + n, "image_id": 99} for n in range(12)]  # as of an excerpt that kept them all
    (folder / "files" / "ground truth.json").write_text(
        json.dumps(ground_truth | {"annotations": [*drawn, *elsewhere]})
    )
    part = {"images": "images", "annotations": "ground truth.json", "files": ["a.png"]}
    assert len(find(folder, described(splits={"train": part})).read("train")[1].labels) == 5


@pytest.mark.parametrize("typed", ["no", "007", "1e3", "12:30", "1_000", "0x10", "2024-01-01"])
def test_classes_and_image_names_are_the_text_that_was_typed(folder, typed):
    ground_truth = json.loads((folder / "files" / "ground truth.json").read_text())
    ground_truth["categories"][0]["name"] = ground_truth["images"][0]["file_name"] = typed
    (folder / "files" / "ground truth.json").write_text(json.dumps(ground_truth))
    (folder / "files" / "images" / "a.png").rename(folder / "files" / "images" / typed)
    part = f"{{images: images, annotations: ground truth.json, files: [{typed}]}}"
    found = find(folder, f"format: coco\nroot: files\nclasses: [{typed}]\nsplits: {{train: {part}}}")
    classes, records = found.read("train")
    assert classes.names == (typed,) and [r.path.name for r in records] == [typed]


def test_unknown_split_suggests_similar_names(folder):
    with pytest.raises(UsageError, match=r"dataset 'set': unknown split 'trian': did you mean train\?"):
        find(folder, described()).read("trian")


# Validation of descriptions


def test_unknown_dataset_suggests_similar_names(tmp_path):
    with pytest.raises(UsageError, match=r"unknown dataset 'baloon': did you mean balloon\?"):
        find_spec("baloon")
    with pytest.raises(UsageError, match=f"no such dataset description: {tmp_path / 'none.yaml'}"):
        find_spec(str(tmp_path / "none.yaml"))
    with pytest.raises(UsageError, match=r"unknown dataset 'photos\.v2'"):
        find_spec("photos.v2")


def test_unknown_datasets_and_empty_folders_are_errors_before_torch_is_imported(tmp_path):
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    code = f"""
import sys
from detect.data.description import check_exists
from detect.errors import DetectError
for data in ("sample", "baloon", {str(tmp_path / "none")!r}, {str(tmp_path / "empty")!r}, {str(tmp_path)!r}):
    try:
        check_exists(data)
    except DetectError as error:
        print(error)
assert "torch" not in sys.modules
"""
    (tmp_path / "a.png").touch()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    unknown, missing, empty = done.stdout.splitlines()
    assert "did you mean balloon" in unknown and "no such folder" in missing and "no image in" in empty


PART = {"images": "images", "annotations": "ground truth.json"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("format: [coco", "line 1: not YAML"),
        ("a: b: c", "line 1: not YAML"),
        ("format: coco\nformat: voc", "line 2: the key 'format' is given twice"),
        ("", "does not describe a dataset"),
        ("- coco", "does not describe a dataset"),
        (described(formt="coco"), r"unknown key 'formt': did you mean format\?"),
        (described(format=None), "lacks the key 'format'"),
        (described(splits=None), "lacks the key 'splits'"),
        (described(format="coko"), r"unknown format 'coko': did you mean coco\?"),
        (described(format=["coco"]), r"'format' is \['coco'\]; expected text"),
        (described(root=[5]), r"'root' is \['5'\]; expected text"),
        (described(classes="kite"), "'classes' is 'kite'; expected a list of texts"),
        (described(classes=[["kite"]]), r"'classes' is \[\['kite'\]\]; expected a list of texts"),
        (described(classes=[None, "kite"]), r"line \d+: 'null' means no value"),
        (described(classes=["kite", "kite"]), "'classes' lists a name twice: kite, kite"),
        (described(classes={"a": ["kite"], "b": ["kite"]}), "'classes' lists a name twice: kite, kite"),
        (described(classes={"a": "kite"}), "'classes' has a: 'kite'; expected a list of class names"),
        (described(splits=["train"]), r"'splits' is \['train'\]; expected a mapping"),
        (described(splits={"train": None}), "split train is None; expected a mapping with the keys images, annot"),
        (
            described(splits={"train": "ground truth.json"}),
            "split train is 'ground truth.json'; expected a mapping",
        ),
        (described(splits={"train": {"images": "images"}}), "split train lacks the key 'annotations'"),
        (
            described(splits={"train": {**PART, "image": "x"}}),
            r"split train: unknown key 'image': did you mean images",
        ),
        (
            described(splits={"train": {**PART, "images": ["x"]}}),
            r"split train: 'images' is \['x'\]; expected text",
        ),
        (described(splits={"train": {**PART, "files": "a.png"}}), "'files' is 'a.png'; expected a list of texts"),
        (described(splits={"train": {**PART, "without": 5}}), "'without' is '5'; expected a list of texts"),
        (described(download="http://x/y.zip"), "'download' is 'http.*'; expected a mapping"),
        (described(download={"ulr": "x"}), r"download: unknown key 'ulr': did you mean url\?"),
        (described(download={"sha256": {}}), "download lacks the key 'url'"),
        (described(render={"kind": "shapes"}), "render lacks the key 'seed'"),
    ],
)
def test_mistake_in_a_description_is_a_one_line_error_with_file_and_key(folder, content, said):
    with pytest.raises(DetectError, match=said) as error:
        find(folder, content)
    assert str(error.value).startswith(str(folder / "set.yaml"))
    assert "\n" not in str(error.value)


def test_binary_description_is_a_one_line_error(folder):
    (folder / "set.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match=r"set\.yaml is not a YAML file") as error:
        find_spec(str(folder / "set.yaml"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", described_datasets())
def test_bundled_descriptions_have_three_splits_and_a_source(name):
    ours = find_spec(name)
    assert ours.name == name and set(ours.splits) == {"train", "val", "test"}
    assert ours.download or ours.render


def test_splits_of_balloon_share_no_image():
    if not BALLOON.is_dir():
        pytest.skip("the balloon dataset is not there")
    balloon = find_spec("balloon", BALLOON)
    balloon.prepare()
    splits = {split: balloon.read(split)[1] for split in ("train", "val", "test")}
    assert {split: len(records) for split, records in splits.items()} == {"train": 48, "val": 13, "test": 13}
    images = [digest for records in splits.values() for digest in image_digests([one.path for one in records])]
    assert len(set(images)) == 74
    assert sum(map(len, splits["train"])) + sum(map(len, splits["val"])) == 255
    assert sum(map(len, splits["test"])) == 50
