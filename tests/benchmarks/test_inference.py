"""benchmark.py inference: every variant detects the same objects, and their figures are compared fairly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.request import install_opener

import numpy as np
import pytest
import torch
from helpers.benchmarking import error_line, run_benchmark
from helpers.folders import ROOT
from PIL import Image

from benchmarks import detectors
from benchmarks.inference import Row, summarize
from benchmarks.matrix_peak import SIDE, MatrixPeak
from benchmarks.pooled_ap import PooledAP, measure_pooled_ap
from benchmarks.random_weights import OBJECTS
from benchmarks.subject import prepare_subject
from benchmarks.torchvision_eager import TorchvisionDetector
from benchmarks.variants import BASE, PACKAGES, TORCHVISION, VARIANTS
from detect import runtime
from detect.data.description import find_spec
from detect.inference.load import load_model
from detect.media.images import read_image
from detect.structures import masks

BALLOON = ROOT / "weights" / "balloon.safetensors"
SMALL = ["--images", 1, "--rounds", 2, "--quiet"]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return read_image(ROOT / "input" / "balloons_1.jpg")


@pytest.fixture
def offline(monkeypatch, tmp_path) -> Iterator[None]:
    """No downloaded weights, and no way to download them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    install_opener(None)
    yield
    install_opener(None)  # urllib keeps the proxies that it found first


def test_torchvisions_code_detects_what_the_predictor_detects(image):
    theirs, ours = TorchvisionDetector(BALLOON, 160), load_model(BALLOON, device="cpu", imgsz=160)
    assert theirs.imgsz == ours.imgsz == 160
    (expected,), (found,) = (one.predict_batch([image], threshold=0.3) for one in (theirs, ours))
    assert len(found) == len(expected) > 3
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert found.labels.tolist() == expected.labels.tolist()
    for one, other in zip(found.masks, expected.masks, strict=True):
        assert (masks.to_bitmap(one) != masks.to_bitmap(other)).sum() <= 5


def test_torchvision_applies_the_threshold_of_the_checkpoint(image):
    theirs, ours = TorchvisionDetector(BALLOON, 160), load_model(BALLOON, device="cpu", imgsz=160)
    assert len(theirs.detect(image)["scores"]) == len(ours.predict_batch([image])[0])


@pytest.mark.parametrize("name", ["mobilenet", "ssdlite"])
def test_a_model_that_cannot_be_downloaded_has_random_weights_that_detect_objects(offline, tmp_path, image, name):
    imgsz = 96 if name == "mobilenet" else None  # ssdlite has a fixed size
    subject = prepare_subject(name, imgsz, tmp_path, [image], lambda: [image])
    assert subject.has_random_weights
    works = [
        detectors.work_of(detectors.load_detector(one, subject.file(one.file), imgsz, 50), [image])
        for one in (TORCHVISION, VARIANTS["fp32"])
    ]
    assert works[0].multiply_adds == pytest.approx(works[1].multiply_adds, rel=0.01)
    # Scores of random weights are close to each other, and rounding moves some past the threshold.
    assert works[1].objects == OBJECTS and abs(works[0].objects - OBJECTS) <= 5
    assert (works[0].proposals is None) == (name == "ssdlite")


def test_a_fast_variant_classifies_fewer_proposals_and_has_less_work(image):
    full, fast = (
        detectors.work_of(detectors.load_detector(VARIANTS[name], BALLOON, 160, 20), [image])
        for name in ("fp32", "fast")
    )
    assert (full.proposals, fast.proposals) == (300, 20)
    assert fast.multiply_adds < full.multiply_adds


def test_peak_is_that_of_the_fastest_matrix_product():
    torch.set_num_threads(1)
    peak = MatrixPeak()
    before = peak.rates["fp32"]
    peak.measure()
    assert peak.rates["fp32"] >= before > 2 * SIDE**3 / 60
    assert set(peak.rates) <= {"fp32", "bf16"}


def test_times_are_compared_within_a_round_and_work_with_the_peak_of_its_format():
    rows = [
        Row(BASE, "fp32", [10, 20, 40], multiply_adds=2e9),
        Row("fp32", "fp32", [5, 5, 20], multiply_adds=2e9),
        Row("bf16", "bf16", [5, 5, 20], multiply_adds=2e9),
    ]
    summarize(rows, images=2, matrix_rates={"fp32": 4e9})
    assert [row.ms for row in rows] == [10_000, 2500, 2500] and rows[1].images_per_s == 0.4
    assert [row.speedup for row in rows] == [1, 2, 2]
    assert [row.peak_fraction for row in rows] == [0.1, 0.4, None]


def test_loss_is_that_of_the_worst_split():
    base = PooledAP({"bbox": 60.0}, {"val": {"bbox": 65.0}, "test": {"bbox": 55.0}})
    other = PooledAP({"bbox": 60.2}, {"val": {"bbox": 64.0}, "test": {"bbox": 56.0}})
    assert other.largest_loss(base, "bbox") == 1.0
    assert base.largest_loss(other, "bbox") == 1.0 and base.largest_loss(base, "bbox") == 0.0
    assert base.largest_loss(other, "segm") is None


def test_pooled_ap_is_that_of_all_images_together(tmp_path):
    """The images of val and test are the same ones, so that AP of both together is that of each."""
    ours = load_model(BALLOON, device="cpu", imgsz=96)
    photo = read_image(ROOT / "input" / "balloons_1.jpg")
    boxes = ours.predict_batch([photo], threshold=0.6)[0].boxes
    for split in ("val", "test"):
        for folder in ("images", "labels"):
            (tmp_path / folder / split).mkdir(parents=True)
        Image.fromarray(photo).save(tmp_path / "images" / split / f"{split}.png")
        height, width = photo.shape[:2]
        lines = [
            f"0 {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width} {(y2 - y1) / height}"
            for x1, y1, x2, y2 in boxes
        ]
        (tmp_path / "labels" / split / f"{split}.txt").write_text("\n".join(lines))
    (tmp_path / "data.yaml").write_text("val: images/val\ntest: images/test\nnames: [balloon]\n")
    found = measure_pooled_ap(ours, find_spec(str(tmp_path)), "fp32")
    assert found.splits["val"] == found.splits["test"] and 30 < found.pooled["bbox"] <= 100
    assert found.pooled["bbox"] == pytest.approx(found.splits["val"]["bbox"], abs=1)


def test_missing_instructions_and_packages_are_named(monkeypatch):
    monkeypatch.setattr(runtime, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(detectors.CannotRunError, match="AVX-512 BF16"):
        detectors.check_machine(VARIANTS["bf16"])
    monkeypatch.setitem(PACKAGES, "onnx", ("no_such_package",))
    with pytest.raises(detectors.CannotRunError, match=r"no_such_package.*requirements-export\.txt"):
        detectors.check_machine(VARIANTS["onnx"])
    detectors.check_machine(VARIANTS["fp32"])


@pytest.mark.slow
def test_table_json_and_chart_hold_what_was_measured(monkeypatch, tmp_path, capsys):
    path, chart = tmp_path / "new" / "figures.json", tmp_path / "charts" / "chart.png"
    line = ["inference", *SMALL, "--imgsz", 64, "--variants", "fp32", "fast", "--json", path, "--plot", chart]
    assert run_benchmark(monkeypatch, *line) == 0
    facts, text = json.loads(path.read_text()), capsys.readouterr().out
    assert facts["machine"] and [row["name"] for row in facts["rows"]] == [BASE, "fp32"]
    assert all(len(row["seconds"]) == 2 and row["ms"] > 0 and row["peak_mib"] > 100 for row in facts["rows"])
    assert all(row["ap"] is None for row in facts["rows"]) and "AP is not measured" in text
    # The model has no more proposals than the fast variant.
    assert list(facts["left_out"]) == ["fast fp32"] and "- fast fp32: the model has 300 proposals" in text
    assert f"| {BASE} |" in text and "| fp32 |" in text
    with Image.open(chart) as opened:
        assert opened.format == "PNG" and opened.width > opened.height


@pytest.mark.slow
def test_variants_of_every_runtime_have_the_ap_of_the_same_images(monkeypatch, tmp_path, capsys):
    path = tmp_path / "figures.json"
    names = ["fp32", "bf16", "fast", "onnx", "openvino", "openvino-int8", "fast-openvino-int8"]
    line = ["inference", *SMALL, "--imgsz", 128, "--data", "sample", "--proposals", 100, "--variants", *names]
    line += ["--json", path]
    assert run_benchmark(monkeypatch, *line) == 0
    facts, text = json.loads(path.read_text()), capsys.readouterr().out
    rows = {row["name"]: row for row in facts["rows"]}
    assert set(rows) | set(facts["left_out"]) == {BASE, *(VARIANTS[name].title for name in names)}
    for name, row in rows.items():
        assert set(row["split_ap"]) == {"val", "test"}, name
        assert row["ap_loss"] == max(rows[BASE]["split_ap"][k]["bbox"] - v["bbox"] for k, v in row["split_ap"].items())
        assert f"| {name} |" in text
    for name in {"fp32", "ONNX Runtime fp32", "OpenVINO fp32"} & set(rows):
        assert abs(rows[name]["ap"] - rows[BASE]["ap"]) < 0.1, name


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--model baloon", "did you mean balloon"),
        ("--variants openvin", "did you mean openvino"),
        ("--data-root here", "--data-root is for --data"),
        ("--proposals 0", "--proposals 0 must be at least 1"),
        ("--data no_such_folder", "no_such_folder"),
    ],
)
def test_wrong_flags_are_one_line(monkeypatch, capsys, line, words):
    assert run_benchmark(monkeypatch, "inference", *line.split()) == 2
    assert words in error_line(capsys)
