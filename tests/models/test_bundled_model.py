"""The bundled checkpoint weights/balloon.safetensors, and the script that writes such files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.folders import ROOT
from torch.nn.functional import linear

from demo import compare
from detect.data.description import find_spec
from detect.data.digests import (
    TRAIN_IMAGES,
    dataset_digest,
    image_digests,
    read_digests,
    read_images,
    write_digests,
)
from detect.inference.load import load_model
from detect.models import checkpoint
from detect.models.pretrained import bundled
from detect.structures.class_names import ClassNames
from detect.structures.detections_json import detection_rows

BALLOON = Path("../shared/data/balloon")
CLASS_LAYER = "roi_heads.box_predictor.cls_score"
BIAS = f"{CLASS_LAYER}.bias"


@pytest.fixture(scope="module")
def header() -> checkpoint.Checkpoint:
    return checkpoint.load(bundled("balloon"))


def test_bundled_file_is_small() -> None:
    assert bundled("balloon").stat().st_size < 20_000_000


def test_header_names_no_folder(header: checkpoint.Checkpoint) -> None:
    assert "/" not in json.dumps(header.training)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("training", "shipped"),
    [
        ({}, {}),
        (
            {"data": "/home/me/x.yaml", "data_root": "/home/me", "pretrained": "https://h/x.pth?token=k", "lr": 0.1},
            {"pretrained": "x.pth", "lr": 0.1},
        ),
        ({"pretrained": "auto", "backgrounds": "/home/me/empty"}, {"pretrained": "auto", "backgrounds": "empty"}),
        ({"backgrounds": None}, {"backgrounds": None}),
    ],
)
def test_ship_script_removes_local_settings(tmp_path, training, shipped) -> None:
    source, target = tmp_path / "best.safetensors", tmp_path / "x.safetensors"
    data = {"name": "kites", "train_images": 1}
    checkpoint.save(
        checkpoint.Checkpoint({BIAS: torch.zeros(2)}, {}, ClassNames(("kite",)), training=training, data=data), source
    )
    subprocess.run([sys.executable, "weights/ship.py", source, target], cwd=ROOT, check=True, capture_output=True)
    made = checkpoint.load(target)
    assert made.training == shipped and made.data == data and made.state[BIAS].tolist() == [0, 0]


@pytest.mark.slow
def test_ship_script_lowers_scores_so_that_a_given_one_becomes_one_half(tmp_path) -> None:
    source, target = tmp_path / "best.safetensors", tmp_path / "x.safetensors"
    features = torch.tensor([[1.0], [0.0], [-1.0]])
    weight, bias = torch.tensor([[-1.0], [2.0]]), torch.tensor([0.5, 0.5])
    state = {f"{CLASS_LAYER}.weight": weight, f"{CLASS_LAYER}.bias": bias}
    checkpoint.save(checkpoint.Checkpoint(state, {}, ClassNames(("kite",))), source)
    before = linear(features, weight, bias).softmax(1)[:, 1]
    assert before.tolist() == pytest.approx([0.953, 0.5, 0.047], abs=1e-3)
    command = [sys.executable, "weights/ship.py", source, target, "--score"]
    subprocess.run([*command, "0.95"], cwd=ROOT, check=True, capture_output=True)
    made = checkpoint.load(target).state
    after = linear(features, made[f"{CLASS_LAYER}.weight"].float(), made[f"{CLASS_LAYER}.bias"].float()).softmax(1)
    # the logits of 0.95, 0.5 and 0.05 are 2.944, 0 and -2.944; they become 0, -1.472 and -2.944
    assert after[:, 1].tolist() == pytest.approx([0.507, 0.187, 0.049], abs=2e-3)
    done = subprocess.run([*command, "1"], check=False, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: --score 1: must be between 0.05 and 1\n")
    state = {f"{CLASS_LAYER}.weight": torch.zeros(3, 1), BIAS: torch.zeros(3)}
    checkpoint.save(checkpoint.Checkpoint(state, {}, ClassNames(("kite", "bird"))), source)
    done = subprocess.run([*command, "0.95"], check=False, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: --score needs a model of one class; this one has 2\n")


@pytest.mark.slow
def test_ship_script_averages_the_weights_of_several_checkpoints(tmp_path) -> None:
    for name, values, digest in (("a", [1, 1], "1"), ("b", [3, 3], "2"), ("c", [1, 2, 3], "1"), ("d", [1, 1], "3")):
        digests, state = ["0" * 16, digest * 16], {BIAS: torch.tensor(values).float()}
        data = {"train_digest": dataset_digest(digests), "train_images": 2}
        saved = checkpoint.Checkpoint(state, {}, ClassNames(("kite",)), training={"aug": name}, data=data)
        (tmp_path / name).mkdir()
        checkpoint.save(saved, tmp_path / name / "x.safetensors")
        if name != "d":
            write_digests(tmp_path / name / TRAIN_IMAGES, digests, ["/home/me/0.jpg", f"/home/me/{digest}.jpg"])

    (tmp_path / "made").mkdir()

    def ship(*names: str) -> subprocess.CompletedProcess:
        paths = [tmp_path / name / "x.safetensors" for name in (*names, "made")]
        return subprocess.run(
            [sys.executable, "weights/ship.py", *paths], check=False, cwd=ROOT, capture_output=True, text=True
        )

    assert ship("a", "b").returncode == 0
    made = checkpoint.load(tmp_path / "made" / "x.safetensors")
    assert made.state[BIAS].tolist() == [2, 2] and made.training == {"aug": "a"} and made.data["train_images"] == 3
    images = read_images(tmp_path / "made" / "x.safetensors", made.data["train_digest"])
    assert images == {digest * 16: f"{digest}.jpg" for digest in "012"}
    assert "different names or shapes" in ship("a", "c").stderr
    assert f"{tmp_path / 'd' / 'x.safetensors'}: there is no {TRAIN_IMAGES} beside it" in ship("a", "d").stderr


@pytest.mark.skipif(not BALLOON.is_dir(), reason="needs the balloon dataset")
def test_training_images_are_not_in_val_or_test(header: checkpoint.Checkpoint) -> None:
    spec = find_spec("balloon", BALLOON)
    trained = read_digests(bundled("balloon"), header.data["train_digest"])
    labelled, *held_out = (
        set(image_digests([record.path for record in spec.read(split)[1]])) for split in ("train", "val", "test")
    )
    assert labelled <= trained
    for images in held_out:
        assert len(images) == 13
        assert not trained & images


def test_the_list_of_training_images_is_that_of_the_bundled_model(header: checkpoint.Checkpoint) -> None:
    images = read_images(bundled("balloon"), header.data["train_digest"])
    backgrounds = {Path(line).name for line in (ROOT / "weights/backgrounds.txt").read_text().splitlines()}
    names = set(images.values())
    assert len(images) == header.data["train_images"] == 48 + 60 + 642 + 4
    assert len(names & backgrounds) == 642
    measured = {Path(line).name for line in (ROOT / "weights/photographs.txt").read_text().splitlines()}
    assert len(measured) == 300 and not measured & names
    assert {name for name in names if (ROOT / "input" / name).is_file()} == {f"image_{i}.jpg" for i in range(1, 5)}


@pytest.mark.slow
def test_bundled_model_detects_nothing_in_photographs_without_balloons() -> None:
    found = load_model("balloon", device="cpu")([ROOT / "input" / f"image_{i}.jpg" for i in range(1, 5)])
    assert [len(one) for one in found] == [0] * 4


def test_bundled_model_detects_the_balloons_of_the_sample_image(tmp_path: Path) -> None:
    predictor = load_model("balloon", device="cpu")
    path = ROOT / "input" / "balloons_1.jpg"
    rows = detection_rows(predictor(path), predictor.class_names)
    (tmp_path / "detections.json").write_text(json.dumps({"images": [{"source": str(path), "detections": rows}]}))
    detected, total, _ = compare(path.with_suffix(".json"), tmp_path / "detections.json")
    assert total == 10
    assert detected >= 8
