"""An exported model detects what its checkpoint detects, and loads without settings."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.exports import IMAGES, TARGETS, save
from helpers.folders import ROOT
from helpers.tiny_models import as_checkpoint, assert_same_detections
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_iou

import detect
from detect.cli.commands import detect_image, evaluate, export
from detect.cli.exit_status import exit_status
from detect.deployment.recording import record_int8
from detect.errors import UsageError
from detect.inference.runtimes.openvino_runtime import read_folder
from detect.media.images import write_image
from detect.models import checkpoint
from detect.models.architecture import detector_architecture
from detect.models.builder import build
from detect.models.checkpoint_file import write_thresholds
from detect.models.fast_settings import Cost, FastSettings, write_fast_settings
from detect.models.zoo import OPENVINO_FILE


def assert_exports_detect_the_same(original: detect.Predictor, path: Path, batches: list[list[np.ndarray]]) -> None:
    other = detect.load_model(path)
    threshold = 0.02
    for batch in batches:
        expected, found = (one.predict_batch(batch, threshold=threshold) for one in (original, other))
        assert sum(map(len, expected)) > 3 * len(batch)
        for one, same in zip(found, expected, strict=True):
            assert_same_detections(one, same, px=0.02, score=1e-4, min_count=0)
    assert all(not len(one) for one in other.predict_batch(batches[0], threshold=1.0))


# Equal detections


@pytest.mark.parametrize("to", TARGETS)
def test_export_detects_the_same_for_other_sizes_batches_and_without_objects(folder, exported, to):
    original = detect.load_model(folder / "masks.safetensors", device="cpu")
    assert_exports_detect_the_same(original, exported[to], [[image] for image in IMAGES] + [IMAGES[:1] * 2 + IMAGES])


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
def test_export_without_masks_detects_the_same(folder, tmp_path, to):
    path = detect.export(folder / "boxes.safetensors", to, output_dir=tmp_path).path
    original = detect.load_model(folder / "boxes.safetensors", device="cpu")
    assert not detect.load_model(path).has_masks
    assert_exports_detect_the_same(original, path, [IMAGES[:1], IMAGES])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v1", "maskrcnn_v2", "mobilenet", "retinanet_v2", "fcos", "ssdlite", "ssd300"])
def test_export_of_every_kind_of_detector_detects_the_same(tmp_path, name):
    path = save(detector_architecture(name, None if name.startswith("ssd") else 96), tmp_path / "model.safetensors")
    original = detect.load_model(path, device="cpu")
    batch = IMAGES[:1] * 2 + IMAGES[3:4]
    expected = original.predict_batch(batch, threshold=0.01)
    for to in TARGETS:
        other = detect.load_model(detect.export(path, to, output_dir=tmp_path / "out").path)
        for one, same in zip(other.predict_batch(batch, threshold=0.01), expected, strict=True):
            # Rounding changes which of two overlapping boxes with nearly equal scores NMS keeps.
            assert (
                matched(with_area(one), with_area(same)) >= 0.95 * max(len(with_area(one)), len(with_area(same))) > 5
            )


def with_area(found: detect.Detections) -> detect.Detections:
    """Return the detections whose boxes are not empty; only those have an IoU."""
    return found[(found.boxes[:, 2:] > found.boxes[:, :2]).all(axis=1)]


def matched(one: detect.Detections, other: detect.Detections) -> int:
    """Return the number of detections with a counterpart of the same class, place and score."""
    iou = box_iou(torch.from_numpy(one.boxes), torch.from_numpy(other.boxes)).numpy()
    iou[one.labels[:, None] != other.labels] = 0
    iou[np.abs(one.scores[:, None] - other.scores) > 2e-3] = 0
    return int((iou[linear_sum_assignment(-iou)] > 0.95).sum())


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
def test_exported_keypoint_detector_finds_the_same_points(tmp_path, to):
    architecture = replace(detector_architecture("keypointrcnn", 64), max_detections=5)
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    checkpoint.save(as_checkpoint(build(architecture, 2), architecture, detect.ClassNames(("person",))), path)
    original = detect.load_model(path, device="cpu")
    other = detect.load_model(detect.export(path, to, output_dir=tmp_path / "out").path)
    (expected,), (found,) = (one.predict_batch(IMAGES[:1], threshold=0.0) for one in (original, other))
    assert len(found) == len(expected) == 5
    assert found.keypoints.shape == (5, 17, 3)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.02)
    # A heatmap may have two maxima that differ by rounding only.
    assert (np.abs(found.keypoints - expected.keypoints).max(axis=2) < 0.05).mean() > 0.95
    assert all(not len(one) for one in other.predict_batch(IMAGES[:2], threshold=1.0))


# Metadata


@pytest.mark.parametrize("to", TARGETS)
def test_export_loads_with_the_settings_of_the_checkpoint(folder, exported, to):
    original = detect.load_model(folder / "masks.safetensors", device="cpu")
    other = detect.load_model(exported[to])
    for name in ("class_names", "class_thresholds", "imgsz", "max_detections", "has_masks", "training_shrink"):
        assert getattr(other, name) == getattr(original, name), name
    assert other.resized_hw((300, 700)) == original.resized_hw((300, 700))
    assert other.runtime.num_parameters == original.runtime.num_parameters
    assert other.runtime.anchor_grid().sizes == original.runtime.anchor_grid().sizes
    assert other.runtime.name == {"onnx": "onnxruntime", "openvino": "openvino"}[to]


@pytest.mark.slow
def test_nms_is_a_part_of_onnx_models_only(folder, exported):
    for settings in ({"nms": 0.2}, {"one_label_per_object": True}):
        with pytest.raises(UsageError, match=next(iter(settings))):
            detect.load_model(exported["onnx"], **settings)
        other = detect.load_model(exported["openvino"], threshold=0.01, **settings)
        original = detect.load_model(folder / "masks.safetensors", device="cpu", threshold=0.01, **settings)
        for one, expected in zip(other.predict_batch(IMAGES[:2]), original.predict_batch(IMAGES[:2]), strict=True):
            assert len(one) == len(expected) > 0
    assert detect.load_model(exported["onnx"], nms=0.5, tile="auto").nms == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
def test_size_and_limit_of_the_export_are_kept(folder, tmp_path, to):
    model = folder / "boxes.safetensors"
    path = detect.export(model, to, imgsz=96, max_detections=7, output_dir=tmp_path).path
    other = detect.load_model(path)
    assert other.imgsz == 96 and other.max_detections == 7
    assert len(other.predict_batch(IMAGES[:1], threshold=0.0)[0]) == 7
    assert detect.load_model(path, imgsz=96).imgsz == 96
    for wrong in ({"imgsz": 64}, {"max_detections": 8}):
        with pytest.raises(UsageError, match="was exported with"):
            detect.load_model(path, **wrong)


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
def test_comparison_with_the_original_is_returned_and_stored(folder, tmp_path, to):
    model = folder / "masks.safetensors"
    result = detect.export(model, to, verify_data=folder / "few.yaml", output_dir=tmp_path)
    assert result.verification.largest_drop == pytest.approx(0, abs=0.1)
    assert result.verification.agreement.fraction > 0.95
    facts = detect.load_model(result.path).runtime.facts
    assert facts.verification == json.loads(json.dumps(result.verification.to_json()))
    assert facts.verification["images"] == 3 and set(facts.verification["AP"]["before"]) == {"bbox", "segm"}


# Programs


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
def test_programs_export_a_model_and_detect_with_it(folder, tmp_path, monkeypatch, capsys, to):
    def run(main, *words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["x.py", *map(str, words)])
        return exit_status(main)

    model, out = folder / "masks.safetensors", tmp_path / "out"
    data = ("--verify-data", folder / "few.yaml")
    assert run(export.main, "--model", model, "--to", to, *data, "--output-dir", out, "--name", "m", "--quiet") == 0
    printed = capsys.readouterr().out
    assert "bbox AP" in printed and "ms per image" in printed
    path = out / "m" / "m.onnx" if to == "onnx" else out / "m"
    assert str(path) in printed
    write_image(tmp_path / "a.jpg", IMAGES[0])
    words = (
        "--input",
        tmp_path / "a.jpg",
        "--model",
        path,
        "--output-dir",
        tmp_path,
        "--name",
        "found",
        "--save-json",
    )
    assert run(detect_image.main, *words) == 0
    assert (tmp_path / "found" / "detections.json").is_file()
    scored = ("--model", path, "--data", folder / "few.yaml", "--split", "val", "--quiet")
    to_folder = ("--output-dir", tmp_path, "--name", "eval", "--no-intervals")
    assert run(evaluate.main, *scored, *to_folder, "--compare", model, "--report") == 0
    assert (tmp_path / "eval" / "report.html").is_file()
    capsys.readouterr()
    assert run(evaluate.main, *scored, "--selftest") in (0, 3)
    lines = capsys.readouterr().out.splitlines()
    for start in ("ok   shuffled images", "ok   AP of the verified export", "skip checkpoint saved and loaded"):
        assert any(line.startswith(start) for line in lines), lines


SIGNAL_AFTER_MODELS = """
import faulthandler, gc, signal, sys
import detect
faulthandler.enable()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
models = [detect.load_model(sys.argv[1]) for _ in range(3)]
while models:
    del models[0]
    gc.collect()
signal.raise_signal(signal.SIGUSR1)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="a signal of POSIX")
def test_signals_are_handled_after_openvino_models_are_deleted(exported):
    command = [sys.executable, "-c", SIGNAL_AFTER_MODELS, str(exported["openvino"])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
def test_number_of_proposals_of_the_export_is_kept(folder, tmp_path, to):
    settings = {"proposals": 20, "max_detections": 200}  # more detections take more proposals, unless they are given
    path = detect.export(folder / "masks.safetensors", to, output_dir=tmp_path, **settings).path
    other, original = detect.load_model(path), detect.load_model(folder / "masks.safetensors", **settings)
    assert (other.proposals, other.max_detections) == (20, 200)
    assert other.runtime.saved.architecture["max_proposals"] == 20
    assert_exports_detect_the_same(original, path, [IMAGES[:1]])
    if to == "onnx":
        with pytest.raises(UsageError, match="part of an ONNX model"):
            detect.load_model(path, proposals=10)
    else:
        assert detect.load_model(path, proposals=10).proposals == 10


def test_fast_needs_an_export_that_can_classify_as_few_proposals(exported, monkeypatch):
    def measured(proposals: int) -> None:
        settings = FastSettings(proposals=proposals, proposals_cost=Cost(0.05, 0.5, "cpu", "few val"))
        monkeypatch.setattr("detect.inference.load.fast_settings", lambda saved, name: settings)

    measured(30)
    assert detect.load_model(exported["openvino"], fast=True).proposals == 30
    with pytest.raises(UsageError, match=r"it stands for `proposals=30`, and .* has 60: .*part of an ONNX model"):
        detect.load_model(exported["onnx"], fast=True)
    measured(60)
    assert detect.load_model(exported["onnx"], fast=True).proposals == 60


@pytest.mark.slow
def test_a_checkpoint_records_its_export_in_8_bits_and_runs_it_on_request(folder, tmp_path):
    path = Path(shutil.copy(folder / "masks.safetensors", tmp_path))
    data, out = folder / "few.yaml", tmp_path / "out"
    exported = detect.export(
        path, "openvino", int8=True, verify_data=data, calibration_images=2, force=True, output_dir=out
    )
    write_thresholds(path, {"square": 0.7}, {})  # after the export, which has the former one
    settings = FastSettings.of(checkpoint.load(path))
    assert settings.precisions["int8"].ap_loss == round(exported.verification.largest_drop, 3)
    model = detect.load_model(path, precision="int8")
    assert (model.runtime.name, model.precision, model.path) == (
        "openvino",
        "int8",
        tmp_path / "out" / exported.path.name,
    )
    assert model.class_thresholds["square"] == 0.7
    for loss, expected in ((0.0, "int8"), (5.0, "fp32")):
        changed = {"int8": replace(settings.precisions["int8"], ap_loss=loss, time=0.5)}
        write_fast_settings(path, replace(settings, precisions=changed))
        assert detect.load_model(path, precision="auto").precision == expected
    shutil.rmtree(exported.path)
    with pytest.raises(UsageError, match="is gone"):
        detect.load_model(path, precision="int8")


def test_an_export_with_other_settings_is_neither_recorded_nor_used(folder, exported, tmp_path, capsys):
    path = Path(shutil.copy(folder / "masks.safetensors", tmp_path))
    other = Path(shutil.copytree(exported["openvino"], tmp_path / "other"))
    metadata = json.loads((other / OPENVINO_FILE).read_text())
    metadata["detect"]["architecture"] |= {"min_size": 96, "max_detections": 7, "max_proposals": 20}
    (other / OPENVINO_FILE).write_text(json.dumps(metadata))
    record_int8(path, other, None, read_folder(other)[0])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"not recorded in {path}")
    assert all(f"{name} instead of" in line for name in ("imgsz=96", "max_detections=7", "proposals=20"))
    assert FastSettings.of(checkpoint.load(path)) == FastSettings()
    cost = Cost(0.0, 0.5, "cpu", "few val")
    write_fast_settings(path, FastSettings(precisions={"int8": cost}, int8_model="other"))  # by an earlier version
    assert detect.load_model(path, precision="auto").runtime.name == "torch"
    with pytest.raises(UsageError, match="imgsz=96 instead of 64"):
        detect.load_model(path, precision="int8")
