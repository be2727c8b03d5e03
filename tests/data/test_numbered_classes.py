"""Classes whose names differ by a number: which are grouped, and which number the objects of an image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detect.data.description import find_spec
from detect.data.numbered_classes import instance_number_groups, numbered_groups
from detect.data.quality.repair import repair
from detect.errors import DataError, UsageError

SPLIT = {"images": ".", "annotations": "a.json"}


def dataset(folder: Path, objects: list[list[str]]) -> Path:
    """Write images with one object for each class name listed; return the description."""
    classes = sorted({name for names in objects for name in names})
    rng = np.random.default_rng(0)
    content: dict = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": i, "name": name} for i, name in enumerate(classes, 1)]
    for number, names in enumerate(objects, 1):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(folder / f"{number}.png")
        content["images"].append({"id": number, "file_name": f"{number}.png", "width": 60, "height": 40})
        for k, name in enumerate(names):
            entry = {"image_id": number, "category_id": classes.index(name) + 1, "bbox": [5 + 7 * k, 5 + number, 6, 9]}
            content["annotations"].append(entry | {"id": len(content["annotations"]) + 1})
    (folder / "a.json").write_text(json.dumps(content))
    path = folder / "set.yaml"
    path.write_text(json.dumps({"format": "coco", "root": ".", "splits": {"train": SPLIT}}))
    return path


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["cat-0", "cat-1", "dog"], {"cat": ["cat-0", "cat-1"]}),
        (
            ["cat10", "cat2", "cat_1", "cat (3)", "cat#4", "cat"],
            {"cat": ["cat", "cat_1", "cat2", "cat (3)", "cat#4", "cat10"]},
        ),
        ([str(i) for i in range(10)], {}),
        (["cat1", "dog1", "cat"], {}),
        (["type 1", "type 2", "grade_2", "grade_3"], {"type": ["type 1", "type 2"], "grade": ["grade_2", "grade_3"]}),
        (["狗1", "狗2"], {"狗": ["狗1", "狗2"]}),
        (["3-1", "3-2"], {}),
    ],
)
def test_names_that_differ_by_a_number_are_grouped(names, groups):
    assert numbered_groups(names) == groups


@pytest.mark.parametrize(
    ("objects", "instances"),
    [
        ([["cat-0", "cat-1", "cat-2"]] * 4, True),
        ([["cat-0"], ["cat-0", "cat-1"], ["cat-0", "cat-1", "cat-2"], ["dog"]], True),
        ([["cat 1"], ["cat 1", "cat 2"], ["cat 1", "cat 2", "dog", "dog"]], True),
        ([["cat"], ["cat", "cat1"], ["cat", "cat1", "cat2"]], True),
        ([["grade 1"], ["grade 2"], ["grade 3"], ["grade 1"]], False),
        ([["type 1", "type 1", "type 2"], ["type 1", "type 2", "type 2"], ["type 1"]], False),
        ([["lane 1"], ["lane 2"], ["lane 1", "lane 2"], ["lane 2"]], False),
        ([["cat 5", "cat 6"]] * 4, False),
        ([["type 1"]] * 9 + [["type 2"]], False),
    ],
)
def test_numbers_of_instances_start_anew_in_every_image(tmp_path, objects, instances):
    class_names, table = find_spec(str(dataset(tmp_path, objects))).read("train")
    assert bool(instance_number_groups([table], class_names)) is instances


def test_repair_merges_instances_on_request_and_says_so(tmp_path):
    spec = find_spec(str(dataset(tmp_path, [["cat-0"], ["cat-0", "cat-1"], ["cat-0", "cat-1", "dog"]])))
    assert repair(spec).class_names.names == ("cat-0", "cat-1", "dog")
    merged = repair(spec, merge_suffixes=True)
    assert merged.class_names.names == ("cat", "dog")
    assert merged.tables["train"].labels.tolist() == [1, 1, 1, 1, 1, 2]
    renamed = [(entry["before"], entry["after"]) for entry in merged.entries if entry["change"] == "class renamed"]
    assert renamed == [("cat-0", "cat"), ("cat-1", "cat")]
    assert {reason for entry in merged.entries for reason in entry["reasons"]} == {"instance_numbers"}


@pytest.mark.parametrize("objects", [[["dog"], ["cat"]], [["grade 1"], ["grade 2"], ["grade 1"]]])
def test_repair_without_instances_to_merge_is_an_error(tmp_path, objects):
    with pytest.raises(DataError, match=r"`merge_suffixes`: no classes to merge.*classes: "):
        repair(find_spec(str(dataset(tmp_path, objects))), merge_suffixes=True)


def test_a_description_can_merge_classes(tmp_path):
    path = dataset(tmp_path, [["cat-0"], ["cat-0", "cat-1"], ["cat-1", "dog", "bird"]])
    for classes, labels in (
        ({"cat": ["cat-1", "cat-0"]}, [1, 1, 1, 1]),
        ({"dog": ["dog"], "cat": ["cat-0", "cat-1"]}, [2, 2, 2, 2, 1]),
    ):
        path.write_text(json.dumps({"format": "coco", "root": ".", "classes": classes, "splits": {"train": SPLIT}}))
        class_names, table = find_spec(str(path)).read("train")
        assert class_names.names == tuple(classes) and table.labels.tolist() == labels
    path.write_text(
        json.dumps({"format": "coco", "root": ".", "classes": {"cat": ["cot-0"]}, "splits": {"train": SPLIT}})
    )
    with pytest.raises(UsageError, match="unknown class 'cot-0': did you mean cat-0"):
        find_spec(str(path)).read("train")


def test_the_classes_of_numbers_can_be_merged(tmp_path):
    """The classes of YOLO are the numbers in the order in which the mapping lists them."""
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("".join(f"{i} 0.{i + 2} 0.5 0.1 0.1\n" for i in range(3)))
    path = tmp_path / "set.yaml"
    split = {"images": ".", "annotations": "."}
    classes = {"cat": ["cat-0", "cat-1"], "dog": ["dog"]}
    path.write_text(json.dumps({"format": "yolo", "root": ".", "classes": classes, "splits": {"train": split}}))
    class_names, table = find_spec(str(path)).read("train")
    assert class_names.names == ("cat", "dog") and table.labels.tolist() == [1, 1, 2]
