"""Minimum scores of classes are stored in a checkpoint file, and everything else in the file stays as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from detect.errors import CheckpointError, DiskError, UsageError
from detect.io import files
from detect.models import checkpoint
from detect.models.checkpoint import Checkpoint
from detect.models.checkpoint_file import own_checkpoint, write_thresholds
from detect.structures.class_names import ClassNames

OLD = Path(__file__).parent / "fixtures" / "checkpoint_format_2.safetensors"
CHOICE = {"dataset": "sky", "split": "val", "rule": "best F1"}
THRESHOLDS = {"kite": 0.62, "balloon": 0.125}


@pytest.fixture
def saved() -> Checkpoint:
    torch.manual_seed(0)
    state = {"a.weight": torch.randn(5, 3), "b.weight": torch.randn(7).half(), "c.count": torch.tensor(3)}
    return Checkpoint(state, {"model": "tiny"}, ClassNames(("kite", "balloon"), (90, 7)), training={"lr": 0.1})


@pytest.fixture
def path(saved, tmp_path) -> Path:
    path = tmp_path / "best.safetensors"
    checkpoint.save(saved, path)
    return path


def header_of(path: Path) -> dict:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["detect"])


def tensor_bytes(path: Path) -> bytes:
    """Return the part of a .safetensors file that holds the numbers: https://github.com/huggingface/safetensors."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_written_thresholds_are_loaded_and_the_rest_of_the_checkpoint_is_unchanged(path):
    before = checkpoint.load(path)
    assert before.class_thresholds == before.threshold_choice == {}
    write_thresholds(path, THRESHOLDS, CHOICE)
    after = checkpoint.load(path)
    assert after.class_thresholds == THRESHOLDS and after.threshold_choice == CHOICE
    own = {"class_thresholds": 0, "threshold_choice": 0, "state": 0}
    assert {**after.__dict__, **own} == {**before.__dict__, **own}
    assert list(path.parent.iterdir()) == [path]


def test_tensors_keep_every_bit_and_half_precision_stays_half(path):
    before, dtypes = tensor_bytes(path), {name: tensor.dtype for name, tensor in load_file(path).items()}
    assert set(dtypes.values()) == {torch.float32, torch.float16, torch.int64}
    write_thresholds(path, THRESHOLDS, CHOICE)
    assert tensor_bytes(path) == before
    assert {name: tensor.dtype for name, tensor in load_file(path).items()} == dtypes


def test_new_thresholds_replace_all_former_ones(path):
    write_thresholds(path, THRESHOLDS, CHOICE)
    write_thresholds(path, {"kite": np.float32(0.1)}, {"rule": "precision 0.95"})
    saved = checkpoint.load(path)
    assert saved.class_thresholds == {"kite": float(np.float32(0.1))}
    assert saved.threshold_choice == {"rule": "precision 0.95"}


def test_a_checkpoint_without_its_thresholds_has_the_bytes_of_before(path):
    before = path.read_bytes()
    write_thresholds(path, THRESHOLDS, CHOICE)
    assert path.read_bytes() != before
    write_thresholds(path, {}, {})
    assert path.read_bytes() == before


def test_equal_thresholds_give_equal_bytes_in_any_order(path, tmp_path):
    other = tmp_path / "other.safetensors"
    shutil.copy(path, other)
    write_thresholds(path, THRESHOLDS, CHOICE)
    write_thresholds(str(other), dict(reversed(THRESHOLDS.items())), dict(reversed(CHOICE.items())))
    assert path.read_bytes() == other.read_bytes()


def test_thresholds_can_be_added_to_a_file_of_an_earlier_version(tmp_path):
    path = Path(shutil.copy(OLD, tmp_path))
    before = checkpoint.load(path)
    assert before.class_thresholds == {} and header_of(path)["format"] < 5
    name = before.class_names.names[0]
    write_thresholds(path, {name: 0.3}, CHOICE)
    after = checkpoint.load(path)
    assert after.class_thresholds == {name: 0.3} and header_of(path)["format"] == checkpoint.FORMAT >= 5
    assert after.architecture == before.architecture and after.training == before.training
    assert tensor_bytes(path) == tensor_bytes(OLD)


def test_half_precision_copy_keeps_the_thresholds(path, tmp_path):
    write_thresholds(path, THRESHOLDS, CHOICE)
    half = checkpoint.to_half(checkpoint.load(path))
    checkpoint.save(half, tmp_path / "half.safetensors")
    back = checkpoint.load(tmp_path / "half.safetensors")
    assert back.class_thresholds == THRESHOLDS and back.threshold_choice == CHOICE


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"kites": 0.5}, "unknown class 'kites': did you mean kite"),
        ({"7": 0.5}, "unknown class '7'"),
        ({"kite": 1.1}, r"'kite' must be a number in 0\.\.1, not 1\.1"),
        ({"kite": -0.1}, "not -0.1"),
        ({"balloon": float("nan")}, "'balloon' must be .* not nan"),
        ({"balloon": np.float64("inf")}, "not inf"),
        ({"kite": "0.5"}, "not '0.5'"),
        ({"kite": None}, "not None"),
        ({"kite": True}, "not True"),
    ],
)
def test_invalid_thresholds_are_refused_and_the_file_is_unchanged(path, thresholds, message):
    before = path.read_bytes()
    with pytest.raises(UsageError, match=rf"best\.safetensors: .*{message}"):
        write_thresholds(path, thresholds, CHOICE)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "thresholds", [{"kites": 0.5}, {"kite": 2}, {"kite": float("nan")}, {"kite": "0.5"}, {"kite": True}, [0.5], None]
)
def test_a_file_with_invalid_thresholds_is_damaged(path, thresholds):
    save_file(load_file(path), path, {"detect": json.dumps(header_of(path) | {"class_thresholds": thresholds})})
    with pytest.raises(CheckpointError, match=r"best\.safetensors has a damaged model description"):
        checkpoint.load(path)


def test_a_failed_write_keeps_the_old_file(path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(files, "replace_file", full)
    with pytest.raises(DiskError, match=r"best\.safetensors: No space left"):
        write_thresholds(path, THRESHOLDS, CHOICE)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("balloon", "a bundled model"),
        ("v2", "a model of torchvision"),
        ("https://user:word@example.org/best.safetensors?key=secret", r"https://example\.org/.* is a URL; download"),
        ("results.json", "a JSON file"),
        ("weights.pth", "a file of bare weights"),
        ("weights.PT", "a file of bare weights"),
        ("model.onnx", "an ONNX model"),
        ("model.bin", "a file of another format"),
    ],
)
def test_a_model_that_is_no_checkpoint_file_of_the_user_is_refused(tmp_path, monkeypatch, model, kind):
    monkeypatch.chdir(tmp_path)
    if "." in model and "/" not in model:
        Path(model).write_bytes(b"[]")
    for refuse in (
        lambda name: own_checkpoint(name, "thresholds"),
        lambda name: write_thresholds(name, THRESHOLDS, CHOICE),
    ):
        with pytest.raises(UsageError, match=rf"stored in a checkpoint \(\.safetensors\); .*{kind}") as error:
            refuse(model)
        assert "secret" not in str(error.value) and "word" not in str(error.value)


def test_missing_and_damaged_files_are_named_and_any_suffix_of_a_checkpoint_is_accepted(path, tmp_path):
    with pytest.raises(CheckpointError, match=r"no such checkpoint: .*none\.safetensors"):
        own_checkpoint(tmp_path / "none.safetensors", "thresholds")
    with pytest.raises(CheckpointError, match="is a folder"):
        own_checkpoint(tmp_path, "thresholds")
    (tmp_path / "junk.safetensors").write_bytes(b"junk" * 10)
    with pytest.raises(CheckpointError, match=r"junk\.safetensors is not a checkpoint"):
        write_thresholds(tmp_path / "junk.safetensors", THRESHOLDS, CHOICE)
    save_file({"w": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="no model description"):
        write_thresholds(tmp_path / "bare.safetensors", THRESHOLDS, CHOICE)
    renamed = path.rename(tmp_path / "best.model")
    assert own_checkpoint(renamed, "thresholds") == renamed


def test_a_folder_that_is_not_writable_is_an_error_before_any_work(path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(DiskError, match="its folder is not writable"):
        own_checkpoint(path, "thresholds")
