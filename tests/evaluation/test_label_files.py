"""Files about suspected annotation errors: lists, sheets, and reviews that labelme, CVAT and our readers accept."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.planted_problems import CLASSES, SPLITS, load, save, write_clean
from helpers.reading import read_split
from helpers.tiny_models import as_checkpoint, random_model
from helpers.trained_images import list_train_images
from PIL import Image

from detect.data.description import find_spec
from detect.errors import DataError, UsageError
from detect.evaluation import label_review
from detect.evaluation.label_check import find_label_errors, label_errors_of
from detect.evaluation.label_errors import KINDS
from detect.inference.load import predictor_from_checkpoint
from detect.models import checkpoint
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

CLASS_NAMES = ClassNames(CLASSES)


class Annotator:
    """A predictor that detects what a list of records holds, in their order."""

    def __init__(self, records, class_names=CLASS_NAMES, path=None):
        self.class_names, self.path, self.name = class_names, path, "annotator"
        self.answers = iter(records)

    def predict_batch(self, images, labels=None, threshold=None):
        record = next(self.answers)
        scores = np.linspace(0.95, 0.9, len(record), dtype=np.float32)
        return [Detections(record.image_hw, record.boxes, scores, record.labels)]


@pytest.fixture
def folder(tmp_path):
    write_clean(tmp_path / "set")
    return tmp_path / "set"


def read(folder):
    """Return the splits of a dataset and the records of all of them."""
    spec = find_spec(str(folder))
    tables = {split: spec.read(split, CLASS_NAMES)[1] for split in spec.splits}
    return tables, [record for table in tables.values() for record in table]


def found_in(folder, change):
    """Return the suspects of a model that knows the annotations as they are before ``change``, of the val split."""
    _, records = read(folder)
    content = load(folder, "val")
    change(content["annotations"])
    save(folder, "val", content)
    return label_errors_of(Annotator(records), "set", CLASS_NAMES, read(folder)[0])


def delete(annotations):
    del annotations[0]


def rename(annotations):
    annotations[0]["category_id"] = 2


CHANGES = {"missing": delete, "wrong class": rename}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_suspect_names_image_annotation_and_both_classes(folder, kind):
    (one,) = [s for s in found_in(folder, CHANGES[kind]).suspects if s.suspicion > 0.5]
    assert (one.kind, one.split, one.image, one.detected) == (kind, "val", "val_1.png", "kite")
    assert one.detected_box == pytest.approx([6, 10, 26, 25]) and one.score > 0.9
    if kind == "missing":
        assert (one.annotation, one.row, one.annotated, one.iou) == (None, None, None, None)
        assert one.text == f"detected kite {one.score:.2f}, not annotated"
    else:
        assert (one.annotation, one.row, one.annotated, one.iou) == (1, 0, "bird", 1.0)
        assert one.text == f"annotated bird, detected kite {one.score:.2f}"


def test_lists_hold_every_suspect_in_order(folder, tmp_path):
    found = found_in(folder, rename)
    found.save(tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "suspects.csv").read_text().splitlines()))
    content = json.loads((tmp_path / "out" / "suspects.json").read_text())
    assert len(rows) == len(content["suspects"]) == len(found.suspects) > 0
    assert [row["kind"] for row in rows] == [one["kind"] for one in content["suspects"]]
    assert [int(row["rank"]) for row in rows] == [one["rank"] for one in content["suspects"]]
    assert content["likely"] == found.counts() and set(content["likely"]) == set(KINDS)


def test_the_sheet_shows_detections_dashed_and_annotations_solid(folder, tmp_path):
    found_in(folder, rename).save(tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "suspects.png"))
    green, magenta = ((pixels == color).all(axis=2).sum() for color in ((0, 150, 60), (225, 0, 150)))
    assert 0 < magenta < green + magenta and green > 0
    assert (tmp_path / "wrong_class.png").is_file() and not (tmp_path / "missing.png").exists()


def test_review_files_hold_annotations_and_suspects_for_both_programs(folder, tmp_path):
    found_in(folder, delete).save(tmp_path)
    review = tmp_path / "review"
    (document,) = [json.loads(path.read_text()) for path in review.glob("*/*.json")]
    assert (review / "val" / document["imagePath"]).read_bytes() == (folder / "val" / "val_1.png").read_bytes()
    assert (document["imageHeight"], document["imageWidth"], document["imageData"]) == (60, 80, None)
    shapes = [(shape["label"].rstrip("0123456789."), shape["shape_type"]) for shape in document["shapes"]]
    assert shapes == [("bird", "polygon"), ("missing: kite ", "rectangle")]
    assert [shape["group_id"] for shape in document["shapes"]] == [None, None]  # each is one object of one part
    root = ET.parse(review / "cvat.xml").getroot()
    (image,) = root.findall("image")
    assert image.attrib == {"id": "0", "name": "val/val_1.png", "width": "80", "height": "60"}
    assert [(shape.tag, shape.get("label")) for shape in image] == [("polygon", "bird"), ("box", "suspect: missing")]
    labels = [label["name"] for label in json.loads((review / "cvat_labels.json").read_text())]
    assert labels == [label.findtext("name") for label in root.iter("label")]


@pytest.mark.parametrize("format", ["cvat", "labelme"])
def test_review_files_are_read_back_with_the_boxes_of_the_annotations(folder, tmp_path, format):
    found = found_in(folder, delete)
    found.save(tmp_path)
    review = tmp_path / "review"
    class_names, table = read_split(format, review, review / "cvat.xml" if format == "cvat" else review)
    (one,) = [s for s in found.suspects if s.suspicion > 0.5]
    expected = [*found.tables["val"][0].boxes.tolist(), one.detected_box]
    np.testing.assert_allclose(table.boxes, expected, atol=0.01)
    names = {class_names.name(label) for label in table.labels.tolist()}
    assert len(table) == 1 and "bird" in names and any("missing" in name for name in names)


def test_an_image_within_the_limit_keeps_all_its_suspects(monkeypatch):
    monkeypatch.setattr(label_review, "MAX_IMAGES", 1)
    suspects = [SimpleNamespace(split="val", index=index, suspicion=0.9) for index in (0, 1, 0)]
    assert label_review._by_image(SimpleNamespace(suspects=suspects)) == {("val", 0): [suspects[0], suspects[2]]}


def test_nothing_to_review_leaves_no_folder(folder, tmp_path):
    tables, records = read(folder)
    label_errors_of(Annotator(records), "set", CLASS_NAMES, tables).save(tmp_path / "out")
    assert not (tmp_path / "out" / "review").exists()
    assert (tmp_path / "out" / "suspects.csv").read_text().count("\n") >= 1


def test_a_model_that_was_trained_on_the_images_gives_a_warning_with_their_number(folder, tmp_path, capsys):
    tables, records = read(folder)
    saved = as_checkpoint(random_model(), classes=ClassNames(("kite", "bird", "x")))
    saved.data.update(list_train_images(tables["train"], tmp_path))
    path = tmp_path / "model.safetensors"
    checkpoint.save(saved, path)
    found = label_errors_of(Annotator(records, path=path), "set", CLASS_NAMES, tables)
    assert found.training_images == {**dict.fromkeys(SPLITS, 0), "train": SPLITS["train"]}
    assert "trained on 6 of the 12 images" in capsys.readouterr().err


def test_a_model_without_any_class_of_the_dataset_is_one_line(folder):
    with pytest.raises(UsageError, match="no class in common") as error:
        label_errors_of(Annotator([], ClassNames(("dog",))), "set", CLASS_NAMES, read(folder)[0])
    assert "\n" not in str(error.value)


def test_a_dataset_without_annotations_is_one_line(folder):
    for split in SPLITS:
        content = load(folder, split)
        content["annotations"] = []
        save(folder, split, content)
    with pytest.raises(DataError, match="no annotations that a model could be compared with"):
        label_errors_of(Annotator([]), "set", CLASS_NAMES, read(folder)[0])


def test_an_unreadable_image_is_left_out_with_a_warning(folder, capsys):
    tables, records = read(folder)
    (folder / "val" / "val_2.png").write_bytes(b"no image")
    readable = [record for record in records if record.path.name != "val_2.png"]
    label_errors_of(Annotator(readable), "set", CLASS_NAMES, tables)
    assert "val_2.png" in (text := capsys.readouterr().err) and text.count("\n") == 1


@pytest.mark.parametrize("settings", [{"device": "cpu"}, {"imgsz": 320}])
def test_settings_for_loading_are_errors_beside_a_loaded_model(folder, settings):
    with pytest.raises(UsageError, match="load_model"):
        find_label_errors(predictor_from_checkpoint(as_checkpoint(random_model())), folder, **settings)
