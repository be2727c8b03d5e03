"""Checkpoint files: equal bytes for equal models, whole or not at all, readable without pickle."""

from __future__ import annotations

import json
from pickle import PicklingError

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from detect.errors import CheckpointError
from detect.models import checkpoint
from detect.models.checkpoint import Checkpoint
from detect.structures.class_names import ClassNames


@pytest.fixture
def saved() -> Checkpoint:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network[1].running_var += 1e6  # out of float16's range
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
    """Write ``path`` anew with some values of its description changed."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["detect"])
    save_file(load_file(path), path, {"detect": json.dumps(header | changes)})


def test_everything_comes_back(saved, tmp_path):
    checkpoint.save(saved, tmp_path / "a.safetensors")
    back = checkpoint.load(tmp_path / "a.safetensors")
    assert list(back.state) == sorted(saved.state)
    assert all(torch.equal(back.state[k], saved.state[k]) for k in saved.state)
    assert {**back.__dict__, "state": 0} == {**saved.__dict__, "state": 0}
    assert back.num_rows == 91


def test_rows_are_counted_from_the_classes_where_none_are_given(saved):
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


def test_a_state_that_cannot_be_saved_leaves_the_old_file_alone_and_shows_its_own_error(tmp_path):
    path = tmp_path / "last"
    path.write_bytes(b"old")
    with pytest.raises((AttributeError, PicklingError)):  # a bug of ours, and no full disk
        checkpoint.save_training_state({"w": torch.ones(9), "no": lambda: 0}, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_newer_format_is_refused(saved, tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(saved, path)
    with_header(path, format=checkpoint.FORMAT + 1, a_new_field=1)
    with pytest.raises(CheckpointError, match=r"a\.safetensors was written by a newer version"):
        checkpoint.load(path)


def test_what_is_no_checkpoint_is_named(saved, tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match=r"no such checkpoint: .*a\.safetensors"):
        checkpoint.load(path)
    path.write_bytes(b"junk" * 10)
    with pytest.raises(CheckpointError, match=r"a\.safetensors is not a checkpoint"):
        checkpoint.load(path)
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"no model description; give it to train\.py as --pretrained"):
        checkpoint.load(path)
    for broken in ("{", "[]", "{}"):
        save_file({"w": torch.zeros(1)}, path, {"detect": broken})
        with pytest.raises(CheckpointError, match="damaged model description"):
            checkpoint.load(path)


def test_half_precision_halves_weights_but_not_statistics(saved, tmp_path):
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


def test_the_training_state_is_read_without_pickle(tmp_path):
    path = tmp_path / "state.pt"
    checkpoint.save_training_state({"epoch": 3, "rng": torch.get_rng_state(), "m": {"w": torch.ones(2)}}, path)
    assert checkpoint.load_training_state(path)["m"]["w"].tolist() == [1, 1]
    torch.save({"evil": ClassNames(("a",))}, path)
    with pytest.raises(CheckpointError, match=r"state\.pt cannot be read: [^\n]*$"):
        checkpoint.load_training_state(path)
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint.load_training_state(tmp_path / "none.pt")
