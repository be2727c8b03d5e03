"""The self-test passes for a detector that works, and exactly the right line fails for each kind of fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.scenes import SHAPES, drawn
from helpers.selftest import GRAYS, ColorDetector, is_original, write_rectangles
from helpers.tiny_models import as_checkpoint, random_model

from detect.errors import DataError, UsageError
from detect.evaluation import average_precision, evaluators
from detect.evaluation.selftest import DATA_TESTS, SelftestLine, model_tests, selftest
from detect.evaluation.selftest_images import has_color
from detect.evaluation.selftest_metrics import ground_truth_as_predictions
from detect.evaluation.selftest_repeats import RUNTIMES, compare_detections
from detect.evaluation.selftest_subject import Status
from detect.inference.load import load_model
from detect.media.images import read_image
from detect.models import checkpoint
from detect.models.architecture import backbone_architecture
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

RELOADED = "checkpoint saved and loaded again, torch"
VERIFIED = "AP of the verified export"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_rectangles(tmp_path_factory.mktemp("rectangles"))


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    architecture = replace(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), max_proposals=20)
    checkpoint.save(as_checkpoint(random_model(architecture), architecture, SHAPES), path)
    return path


def lines(model, data: Path, **settings) -> dict[str, SelftestLine]:
    return {line.name: line for line in selftest(model, data, split="val", **settings)}


def failed(found: dict[str, SelftestLine]) -> list[str]:
    return [name for name, line in found.items() if line.status is Status.FAIL]


def skipped(found: dict[str, SelftestLine]) -> list[str]:
    return [name for name, line in found.items() if line.status is Status.SKIP]


def test_a_detector_that_works_passes_every_test_that_it_can_take(data):
    found = lines(ColorDetector(), data)
    assert list(found) == [*DATA_TESTS, *model_tests(RUNTIMES)]
    assert not failed(found) and skipped(found) == [RELOADED, VERIFIED]
    assert str(found["ground truth as predictions"]) == (
        "ok   ground truth as predictions: AP 1.000 of boxes and masks in 3 classes"
    )
    assert "all of 30 detections the same" in found["shuffled images"].text
    assert "x shifted by +0.0 ± 0.0 % of the width, +0.00 pixels (0.5 would fail)" in found["mirrored images"].text
    assert found[RELOADED].text == "the model was not loaded from a checkpoint file"


def test_a_checkpoint_passes_every_test_that_it_can_take(data, tiny_model):
    found = lines(load_model(tiny_model, device="cpu"), data, images=2)
    assert not failed(found) and found[RELOADED].status is Status.OK


class Permuted(ColorDetector):
    def detect(self, image):
        found = super().detect(image)
        return replace(found, labels=found.labels % 3 + 1)


class Shifted(ColorDetector):
    by = (1, 1)

    def detect(self, image):
        found = super().detect(image)
        return replace(found, boxes=found.boxes + np.float32([*self.by, *self.by]))


class ShiftedRight(Shifted):
    by = (1, 0)


class ShiftedUp(Shifted):
    by = (0, -1)


class LastPixelInside(ColorDetector):
    """Boxes end at their last pixel, as in Pascal VOC, and begin a pixel too early."""

    def detect(self, image):
        found = super().detect(image)
        return replace(found, boxes=found.boxes - np.float32([1, 1, 1, 1]))


class Transposed(ColorDetector):
    """Boxes are (y, x, y, x)."""

    def detect(self, image):
        found = super().detect(image)
        return replace(found, boxes=found.boxes[:, [1, 0, 3, 2]])


class TrainedOnBgr(ColorDetector):
    def detect(self, image):
        return super().detect(image[..., ::-1])


class DependsOnBatch(ColorDetector):
    def predict_batch(self, images, labels=None, threshold=None):
        found = super().predict_batch(images)
        return [replace(one, boxes=one.boxes + np.float32(i > 0)) for i, one in enumerate(found)]


class ReordersBatch(ColorDetector):
    def predict_batch(self, images, labels=None, threshold=None):
        return super().predict_batch(images)[::-1]


class Remembers(ColorDetector):
    """Finds nothing in an image when it sees it for the second time."""

    def __init__(self):
        super().__init__()
        self.seen: list[bytes] = []

    def detect(self, image):
        self.seen.append(image.tobytes())
        found = super().detect(image)
        return found[:0] if is_original(image) and self.seen.count(image.tobytes()) == 2 else found


class IgnoresExif(ColorDetector):
    def __call__(self, path, **_):
        from PIL import Image

        return self.detect(np.asarray(Image.open(path).convert("RGB")))


class ReadsFilesAsBgr(ColorDetector):
    def __call__(self, path, **_):
        return self.detect(read_image(path)[..., ::-1])


@pytest.mark.parametrize(
    ("detector", "names"),
    [
        (Permuted, ["classes of detections"]),
        (Remembers, ["shuffled images"]),
        (DependsOnBatch, ["batches of 4 images"]),
        (ReordersBatch, ["batches of 4 images"]),
        (Shifted, ["mirrored images"]),
        (ShiftedRight, ["mirrored images"]),
        (ShiftedUp, ["mirrored images"]),
        (LastPixelInside, ["mirrored images"]),
        (Transposed, ["mirrored images"]),
        (TrainedOnBgr, ["swapped color channels"]),
        (IgnoresExif, ["EXIF-rotated images"]),
        (ReadsFilesAsBgr, ["images saved as PNG", "EXIF-rotated images"]),
    ],
)
def test_exactly_the_lines_of_a_fault_of_the_detector_fail(data, detector, names):
    assert failed(lines(detector(), data)) == names


def test_shifted_boxes_are_reported_with_direction_and_size(data):
    assert (
        "x shifted by +8.3 ± 0.0 % of the width, +1.00 pixels" in lines(ShiftedRight(), data)["mirrored images"].text
    )
    assert "y shifted by -8.3 ± 0.0 % of the height, -1.00 pixels" in lines(ShiftedUp(), data)["mirrored images"].text


def test_permuted_labels_of_the_ground_truth_fail(data, monkeypatch):
    original = Detections.of_record

    def permuted(record):
        found = original(record)
        return replace(found, labels=found.labels % 3 + 1)

    monkeypatch.setattr(Detections, "of_record", permuted)
    found = lines(ColorDetector(), data)
    assert failed(found) == ["ground truth as predictions"]
    assert "circle 0.000 instead of 1.000 (boxes)" in found["ground truth as predictions"].text


def test_ids_that_are_lost_on_the_way_to_a_results_file_fail(data, monkeypatch):
    monkeypatch.setattr(ClassNames, "category_id", lambda _, label: label)
    assert failed(lines(ColorDetector(), data)) == ["class names and ids"]


def test_ids_that_are_permuted_on_the_way_to_a_results_file_fail(data, monkeypatch):
    monkeypatch.setattr(ClassNames, "category_id", lambda self, label: self.ids[label % 3])
    found = lines(ColorDetector(), data)
    assert failed(found) == ["class names and ids"]
    assert "is read back as that of another class" in found["class names and ids"].text


def test_a_model_that_lost_the_ids_of_its_checkpoint_fails(data, tiny_model):
    predictor = load_model(tiny_model, device="cpu")
    predictor.class_names = ClassNames(SHAPES.names)
    found = lines(predictor, data, images=2)
    assert failed(found) == ["class names and ids"]
    assert "the model has circle (id 1) instead of circle (id 90)" in found["class names and ids"].text


def test_other_ids_of_a_model_are_a_remark_and_no_fault(data):
    detector = ColorDetector()
    detector.class_names = ClassNames(SHAPES.names)
    line = lines(detector, data)["class names and ids"]
    assert line.status is Status.OK and "trained with other ids (circle: 1, here 90)" in line.text


def test_metrics_that_are_not_pycocotools_fail(data, monkeypatch):
    class Mediocre(ColorDetector):
        def detect(self, image):
            found = super().detect(image)
            return replace(found, labels=np.where(found.labels == 1, 2, found.labels))  # confident false positives

    def altered(*arguments):
        precision, recall = average_precision.precision_and_recall(*arguments)
        return np.where(precision > 0, np.abs(precision) ** 1.01, precision), recall

    assert not failed(lines(Mediocre(), data))
    monkeypatch.setattr(evaluators, "precision_and_recall", altered)
    assert failed(lines(Mediocre(), data)) == ["metrics of pycocotools"]


def test_weights_that_were_changed_after_loading_fail(data, tiny_model):
    predictor = load_model(tiny_model, device="cpu")
    with torch.no_grad():
        predictor.runtime.model.roi_heads.box_predictor.cls_score.bias += torch.tensor([0.0, 0.5, -0.5, 0.0])
    assert failed(lines(predictor, data, images=2)) == [RELOADED]


def test_gray_images_skip_the_test_of_channels(tmp_path):
    class GrayDetector(ColorDetector):
        colors = GRAYS

    found = lines(GrayDetector(), write_rectangles(tmp_path / "gray", 4, GRAYS))
    assert skipped(found) == [RELOADED, VERIFIED, "swapped color channels"] and not failed(found)
    assert found["swapped color channels"].text.startswith("most images are gray")


def test_a_model_that_ignores_color_skips_the_test_of_channels(data):
    class Colorblind(ColorDetector):
        def detect(self, image):
            return super().detect(image if (image == self.colors[0]).all(axis=2).any() else image[..., ::-1])

    found = lines(Colorblind(), data)
    assert skipped(found) == [RELOADED, VERIFIED, "swapped color channels"]
    assert "hardly uses color" in found["swapped color channels"].text


def test_color_is_distinguished_from_artifacts_of_jpeg():
    gray = np.tile(np.random.default_rng(0).integers(0, 256, (40, 40, 1), np.uint8), 3)
    assert not has_color(gray) and not has_color(np.maximum(gray, [[[0, 1, 2]]]))
    assert has_color(gray // 2 + np.array([20, 0, 0], np.uint8))


def test_a_model_that_detects_nothing_fails_nothing(data):
    class Blind(ColorDetector):
        def detect(self, image):
            return super().detect(image)[:0]

    found = lines(Blind(), data)
    assert not failed(found)
    assert set(skipped(found)) == {"classes of detections", *model_tests(RUNTIMES)}


def test_where_cocos_limit_excludes_objects_the_highest_reachable_ap_is_the_target():
    boxes = [[x, y, x + 8, y + 8] for x in range(0, 160, 10) for y in range(0, 80, 10)]  # 128 objects
    records = [drawn(1, boxes, [1] * len(boxes)), drawn(2, [[0, 0, 50, 50], [60, 0, 90, 50]], [2, 2], crowds=[1])]
    subject = SimpleNamespace(records=records, class_names=SHAPES, limit=100)
    outcome = ground_truth_as_predictions(subject)
    assert outcome.status is Status.OK
    assert "below 1 for circle 0.782 (boxes), circle 0.782 (masks)" in outcome.text
    subject.limit = 200
    assert ground_truth_as_predictions(subject).text == "AP 1.000 of boxes and masks in 2 classes"


def test_a_file_of_detections_takes_the_tests_that_need_no_model(data, tmp_path):
    content = json.loads((data.parent / "val.json").read_text())
    rows = [
        {key: row[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1 - row["id"] / 100}
        for row in content["annotations"]
    ]
    (tmp_path / "results.json").write_text(json.dumps(rows))
    found = lines(tmp_path / "results.json", data)
    assert [name for name, line in found.items() if line.status is Status.OK] == list(DATA_TESTS)
    assert skipped(found) == list(model_tests(RUNTIMES))
    assert "no model to run" in found["mirrored images"].text


def test_detections_are_the_same_up_to_the_tolerances_in_any_order():
    def detections(boxes, scores, labels=(1, 1)):
        return Detections((50, 50), np.float32(boxes), np.float32(scores), np.array(labels))

    one = detections([[0, 0, 20, 20], [30, 30, 40, 40]], [0.8, 0.79])
    reordered = detections([[30, 30, 40, 40.25], [0, 0, 20, 20]], [0.796, 0.795])
    agreement = compare_detections([one], [reordered])
    assert (agreement.same, agreement.total, agreement.pixels) == (4, 4, 0.25)
    for other in (
        detections(one.boxes, [0.8, 0.7]),
        detections(one.boxes + 1, one.scores),
        detections(one.boxes, one.scores, (2, 2)),
    ):
        assert compare_detections([one], [other]).fraction < 0.6


def test_agreement_states_the_lowest_iou_of_masks_and_none_without_masks():
    def detections(*bitmaps: np.ndarray) -> Detections:
        rles = [masks.from_bitmap(bitmap) for bitmap in bitmaps]
        boxes = np.float32([[0, 0, 20, 20], [30, 30, 40, 40], [0, 30, 9, 40]])
        return Detections((50, 50), boxes, np.float32([0.9, 0.8, 0.7]), np.array([1, 1, 1]), rles)

    whole, half, empty = (np.zeros((50, 50), bool) for _ in range(3))
    whole[:20, :20], half[:20, :10] = True, True
    agreement = compare_detections([detections(whole, whole, empty)], [detections(whole, half, empty)])
    assert (agreement.same, agreement.mask_iou) == (6, 0.5)
    assert "mask IoU at least 0.5" in str(agreement)
    same = compare_detections([detections(whole, whole, empty)] * 2, [detections(whole, whole, empty)] * 2)
    assert same.mask_iou == 1.0
    boxes = Detections((9, 9), np.float32([[0, 0, 5, 5]]), np.float32([0.9]), np.array([1]))
    assert compare_detections([boxes], [boxes]).mask_iou is None


def test_detections_near_the_lowest_score_may_come_and_go():
    faint = Detections((9, 9), np.float32([[0, 0, 5, 5]]), np.float32([0.055]), np.array([1]))
    assert compare_detections([faint], [faint[:0]]).total == 0


@pytest.mark.parametrize("images", [0, 1.5])
def test_an_invalid_number_of_images_is_an_error(data, images):
    with pytest.raises(UsageError, match=r"`images=.*` must be a whole number of at least 1"):
        selftest(ColorDetector(), data, images=images)


def test_images_with_nothing_but_crowd_regions_are_not_in_the_sample(tmp_path):
    data = write_rectangles(tmp_path / "set", images=4)
    path = data.parent / "val.json"
    content = json.loads(path.read_text())
    first = content["images"][0]["id"]
    content["annotations"] = [row | {"iscrowd": int(row["image_id"] == first)} for row in content["annotations"]]
    path.write_text(json.dumps(content))
    assert "9 detections in 3 images" in lines(ColorDetector(), data)["metrics of pycocotools"].text


def test_a_split_without_objects_is_an_error(tmp_path):
    path = write_rectangles(tmp_path / "empty", 2)
    file = path.parent / "val.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"annotations": []}))
    with pytest.raises(DataError, match="has no object"):
        lines(ColorDetector(), path)
