"""Thresholds of classes in a checkpoint give the same detections everywhere as filtering all detections by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.api_server import serving
from helpers.tiny_models import CLASSES, as_checkpoint, assert_same_detections, make_image, random_model
from helpers.video_uploads import processed, video_of

from detect.cli.commands import detect_image, detect_video
from detect.errors import UsageError
from detect.inference.load import load_model, predictor_from_checkpoint
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.media.encoding import encode
from detect.media.images import write_image
from detect.media.video_reader import VideoReader
from detect.models import checkpoint
from detect.models.checkpoint_file import write_thresholds
from detect.serving.model_registry import load_models
from detect.structures.detections import Detections
from detect.structures.detections_json import detection_rows

IMAGES = [make_image((64, 96), seed) for seed in range(2)]
LIMIT = 500  # the mask head runs on each detection


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture(scope="module")
def everything(model) -> list[Detections]:
    """All detections of IMAGES, up to LIMIT per image."""
    return predictor_from_checkpoint(as_checkpoint(model), threshold=0, max_detections=LIMIT).predict_batch(IMAGES)


@pytest.fixture(scope="module")
def thresholds(everything) -> dict[str, float]:
    """For each class another quantile of its scores in the first image, which is the score of a detection."""
    found = everything[0]
    quantiles = {"kite": 0.3, "balloon": 0.6, "bird": 0.9}
    labels = {name: found.labels == CLASSES.label(name) for name in quantiles}
    return {name: float(np.quantile(found.scores[labels[name]], q, method="nearest")) for name, q in quantiles.items()}


@pytest.fixture(scope="module")
def path(model, thresholds, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "best.safetensors"
    checkpoint.save(as_checkpoint(model), path)
    write_thresholds(path, thresholds, {"split": "val"})
    return path


@pytest.fixture
def predictor(path) -> Predictor:
    return load_model(path, device="cpu", max_detections=LIMIT)


def by_hand(found: Detections, thresholds: dict[str, float], names: tuple[str, ...] = CLASSES.names) -> Detections:
    """Return the detections of the named classes that reach the threshold of their class, one after the other."""
    pairs = zip(found.names, found.scores, strict=True)
    return found[
        [i for i, (name, score) in enumerate(pairs) if name in names and score >= np.float32(thresholds[name])]
    ]


def assert_close(found: Detections, expected: Detections) -> None:
    # 1e-6 because the mask head runs on another number of boxes
    assert_same_detections(found, expected, px=1e-3, score=1e-6, min_count=5)


def test_each_class_is_filtered_by_its_own_threshold(predictor, everything, thresholds):
    assert predictor.class_thresholds == thresholds and predictor.threshold == min(thresholds.values())
    for image, every in zip(IMAGES, everything, strict=True):
        found, expected = predictor(image), by_hand(every, thresholds)
        assert_close(found, expected)
        assert len(found) < len(every.filter(min(thresholds.values())))
        assert found.masks and expected.masks and found.masks[:10] == expected.masks[:10]
    kept = predictor(IMAGES[0])
    for name, threshold in thresholds.items():  # a score equal to the threshold is kept
        assert kept.filter(labels=[CLASSES.label(name)]).scores.min() == pytest.approx(threshold, abs=1e-6)


@pytest.mark.slow
def test_batches_and_single_images_give_the_same_detections(predictor):
    for together, image in zip(predictor(IMAGES, batch_size=3), IMAGES, strict=True):
        assert_same_detections(together, predictor(image), px=0.01, score=1e-4, min_count=5)


def test_a_given_threshold_applies_to_all_classes(predictor, path, everything):
    given = float(everything[0].scores[40])
    expected = everything[0].filter(given)
    assert len(expected) == 41
    assert_close(predictor(IMAGES[0], threshold=given), expected)
    other = load_model(path, device="cpu", threshold=given, max_detections=LIMIT)
    assert set(other.class_thresholds.values()) == {given} == {other.threshold}
    assert_close(other(IMAGES[0]), expected)


@pytest.mark.parametrize("names", [("kite",), ("bird",), ("balloon", "bird")])
def test_selected_classes_keep_their_own_thresholds(predictor, everything, thresholds, names):
    found = predictor(IMAGES[0], classes=names)
    assert set(found.names) == set(names)
    assert_same_detections(found, by_hand(everything[0], thresholds, names), px=1e-3, score=1e-6, min_count=1)
    assert len(predictor.predict_batch(IMAGES[:1], labels=[])[0]) == 0


@pytest.mark.parametrize("names", [CLASSES.names, ("bird",)])
def test_the_mask_head_only_runs_on_boxes_above_the_lowest_wanted_threshold(
    predictor, everything, thresholds, names, monkeypatch
):
    head, rows = predictor.runtime.model.roi_heads.mask_predictor, []
    monkeypatch.setattr(head, "forward", lambda x, forward=head.forward: rows.append(len(x)) or forward(x))
    predictor(IMAGES[0], classes=names)
    lowest = min(thresholds[name] for name in names)
    assert rows == [len(everything[0].filter(lowest))] and rows[0] < len(everything[0])


def test_classes_without_an_entry_have_the_threshold_of_the_checkpoint(model):
    saved = replace(as_checkpoint(model), threshold=0.4, class_thresholds={"bird": 0.2})
    predictor = predictor_from_checkpoint(saved)
    assert predictor.class_thresholds == {"kite": 0.4, "balloon": 0.4, "bird": 0.2} and predictor.threshold == 0.2
    predictor.threshold = 0.3
    assert set(predictor.class_thresholds.values()) == {0.3}


def test_invalid_thresholds_of_a_predictor_are_refused(model):
    with pytest.raises(UsageError, match="unknown class 'kites': did you mean kite"):
        Predictor(TorchRuntime(model), CLASSES, class_thresholds={"kites": 0.5})
    with pytest.raises(UsageError, match="`threshold=2`"):
        Predictor(TorchRuntime(model), CLASSES, class_thresholds={"kite": 2})


def test_the_limit_is_reached_if_a_wanted_detection_may_be_missing(model):
    """The limit is that of the model, so it is reached by detections of all classes together."""
    saved, limit = as_checkpoint(model), 20
    last = float(predictor_from_checkpoint(saved, threshold=0, max_detections=limit)(IMAGES[0]).scores[-1])
    reached = {"kite": last - 0.001, "balloon": 1.0, "bird": 1.0}  # a kite with a lower score may be missing
    complete = dict.fromkeys(CLASSES.names, last + 0.001)
    for thresholds, classes, expected in (
        (reached, None, True),
        (reached, ["kite"], True),
        (reached, ["balloon", "bird"], False),
        (complete, None, False),
        ({**complete, "bird": 0.0}, ["kite"], False),
        ({**complete, "bird": 0.0}, ["bird"], True),
    ):
        predictor = predictor_from_checkpoint(replace(saved, class_thresholds=thresholds), max_detections=limit)
        result = predictor(IMAGES[0], classes=classes)
        assert result.limit_reached == expected, (thresholds, classes)
        assert len(result) <= limit
        (all_of_model,) = predictor([IMAGES[0]], threshold=0)
        labels = None if classes is None else CLASSES.labels(classes)
        assert all_of_model.filter(thresholds, labels).limit_reached == expected


# Programs


def rows_by_hand(predictor: Predictor, image: np.ndarray, thresholds: dict[str, float], **limits: float) -> list[dict]:
    (every,) = predictor.predict_batch([image], threshold=0)
    return detection_rows(by_hand(every, thresholds | limits), CLASSES)


def assert_rows(rows: list[dict], expected: list[dict]) -> None:
    assert [row["name"] for row in rows] == [row["name"] for row in expected] and rows
    np.testing.assert_allclose([row["score"] for row in rows], [row["score"] for row in expected], atol=1e-5)
    boxes = [[row["box_xyxy"] for row in some] for some in (rows, expected)]
    np.testing.assert_allclose(*boxes, atol=1e-2)


@pytest.fixture
def usual(path) -> Predictor:
    """The model with its own limit of 100 detections, as the programs load it."""
    return load_model(path, device="cpu")


def test_detect_image_uses_the_thresholds_and_says_so(run_script, path, usual, thresholds, tmp_path, capsys):
    write_image(tmp_path / "a.png", IMAGES[0])
    flags = ["--input", tmp_path / "a.png", "--model", path, "--device", "cpu", "--save-json", "--name", "x"]
    assert run_script(detect_image, *flags) == 0
    (one,) = json.loads((tmp_path / "out" / "x" / "detections.json").read_text())["images"]
    assert_rows(one["detections"], rows_by_hand(usual, IMAGES[0], thresholds))
    words = ", ".join(f"{name} {thresholds[name]:.3g}" for name in CLASSES.names)
    assert capsys.readouterr().out.splitlines()[0] == f"model: {path}, thresholds {words} (from the checkpoint)"


def test_a_flag_of_detect_image_replaces_the_thresholds(run_script, path, usual, thresholds, tmp_path, capsys):
    write_image(tmp_path / "a.png", IMAGES[0])
    given = min(thresholds.values())
    flags = ["--input", tmp_path / "a.png", "--model", path, "--device", "cpu", "--save-json", "--name", "x"]
    assert run_script(detect_image, *flags, "--threshold", given) == 0
    (one,) = json.loads((tmp_path / "out" / "x" / "detections.json").read_text())["images"]
    assert_rows(one["detections"], rows_by_hand(usual, IMAGES[0], dict.fromkeys(thresholds, given)))
    assert capsys.readouterr().out.startswith(f"model: {path}, threshold {given:.3g}\n")


def test_detect_video_uses_the_thresholds_and_says_so(run_script, path, usual, thresholds, tmp_path, capsys):
    video_of(tmp_path / "clip.mp4", 2)
    flags = ["--input", tmp_path / "clip.mp4", "--model", path, "--device", "cpu", "--save-json", "--name", "x"]
    assert run_script(detect_video, *flags) == 0
    lines = (tmp_path / "out" / "x" / "clip.jsonl").read_text().splitlines()
    with VideoReader(tmp_path / "clip.mp4") as video:
        frames = [frame.image for frame in video]
    for line, image in zip(lines, frames, strict=True):
        assert_rows(json.loads(line)["detections"], rows_by_hand(usual, image, thresholds))
    assert capsys.readouterr().out.startswith(f"model: {path}, thresholds kite ")


def test_the_rest_api_uses_the_thresholds_and_lists_them(path, usual, thresholds, tmp_path):
    (served,) = load_models({"mine": str(path)}, device="cpu").values()
    body = encode(IMAGES[0], "PNG")
    given = sorted(thresholds.values())[1]
    with serving(served) as client:

        def rows(**query: object) -> list[dict]:
            return client.post("/v1/detect", params=query, content=body).json()["images"][0]["detections"]

        assert_rows(rows(), rows_by_hand(usual, IMAGES[0], thresholds))
        assert_rows(rows(classes=["kite"]), rows_by_hand(usual, IMAGES[0], thresholds, balloon=2.0, bird=2.0))
        assert_rows(rows(threshold=given), rows_by_hand(usual, IMAGES[0], dict.fromkeys(thresholds, given)))
        (model,) = client.get("/v1/models").json()["models"]
        assert {one["name"]: one["threshold"] for one in model["classes"]} == thresholds
        assert model["threshold"] == min(thresholds.values())
        job = processed(client, video_of(tmp_path / "clip.mp4", 1))
        (line,) = client.get(f"/v1/jobs/{job['id']}/detections").text.splitlines()
    with VideoReader(tmp_path / "clip.mp4") as video:
        (frame,) = [frame.image for frame in video]
    assert_rows(json.loads(line)["detections"], rows_by_hand(usual, frame, thresholds))
