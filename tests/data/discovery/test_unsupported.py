"""Formats that are recognized but not read: what the file seems to be, and what to export instead."""

from __future__ import annotations

import json

import pytest
from helpers.any_format import coco, put, put_images, put_text

from detect.data import description
from detect.data.description import find_spec
from detect.errors import DataError

NAMES = [f"{i}.png" for i in range(4)]
KITTI = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
FILES = {
    "train.tfrecord": ("\0", "TFRecord; export COCO JSON"),
    "train.record-00000-of-00010": ("\0", "TFRecord"),
    "gt.mat": ("MATLAB 5.0", "MATLAB; export COCO JSON"),
    "a.ndjson": (json.dumps({"data_row": {}, "media_attributes": {}, "projects": {}}), "Labelbox"),
    "b.jsonl": (json.dumps({"image": "a"}), "JSON lines are not read; export COCO JSON"),
    "labelbox.json": (json.dumps([{"ID": "a", "DataRow ID": "b", "Labeled Data": "c", "Label": {}}]), "Labelbox"),
    "vott.json": (json.dumps({"name": "a", "assets": {}, "tags": [], "version": "2"}), "VoTT 2.*export Pascal VOC"),
    "asset.json": (json.dumps({"asset": {}, "regions": [], "version": "2"}), "VoTT 2"),
    "vott1.json": (json.dumps({"frames": {}, "framerate": "1", "inputTags": "a"}), "VoTT 1"),
    "a_gtFine_polygons.json": (json.dumps({"imgHeight": 1, "imgWidth": 1, "objects": []}), "Cityscapes"),
    "bdd.json": (json.dumps([{"name": "a", "attributes": {}, "timestamp": 1, "labels": []}]), "BDD100K"),
    "bdd1.json": (json.dumps({"name": "a", "frames": [], "attributes": {}}), "BDD100K"),
    "v7.json": (json.dumps({"version": "2.0", "item": {}, "annotations": []}), "V7 Darwin.*export COCO JSON in V7"),
    "v7_1.json": (json.dumps({"dataset": "a", "image": {}, "annotations": []}), "V7 Darwin"),
    "sa.json": (json.dumps({"metadata": {}, "instances": [], "tags": []}), "SuperAnnotate"),
    "hasty.json": (json.dumps({"project_name": "a", "label_classes": [], "images": []}), "Hasty"),
    "datumaro.json": (json.dumps({"info": {}, "categories": {}, "items": []}), "Datumaro"),
    "scale.json": (json.dumps([{"task_id": "a", "params": {}, "response": {}}]), "Scale AI"),
    "min.json": (json.dumps([{"image": "a", "label": [], "annotation_id": 1, "lead_time": 2.0}]), "Label Studio"),
    "min.csv": ("annotation_id,annotator,created_at,id,image,label,lead_time\n1,1,x,1,a.jpg,[],2\n", "Label Studio"),
    "createml.json": (json.dumps([{"image": "a", "annotations": []}]), "createML"),
    "web.xml": ("<annotation><object><polygon>", "LabelMe web page; export COCO JSON"),
    "000001.txt": (KITTI, "KITTI"),
    "gt/gt.txt": ("1,1,912,484,97,109,0,7,1\n", "MOT"),
    "wider_face_train_bbx_gt.txt": ("0--Parade/0.jpg\n1\n449 330 122 149 0 0 0 0 0 0\n", "WIDER FACE"),
}


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch):
    monkeypatch.setattr(description, "datasets_folder", lambda: tmp_path / "datasets")


@pytest.mark.parametrize("file", FILES)
def test_file_of_an_unsupported_format_names_the_export(tmp_path, file):
    text, said = FILES[file]
    put_images(tmp_path / "set", *NAMES)
    put_text(tmp_path / "set" / file, text)
    with pytest.raises(DataError, match=said) as error:
        find_spec(str(tmp_path / "set"))
    assert "\n" not in str(error.value) and file in str(error.value)


@pytest.mark.parametrize("file", [name for name in FILES if not name.endswith(".json")])
def test_unsupported_files_do_not_matter_beside_readable_ones(tmp_path, file):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    put_text(tmp_path / "set" / file, FILES[file][0])
    assert find_spec(str(tmp_path / "set")).format == "coco"


def test_unsupported_file_of_another_split_is_an_error(tmp_path):
    put_images(tmp_path / "set", *NAMES)
    coco(tmp_path / "set" / "train.json", NAMES)
    put_text(tmp_path / "set" / "val.json", FILES["v7.json"][0])
    with pytest.raises(DataError, match=r"val\.json cannot be read: it seems to be V7"):
        find_spec(str(tmp_path / "set"))


def test_folders_of_classes_are_named_as_a_dataset_for_classification(tmp_path):
    put_images(
        tmp_path / "set",
        *(f"{split}/{name}/{i}.png" for split in ("train", "val") for name in ("cat", "dog") for i in "ab"),
    )
    with pytest.raises(DataError, match=r"if the folders cat, dog are classes, .* no boxes; draw them"):
        find_spec(str(tmp_path / "set"))
    put_images(tmp_path / "other", "train/images/0.png", "val/images/0.png")
    with pytest.raises(DataError) as error:
        find_spec(str(tmp_path / "other"))
    assert "classification" not in str(error.value)
