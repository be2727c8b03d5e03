"""All formats of torch.save give the same tensors; damaged files are named."""

from __future__ import annotations

import argparse
import datetime
import enum
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.torch_archives import write_tar, write_zip
from torch import nn

from detect.errors import CheckpointError
from detect.models.weights import read_weights


class Phase(enum.Enum):
    TRAIN = 1


class Tracker:
    """Any object of a program."""

    def __init__(self):
        self.values = {"loss": [1.0]}


REST = {
    "numpy": [np.float64(1.5), np.float32(2), np.arange(6).reshape(2, 3), np.array(["a"]), np.bool_(True)],
    "objects": [Path("x"), datetime.datetime(2026, 1, 2), Phase.TRAIN, Tracker(), {1, 2}, torch.device("cuda:0")],
    "types": [torch.float16, torch.Size([1]), argparse.Namespace(lr=0.1), Tracker, print],
}


def example() -> OrderedDict[str, torch.Tensor]:
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    state = OrderedDict(
        (name, torch.randn(3, 2).to(dtype))
        for name, dtype in (("a.f32", torch.float32), ("a.f64", torch.float64), ("a.f16", torch.float16))
    )
    state |= {
        "a.bf16": torch.randn(5).bfloat16(),
        "a.count": torch.tensor(7),
        "a.flag": torch.tensor([True, False]),
        "a.byte": torch.arange(4, dtype=torch.uint8),
        "a.empty": torch.zeros(0, 3),
        "a.part": base[1:3, ::2],
        "a.same": base.t(),
        "a.expanded": torch.ones(1).expand(3, 4),
        "a.channels_last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "a.parameter": nn.Parameter(torch.randn(2)),
    }
    return state


def assert_same(read: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
    assert list(read) == list(state)
    for name, tensor in state.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor), name


@pytest.mark.parametrize("is_zip", [True, False])
def test_tensors_are_read_beside_objects_of_any_class(is_zip, tmp_path):
    state = example()
    state._metadata = OrderedDict(version=2)
    content = {"model": state, "epoch": 3, **REST}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=is_zip)
    assert_same(read_weights(tmp_path / "w.pth").state, state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(protocol, tmp_path):
    torch.save({"model": example(), **REST}, tmp_path / "w.pth", pickle_protocol=protocol)
    assert_same(read_weights(tmp_path / "w.pth").state, example())


def test_tar_format_of_pytorch_0_1_is_read(tmp_path):
    state = {"a.weight": torch.randn(3, 2), "a.bias": torch.randn(5)}
    assert_same(read_weights(write_tar(tmp_path / "w.pth", state)).state, state)


def test_values_of_the_other_byte_order_are_swapped(tmp_path):
    values = np.arange(6, dtype=">f4")
    call = (
        "ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI6\ntQI0\n(I6\nt(I1\ntI00\n}tR"
    )
    records = {"data/0": values.tobytes(), "byteorder": b"big"}
    write_zip(tmp_path / "w.pth", b"}Vw\n" + call.encode() + b"s.", records)
    assert read_weights(tmp_path / "w.pth").state["w"].tolist() == [0, 1, 2, 3, 4, 5]


def test_quantized_and_sparse_tensors_are_counted(tmp_path):
    sparse = torch.eye(3).to_sparse_coo()
    torch.save({"model": {"a": torch.ones(2), "b": sparse}}, tmp_path / "w.pth")
    weights = read_weights(tmp_path / "w.pth")
    assert list(weights.state) == ["a"] and "1 quantized or sparse tensor ignored" in weights.origin
    torch.save({"b": sparse}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="quantized or sparse tensors only"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("is_zip", [True, False])
def test_truncated_files_are_named_at_every_length(is_zip, tmp_path):
    torch.save({"model": example(), **REST}, tmp_path / "w.pth", _use_new_zipfile_serialization=is_zip)
    content = (tmp_path / "w.pth").read_bytes()
    for size in (*range(1, 40), *range(40, len(content) - 1, 311)):
        (tmp_path / "w.pth").write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=r"w\.pth (is|holds) [^\n]*$"):
            read_weights(tmp_path / "w.pth")


def test_changed_bytes_are_noticed(tmp_path):
    torch.save({"a.weight": torch.full((4, 4), 1.5)}, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    values = torch.full((16,), 1.5).numpy().tobytes()
    assert content.count(values) == 1
    (tmp_path / "w.pth").write_bytes(content.replace(values, values[:-1] + b"\x00"))
    with pytest.raises(CheckpointError, match="damaged"):
        read_weights(tmp_path / "w.pth")
