"""Checkpoint files: reproducible bytes, atomic writes, no pickle, keys of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path
from pickle import PicklingError

import numpy as np
import pytest
import torch
from helpers.folders import ROOT
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.optimize import linear_sum_assignment
from torch import nn

from detect.errors import CheckpointError
from detect.inference.load import predictor_from_checkpoint
from detect.media.images import read_image
from detect.models import checkpoint
from detect.models.architecture import Architecture
from detect.models.checkpoint import Checkpoint
from detect.structures.class_names import ClassNames


@pytest.fixture
def saved() -> Checkpoint:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network[1].running_var += 1e6  # beyond the range of float16
    return Checkpoint(
        state=network.state_dict(),
        architecture={"model": "tiny", "norm_eps": 0.0, "anchors": [[1, 2], [3]]},
        class_names=ClassNames(("kite", "balloon"), (90, 7)),
        class_rows=(90, 7),
        threshold=0.25,
        training={"lr": 0.01, "epochs": 3},
        data={"name": "sky"},
        metrics={"val": {"bbox": {"AP": 0.5, "APs": None}}},
        versions=checkpoint.versions(),
    )


def with_header(path, **changes) -> None:
    """Rewrite a checkpoint with some values of its header changed."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["detect"])
    save_file(load_file(path), path, {"detect": json.dumps(header | changes)})


def test_saved_checkpoint_loads_unchanged(saved, tmp_path):
    checkpoint.save(saved, tmp_path / "a.safetensors")
    back = checkpoint.load(tmp_path / "a.safetensors")
    assert list(back.state) == sorted(saved.state)
    assert all(torch.equal(back.state[k], saved.state[k]) for k in saved.state)
    assert {**back.__dict__, "state": 0} == {**saved.__dict__, "state": 0}
    assert back.num_rows == 91


def test_number_of_rows_follows_from_the_classes_without_class_rows(saved):
    assert Checkpoint({}, {}, saved.class_names).num_rows == 3


def test_equal_models_give_equal_bytes(saved, tmp_path):
    turned = Checkpoint(**{**saved.__dict__, "training": dict(reversed(saved.training.items()))})
    checkpoint.save(saved, tmp_path / "a.safetensors")
    checkpoint.save(turned, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_channels_last_and_shared_tensors_can_be_saved(saved, tmp_path):
    filters = torch.rand(4, 3, 3, 3).to(memory_format=torch.channels_last)
    state = {"a": filters, "b": torch.rand(6)[::2]}
    checkpoint.save(Checkpoint(state, {}, saved.class_names), tmp_path / "a.safetensors")
    assert torch.equal(checkpoint.load(tmp_path / "a.safetensors").state["a"], filters)


def test_unserializable_state_keeps_the_old_file_and_raises_its_own_error(tmp_path):
    path = tmp_path / "last"
    path.write_bytes(b"old")
    with pytest.raises((AttributeError, PicklingError)):  # not a DiskError
        checkpoint.save_training_state({"w": torch.ones(9), "no": lambda: 0}, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_newer_format_is_rejected(saved, tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(saved, path)
    with_header(path, format=checkpoint.FORMAT + 1, a_new_field=1)
    with pytest.raises(CheckpointError, match=r"a\.safetensors was written by a newer version"):
        checkpoint.load(path)


def test_missing_and_invalid_checkpoints_are_named(saved, tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match=r"no such checkpoint: .*a\.safetensors"):
        checkpoint.load(path)
    path.write_bytes(b"junk" * 10)
    with pytest.raises(CheckpointError, match=r"a\.safetensors is not a checkpoint"):
        checkpoint.load(path)
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"no model description; .* `pretrained`"):
        checkpoint.load(path)
    for broken in ("{", "[]", "{}"):
        save_file({"w": torch.zeros(1)}, path, {"detect": broken})
        with pytest.raises(CheckpointError, match="damaged model description"):
            checkpoint.load(path)


def test_half_precision_excludes_batch_norms(saved, tmp_path):
    half = checkpoint.to_half(saved)
    assert {k: v.dtype for k, v in half.state.items()} == {
        "0.weight": torch.float16, "0.bias": torch.float16,
        "1.weight": torch.float32, "1.bias": torch.float32,
        "1.running_mean": torch.float32, "1.running_var": torch.float32, "1.num_batches_tracked": torch.int64,
    }  # fmt: skip
    checkpoint.save(half, tmp_path / "a.safetensors")
    back = checkpoint.load(tmp_path / "a.safetensors").state
    assert all(t.dtype == torch.float32 for k, t in back.items() if k != "1.num_batches_tracked")
    assert torch.equal(back["1.running_var"], saved.state["1.running_var"])
    assert torch.allclose(back["0.weight"], saved.state["0.weight"], atol=1e-3)


def test_training_state_is_read_without_executing_code(tmp_path):
    path = tmp_path / "state.pt"
    checkpoint.save_training_state({"epoch": 3, "rng": torch.get_rng_state(), "m": {"w": torch.ones(2)}}, path)
    assert checkpoint.load_training_state(path)["m"]["w"].tolist() == [1, 1]
    torch.save({"evil": ClassNames(("a",))}, path)
    with pytest.raises(CheckpointError, match=r"state\.pt cannot be read: [^\n]*$"):
        checkpoint.load_training_state(path)
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint.load_training_state(tmp_path / "none.pt")


# Files of earlier versions

OLD = Path(__file__).parent / "fixtures" / "checkpoint_format_2.safetensors"


def test_keys_of_earlier_versions_are_translated():
    saved = checkpoint.load(OLD)
    assert Architecture.from_json(saved.architecture).to_json() == {
        **saved.architecture,
        **as_tuples(saved.architecture),
        "max_detections": 100,
    }
    renamed = {
        "fpn_channels": 8,
        "box_head_channels": 8,
        "mask_head_channels": 8,
        "feature_layers": ["1", "2", "3", "4"],
        "max_proposals": 60,
        "rois_per_image": 256,
        "has_fixed_size": False,
    }
    assert {key: saved.architecture[key] for key in renamed} == renamed
    training = {"color": "strong", "repeat_threshold": 0.0, "max_skipped_steps": 5, "debug_step": None}
    assert {key: saved.training[key] for key in training} == training
    assert saved.data["train_images"] == 4
    old_keys = {old for keys in checkpoint.RENAMED_KEYS.values() for old in keys}
    assert not old_keys & {*saved.architecture, *saved.training, *saved.data}


def as_tuples(architecture: dict) -> dict:
    """Return the lists of a stored architecture as tuples."""
    return {
        key: tuple(tuple(v) if isinstance(v, list) else v for v in value)
        for key, value in architecture.items()
        if isinstance(value, list)
    }


def test_an_architecture_with_old_keys_equals_the_translated_one():
    with safe_open(OLD, framework="pt") as file:
        stored = json.loads(file.metadata()["detect"])["architecture"]
    assert "taps" in stored
    assert Architecture.from_json(stored) == Architecture.from_json(checkpoint.load(OLD).architecture)


def test_a_checkpoint_of_an_earlier_version_gives_the_detections_that_it_gave_then():
    pytest.importorskip("timm")
    expected = json.loads(OLD.with_suffix("").with_suffix(".detections.json").read_text())
    predictor = predictor_from_checkpoint(checkpoint.load(OLD), threshold=0.01)
    (found,) = predictor([read_image(ROOT / "input" / "image_1.jpg")])
    assert len(found) == len(expected) == 100 and found.masks is not None
    category_ids = np.array([predictor.class_names.category_id(label) for label in found.labels])
    distance = np.abs(found.boxes[:, None] - np.array([one["box_xyxy"] for one in expected])).max(axis=2) / 1e-2
    distance = np.maximum(distance, np.abs(found.scores[:, None] - [one["score"] for one in expected]) / 1e-4)
    distance[category_ids[:, None] != [one["category_id"] for one in expected]] = 1e6
    pairs = linear_sum_assignment(np.minimum(distance, 1e6))
    # Many scores are nearly equal, so another processor may swap a few detections at the limit of 100.
    assert (distance[pairs] <= 1).sum() >= 95
