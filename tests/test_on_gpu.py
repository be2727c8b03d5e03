"""Training, prediction and evaluation on a GPU, beside the CPU.

The tests are skipped without a CUDA device. DETECT_TEST_DEVICE=cpu runs them on the CPU, to check the tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_models import TINY_ARCHITECTURE, as_checkpoint, make_image, random_model, render_shapes
from helpers.training import TINY, rows

import detect
from detect import runtime
from detect.models import checkpoint
from detect.structures.class_names import ClassNames

DEVICE = os.environ.get("DETECT_TEST_DEVICE", "cuda")
ON_GPU = [*TINY[: TINY.index("--device")], "--device", DEVICE, "--quiet"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(autouse=True)
def full_precision(monkeypatch) -> None:
    """By default, convolutions on a GPU round their inputs to 10 bits (TF32)."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 8, "val": 2})


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "shapes.safetensors"
    names = ClassNames(("circle", "square", "triangle"), (90, 7, 3))  # those of render_shapes
    checkpoint.save(as_checkpoint(random_model(num_rows=4), TINY_ARCHITECTURE, names), path)
    return path


@pytest.mark.parametrize("precision", ["--amp", "--no-amp"])
@pytest.mark.parametrize("head", ["fasterrcnn", "maskrcnn"])
def test_a_training_run_is_resumed_on_a_gpu(train_py, data, tmp_path, monkeypatch, head, precision):
    monkeypatch.setattr(runtime, "cpu_has_bfloat16", lambda: True)  # for DETECT_TEST_DEVICE=cpu
    flags = ["--data", data, "--head", head, precision, "--ema", 0.9, "--output-dir", tmp_path, "--name", "x", *ON_GPU]
    assert train_py(*flags, "--epochs", 1, "--batch-size", 2) == 0
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 0
    found = rows(tmp_path / "x")
    assert [row["epoch"] for row in found] == [1, 2]
    assert all(np.isfinite(value) for row in found for value in row["losses"].values())
    saved = checkpoint.load(tmp_path / "x" / "last.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in saved.state.values())


def test_the_first_losses_of_a_gpu_are_those_of_a_cpu(train_py, data, tmp_path):
    flags = ["--data", data, "--no-amp", "--epochs", 1, "--batch-size", 8, "--output-dir", tmp_path]
    for name, device in (("cpu", "cpu"), ("gpu", DEVICE)):
        assert train_py(*flags, *ON_GPU, "--device", device, "--name", name) == 0
    on_cpu, on_gpu = (rows(tmp_path / name)[0]["losses"] for name in ("cpu", "gpu"))
    # Anchors and RoIs are sampled by each device's own random generator.
    assert on_gpu == pytest.approx(on_cpu, rel=0.2)


def test_predictions_of_a_gpu_are_those_of_a_cpu(model):
    images = [make_image((90, 120), 0), make_image((64, 64), 1)]
    expected = detect.load_model(model, device="cpu")(images, threshold=0.3)
    found = detect.load_model(model, device=DEVICE)(images, threshold=0.3)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs) > 0
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=0.1)


def test_evaluation_on_a_gpu_gives_the_ap_of_a_cpu(model, data):
    on_cpu, on_gpu = (
        detect.evaluate(model, data=str(data), split="val", device=device).metrics for device in ("cpu", DEVICE)
    )
    assert set(on_cpu) == set(on_gpu)
    for key, value in on_cpu.items():
        assert on_gpu[key] == pytest.approx(value, abs=0.02, nan_ok=True), key
