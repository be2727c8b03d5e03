"""Training, evaluation and detection by the scripts: shapes with the category ids 90, 7 and 3 are learned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.folders import ROOT

IDS = {"circle": 90, "square": 7, "triangle": 3}

pytestmark = pytest.mark.slow


def script(name: str, *arguments: object) -> None:
    subprocess.run([sys.executable, name, *map(str, arguments)], cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Return the folder of a run on the rendered shapes."""
    folder = tmp_path_factory.mktemp("runs")
    # One thread and one loader process are fastest on a busy machine.
    size = ["--epochs", 16, "--batch-size", 2, "--imgsz", 128, "--workers", 1, "--aug", "light"]
    flags = ["--pretrained", "balloon", "--quiet", "--output-dir", folder, "--name", "shapes"]
    script("train.py", "--data", "shapes", *size, *flags)
    return folder / "shapes"


def test_every_class_is_learned(trained, tmp_path):
    model = trained / "best.safetensors"
    script("evaluate.py", "--model", model, "--data", "shapes", "--output-dir", tmp_path, "--name", "e", "--quiet")
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    found = {name: metrics["classes"][name]["bbox"]["AP50"] for name in IDS}
    assert all(score >= 0.8 for score in found.values()), found
    assert metrics["segm"]["AP50"] >= 0.8


def test_detections_have_class_names_and_original_category_ids(trained, tmp_path):
    images = ROOT / "datasets" / "shapes" / "test"
    flags = ["--save-json", "--quiet", "--output-dir", tmp_path, "--name", "d"]
    script("detect_image.py", "--model", trained / "best.safetensors", "--input", images, *flags)
    ground_truth = json.loads((images.parent / "test.json").read_text())
    shown = {
        image["file_name"]: {a["category_id"] for a in ground_truth["annotations"] if a["image_id"] == image["id"]}
        for image in ground_truth["images"]
    }
    right = total = 0
    for row in json.loads((tmp_path / "d" / "detections.json").read_text())["images"]:
        for one in row["detections"]:
            assert IDS[one["name"]] == one["category_id"]
            right += one["category_id"] in shown[Path(row["source"]).name]
            total += 1
    assert total >= len(ground_truth["annotations"]) / 2
    assert right >= 0.8 * total
