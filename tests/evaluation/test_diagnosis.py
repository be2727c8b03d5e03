"""The diagnosis names the faults of models that are broken on purpose, and finds none in a good one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.evaluations import COLORS, analysis_of, detected, grid, with_files, without_masks
from helpers.scenes import SHAPES, drawn, nothing
from helpers.tiny_models import TINY_ARCHITECTURE, as_checkpoint, random_model
from helpers.trained_images import list_train_images

from detect.data.dataset import read_record
from detect.data.digests import TRAIN_IMAGES
from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.anchor_sizes import check_anchor_sizes
from detect.evaluation.diagnosis.checks import find_causes
from detect.evaluation.diagnosis.class_confusion import detected_as
from detect.evaluation.diagnosis.dataset_fit import check_classes, check_images_without_detections
from detect.evaluation.diagnosis.finding import Finding, Severity, percent
from detect.evaluation.diagnosis.score_thresholds import check_thresholds
from detect.evaluation.diagnosis.training_images import check_training_images
from detect.evaluation.diagnosis.training_progress import check_training
from detect.evaluation.saved_model import SavedModel
from detect.inference.load import load_model
from detect.models import checkpoint
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


def problems(analysis: Analysis) -> list[Finding]:
    return [finding for finding in find_causes(analysis) if finding.severity is Severity.PROBLEM]


def titles(analysis: Analysis, severity: Severity = Severity.PROBLEM) -> list[str]:
    return [finding.title for finding in find_causes(analysis) if finding.severity is severity]


class ColorDetector:
    """A predictor that finds rectangles of exactly the color of their class in images of ``with_files``."""

    class_names = SHAPES
    class_thresholds = dict.fromkeys(SHAPES.names, 0.5)
    path = None
    name = "colors"
    imgsz, max_detections, has_masks, device = 120, 100, False, "cpu"
    runtime = SimpleNamespace(anchor_grid=lambda: None)

    def __init__(self, swapped: bool) -> None:
        self.swapped = swapped  # whether it was "trained" on BGR images

    def predict_batch(self, images: Sequence[np.ndarray], labels=None, threshold=None) -> list[Detections]:
        return [self.detect(image[..., ::-1] if self.swapped else image) for image in images]

    def detect(self, image: np.ndarray) -> Detections:
        boxes, labels = [], []
        for label in range(1, 4):
            y, x = np.nonzero(self.shows(image, label))
            if len(x):
                boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
                labels.append(label)
        scores = np.full(len(boxes), 0.9, np.float32)
        boxes = np.float32(boxes).reshape(-1, 4)
        return Detections(image.shape[:2], boxes, scores, np.array(labels, np.int64), class_names=SHAPES)

    def shows(self, image: np.ndarray, label: int) -> np.ndarray:
        """Return which pixels have the color of a class, bool [H, W]."""
        return (image == COLORS[label]).all(axis=2)


class RedOrBlueDetector(ColorDetector):
    """A predictor that calls what is more red than blue a circle (label 1), and the opposite a triangle (label 3)."""

    def shows(self, image: np.ndarray, label: int) -> np.ndarray:
        red_minus_blue = image[..., 0].astype(int) - image[..., 2]
        return {1: red_minus_blue > 90, 2: image[..., 0] < 0, 3: red_minus_blue < -90}[label]


def test_perfect_detections_have_no_problem(tmp_path):
    records = with_files(grid(), tmp_path)
    assert not problems(analysis_of(records, detected(records)))


def test_swapped_labels_are_named_with_both_classes():
    records = without_masks(grid())
    (finding,) = problems(analysis_of(records, detected(records, {1: 2, 2: 1})))
    assert finding.title == "circle and square seem to be swapped"
    assert finding.text.count("100 %") == 2


def test_swapped_labels_are_found_below_other_errors():
    records = without_masks(grid(20))
    found = detected(records, {1: 2, 2: 1})
    found[0] = detected(records[:1])[0]
    found[1] = Detections(records[1].image_hw)
    (finding,) = problems(analysis_of(records, found))
    assert finding.title == "circle and square seem to be swapped"
    assert finding.text.count("95 %") == 2


def test_checks_that_need_correct_classes_are_not_judged_while_labels_are_swapped():
    records = without_masks(grid(20))
    good = {finding.title for finding in find_causes(analysis_of(records, detected(records)))}
    swapped = analysis_of(records, detected(records, {1: 2, 2: 1}))
    assert {"Threshold", "Object sizes"} <= good
    assert set(titles(swapped, Severity.UNJUDGED)) == {"threshold", "object sizes"}
    assert not {"Threshold", "Object sizes"} & set(titles(swapped, Severity.FINE))


def test_labels_in_a_cycle_are_named_as_mixed_up():
    records = without_masks(grid())
    found = find_causes(analysis_of(records, detected(records, {1: 3, 2: 1, 3: 2})))
    assert "circle is called triangle" in found[0].text and "triangle is called square" in found[0].text
    assert found[0].severity is Severity.PROBLEM


def test_labels_that_are_shifted_by_one_are_named_as_shifted():
    names = ClassNames(("a", "b", "c", "d", "e"))
    records = without_masks(
        drawn(i, [[5 + 30 * k, 10, 30 + 30 * k, 60] for k in range(4)], [1, 2, 3, 4]) for i in range(4)
    )
    (title,) = titles(analysis_of(records, detected(records, {k: k + 1 for k in range(1, 5)}), names))
    assert title == "The numbers of 4 classes seem to be shifted by 1 (as if background were a class)"


def test_one_class_that_is_detected_as_another_is_a_warning():
    records = without_masks(grid())
    analysis = analysis_of(records, detected(records, {1: 2}))
    assert "circle is mostly detected as square" in titles(analysis, Severity.WARNING)
    assert not any("swapped" in title for title in titles(analysis))


def test_every_object_is_counted_once_as_what_it_is_detected_as():
    records = without_masks(grid(5))
    matrix = detected_as(analysis_of(records, detected(records, {2: 3})))
    assert matrix.sum() == 15 and matrix[1, 1] == 5 and matrix[2, 3] == 5 and matrix[3, 3] == 5


@pytest.mark.parametrize("swapped", [True, False])
def test_a_model_that_was_trained_on_bgr_is_better_with_swapped_channels(tmp_path, swapped):
    records = without_masks(with_files(grid(20, labels=(1, 3)), tmp_path))
    predictor = ColorDetector(swapped)
    found = [predictor.predict_batch([read_record(record)])[0] for record in records]
    named = "The model was probably trained on BGR images"
    assert (named in titles(analysis_of(records, found, predictor=predictor))) == swapped


def test_classes_that_are_confused_by_swapped_channels_are_explained_by_them(tmp_path):
    records = without_masks(with_files(grid(20, labels=(1, 3)), tmp_path))
    predictor = RedOrBlueDetector(swapped=True)
    found = [predictor.predict_batch([read_record(record)])[0] for record in records]
    findings = find_causes(analysis_of(records, found, predictor=predictor))
    assert findings[0].title == "The model was probably trained on BGR images"
    (confused,) = (finding for finding in findings if finding.title.endswith("seem to be swapped"))
    assert confused.severity is Severity.WARNING and confused.advice.startswith("Fix the order of the channels first")


def test_a_model_of_another_channel_order_is_repaired_by_exchanging_its_first_weights_mean_and_std():
    model, repaired = random_model(), random_model()
    (name,) = (name for name, value in model.state_dict().items() if value.ndim == 4 and value.shape[1] == 3)
    state = model.state_dict()
    repaired.load_state_dict(state | {name: state[name].flip(1)})
    transform = repaired.transform
    transform.image_mean, transform.image_std = transform.image_mean[::-1], transform.image_std[::-1]
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (expected,), (found,) = model.eval()([image.flip(0)]), repaired.eval()([image])
    for name in ("boxes", "scores"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-2)
    assert len(expected["boxes"])


def test_without_a_model_no_probe_is_made():
    records = without_masks(grid())
    assert not any("hannel" in finding.title for finding in find_causes(analysis_of(records, detected(records))))


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    checkpoint.save(as_checkpoint(random_model(), classes=SHAPES), path)
    return path


@pytest.mark.parametrize(
    ("anchors", "named"),
    [
        ((2, 3), "The anchors are too small for these objects"),
        ((400, 500), "The anchors are too large for these objects"),
        ((15, 30), None),
    ],
)
def test_anchors_that_do_not_reach_the_objects_are_named(tmp_path, anchors, named):
    architecture = replace(TINY_ARCHITECTURE, anchors=(anchors,) * 5)
    path = tmp_path / "model.safetensors"
    checkpoint.save(as_checkpoint(random_model(architecture), architecture, SHAPES), path)
    records = with_files(grid(3, side=50), tmp_path)
    analysis = analysis_of(records, detected(records), predictor=load_model(path, device="cpu"))
    (finding,) = check_anchor_sizes(analysis)
    assert finding.title == (named or "Anchors")
    assert (finding.severity is Severity.PROBLEM) == bool(named)


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "named"), [(0.95, "The threshold is too high"), (0.5, None)])
def test_a_threshold_that_hides_correct_detections_is_too_high(tmp_path, tiny_model, threshold, named):
    predictor = load_model(tiny_model, threshold=threshold, device="cpu")
    records = with_files(grid(), tmp_path)
    found = [
        f for f in problems(analysis_of(records, detected(records), predictor=predictor)) if "threshold" in f.title
    ]
    assert [finding.title for finding in found] == ([named] if named else [])
    if named:
        assert "0.95, 0 % of the objects are found, and nothing is detected" in found[0].text


def test_a_threshold_that_shows_many_false_positives_is_too_low(tmp_path, tiny_model):
    records = with_files(grid(), tmp_path)
    wrong = np.float32([[x, 70, x + 20, 110] for x in range(0, 130, 10)])
    found = [
        Detections(
            record.image_hw,
            np.concatenate([record.boxes, wrong]),
            np.float32([0.9] * len(record) + [0.2] * len(wrong)),
            np.array([*record.labels, *[1] * len(wrong)]),
        )
        for record in records
    ]
    predictor = load_model(tiny_model, threshold=0.1, device="cpu")
    (finding,) = check_thresholds(analysis_of(records, found, predictor=predictor))
    assert finding.title == "The threshold is too low"


def trained_on(records, evaluated, path, missed=()) -> Analysis:
    """Return an analysis of perfect detections, but none in ``missed``, of a model that was trained on ``records``."""
    data = list_train_images(records, path)
    saved = replace(as_checkpoint(random_model(), classes=SHAPES), data=data)
    found = detected([record for record in evaluated if record not in missed])
    analysis = analysis_of(evaluated, found + nothing(missed))
    analysis.saved = SavedModel(path / "best.safetensors", "0", saved, [])
    return analysis


def test_evaluated_training_images_are_counted(tmp_path):
    records = with_files(grid(10), tmp_path)
    (finding,) = problems(trained_on(records[:4], records, tmp_path))
    assert finding.title == "The model was trained on evaluated images"
    assert "4 of 10 evaluated images (40 %)" in finding.text and "image_0.png" in finding.text
    assert finding.files == tuple(f"image_{i}.png" for i in range(4))


def test_a_missing_list_of_training_images_is_a_finding(tmp_path):
    records = with_files(grid(4), tmp_path)
    analysis = trained_on(records, records, tmp_path)
    (tmp_path / TRAIN_IMAGES).unlink()
    (finding,) = check_training_images(analysis)
    assert finding.severity is Severity.WARNING and "train_images.txt is missing beside the model" in finding.text


def test_only_a_higher_ap_on_training_images_shows_that_the_model_remembers_them(tmp_path):
    records = with_files(grid(10), tmp_path)
    analysis = trained_on(records[:4], records, tmp_path)
    (finding,) = problems(analysis)
    assert "AP50 is 1.00 on those and 1.00 on the others: not higher" in finding.text
    analysis = trained_on(records[:4], records, tmp_path, missed=records[4:])
    assert "AP50 is 1.00 on those and 0.00 on the others: it remembers" in next(check_training_images(analysis)).text
    assert analysis.ap50_by_training == (1, 0)


def test_other_images_than_those_of_the_training_are_fine(tmp_path):
    records = with_files(grid(10), tmp_path)
    assert not problems(trained_on(records[:5], records[5:], tmp_path))


def test_classes_that_the_model_lacks_are_a_problem(tmp_path, tiny_model):
    names = ClassNames(("circle", "square", "triangle", "star"))
    records = with_files(grid(), tmp_path)
    analysis = analysis_of(records, detected(records), names, predictor=load_model(tiny_model, device="cpu"))
    assert next(check_classes(analysis)).title == "The model lacks 1 class of the dataset"


def test_a_model_that_detects_nothing_is_a_problem_and_not_praised():
    records = without_masks(grid(20))
    found = find_causes(analysis_of(records, nothing(records, with_masks=False)))
    assert found[0].title == "The model detects no object"
    assert not {"Class names", "Threshold", "Object sizes"} & {finding.title for finding in found}


def test_images_that_were_left_out_of_a_file_of_detections_are_a_problem():
    records = without_masks(grid(10))
    found = [one if i < 4 else one[:0] for i, one in enumerate(detected(records))]
    (finding,) = check_images_without_detections(analysis_of(records, found))
    assert finding.severity is Severity.PROBLEM and "in 6 of 10 images with objects" in finding.text
    assert not list(check_images_without_detections(analysis_of(records, detected(records))))


def test_small_objects_that_are_missed_are_named():
    boxes = [[5, 5, 9, 9], *([20 + 40 * i, 20, 50 + 40 * i, 60] for i in range(3))]
    records = without_masks(drawn(i, boxes, [1] * 4) for i in range(12))
    found = [Detections(r.image_hw, r.boxes[1:], np.float32([0.9, 0.8, 0.7]), r.labels[1:]) for r in records]
    assert "Mostly the smallest objects are missed" in titles(analysis_of(records, found), Severity.WARNING)


def test_large_objects_that_are_missed_are_named():
    boxes = [[5, 5, 65, 85], *([80 + 20 * i, 20, 92 + 20 * i, 32] for i in range(3))]
    records = without_masks(drawn(i, boxes, [1] * 4) for i in range(12))
    found = [Detections(r.image_hw, r.boxes[1:], np.float32([0.9, 0.8, 0.7]), r.labels[1:]) for r in records]
    assert "Mostly the largest objects are missed" in titles(analysis_of(records, found), Severity.WARNING)


@pytest.mark.parametrize(("reached", "is_named"), [(2, True), (1, False)])
def test_a_model_that_stops_at_its_maximum_in_over_5_percent_of_the_images_is_named(reached, is_named):
    records = without_masks(grid(20))
    found = [replace(one, limit_reached=i < reached) for i, one in enumerate(detected(records))]
    found = titles(analysis_of(records, found), Severity.WARNING)
    assert ("The model often reaches its maximum number of detections" in found) == is_named


def test_confident_detections_without_an_annotation_may_be_missing_annotations():
    records = without_masks(grid())
    found = detected(records)
    unannotated = [replace(r, boxes=r.boxes[:2], labels=r.labels[:2], areas=r.areas[:2], iscrowd=r.iscrowd[:2],
                           annotation_ids=r.annotation_ids[:2]) for r in records]  # fmt: skip
    found = [replace(one, scores=np.float32([0.95, 0.94, 0.93])) for one in found]
    analysis = analysis_of(unannotated, found)
    assert "Annotations may be missing" in titles(analysis, Severity.WARNING)


@pytest.mark.parametrize(
    ("training", "advice"),
    [
        ({"anchors": "fitted"}, "The model was trained with `anchors='fitted'`"),
        ({"anchors": "default"}, "The model was trained with `anchors='default'`"),
        ({"anchors": "fitted", "imgsz": 640}, "Evaluate with `imgsz=640`"),
        ({}, "Train again with anchors fitted"),
    ],
)
def test_advice_on_anchors_depends_on_how_they_were_chosen(tmp_path, training, advice):
    architecture = replace(TINY_ARCHITECTURE, anchors=((2, 3),) * 5)
    path = tmp_path / "model.safetensors"
    saved = as_checkpoint(random_model(architecture), architecture, SHAPES)
    checkpoint.save(replace(saved, training=training), path)
    records = with_files(grid(3, side=50), tmp_path)
    (finding,) = check_anchor_sizes(analysis_of(records, detected(records), predictor=load_model(path, device="cpu")))
    assert finding.advice.startswith(advice)


def test_a_training_of_three_epochs_is_named_as_very_short(tmp_path):
    records = without_masks(grid())
    analysis = analysis_of(records, detected(records))
    epochs = [{"epoch": i + 1, "losses": {}, "val": {"bbox": {"AP": 0.1}}} for i in range(3)]
    analysis.saved = SavedModel(tmp_path, "0", as_checkpoint(random_model(), classes=SHAPES), epochs)
    (finding,) = check_training(analysis)
    assert finding.title == "The training was very short" and "3 epochs" in finding.text


def test_a_training_that_still_improved_at_its_end_is_named(tmp_path):
    records = with_files(grid(), tmp_path)

    def named(aps: Sequence[float]) -> list[str]:
        epochs = [{"epoch": i + 1, "losses": {}, "val": {"bbox": {"AP": ap}}} for i, ap in enumerate(aps)]
        analysis = analysis_of(records, detected(records))
        analysis.saved = SavedModel(tmp_path, "0", as_checkpoint(random_model(), classes=SHAPES), epochs)
        return titles(analysis, Severity.WARNING)

    assert "The training ended too early" in named([0.1, 0.2, 0.3, 0.4])
    assert "The training ended too early" not in named([0.1, 0.4, 0.4, 0.4])


@pytest.mark.parametrize(("last", "is_named"), [(0.7, True), (0.6, False)])
def test_a_training_whose_loss_on_val_rose_far_above_its_minimum_is_overfitted(tmp_path, last, is_named):
    losses = [1.0, 0.5, 0.55, last]
    epochs = [
        {"epoch": i + 1, "losses": {}, "val": {"bbox": {"AP": 0.4}}, "val_losses": {"loss": loss}}
        for i, loss in enumerate(losses)
    ]
    records = without_masks(grid())
    analysis = analysis_of(records, detected(records))
    analysis.saved = SavedModel(tmp_path, "0", as_checkpoint(random_model(), classes=SHAPES), epochs)
    (finding,) = check_training(analysis)
    assert finding.title == ("The model is overfitted" if is_named else "Training")
    assert ("lowest (0.50) in epoch 2 and rose to 0.70" in finding.text) == is_named


def test_percentages_are_exact_at_their_ends():
    assert [percent(x) for x in (0, 0.001, 0.5, 0.999, 1)] == ["0 %", "under 1 %", "50 %", "over 99 %", "100 %"]
