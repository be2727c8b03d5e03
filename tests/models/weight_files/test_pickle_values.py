"""A pickle is read as plain values: nothing that it names runs, and a harmful one is one clear error."""

from __future__ import annotations

import io
import os
import pickle
import struct
import time
import tracemalloc
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import pytest
import torch
from helpers.torch_archives import write_zip

from detect.errors import CheckpointError
from detect.models.weight_files.pickle_machine import read_pickle
from detect.models.weight_files.pickle_values import PickleError, as_dict, attributes
from detect.models.weights import read_weights


class Settings(dict):
    """A class derived from dict, as configuration libraries have them."""


class Holder:
    """An object with attributes."""

    def __init__(self):
        self.names = ["a", "b"]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read_in_every_protocol(protocol):
    shared = [1, 2.5]
    value = {"a": [None, True, False, -3, 2**70, "é", b"x", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)], "b": shared}
    value |= {"c": shared, "d": OrderedDict(x=1), "e": defaultdict(list, y=2), "f": Counter(z=3), "g": {1: {2: 3}}}
    if protocol < 3:
        value["a"].remove(b"x")  # written as a call
    read = read_pickle(io.BytesIO(pickle.dumps(value, protocol)))
    assert read == value and read["b"] is read["c"]


def test_objects_of_other_classes_are_known_by_name_attributes_and_items():
    read = read_pickle(io.BytesIO(pickle.dumps([Holder(), Settings(k=1), Path("x"), {1, 2}], 2)))
    assert read[0].name.endswith(".Holder") and attributes(read[0]) == {"names": ["a", "b"]}
    assert as_dict(read[1]) == {"k": 1}
    assert as_dict(read[2]) == {} and attributes(read[3]) == {}


COMMAND = "touch CANARY"
STORAGE = b"((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\ntQ"  # 4 numbers
ATTACKS = {
    "REDUCE": b"cos\nsystem\n(V" + COMMAND.encode() + b"\ntR.",
    "posix": b"cposix\nsystem\n(V" + COMMAND.encode() + b"\ntR.",
    "eval": b"cbuiltins\neval\n(V__import__('os').system('" + COMMAND.encode() + b"')\ntR.",
    "exec": b"c__builtin__\nexec\n(Vimport os; os.system('" + COMMAND.encode() + b"')\ntR.",
    "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nV__call__\ntR(V" + COMMAND.encode() + b"\ntR.",
    "INST": b"(V" + COMMAND.encode() + b"\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nV" + COMMAND.encode() + b"\no.",
    "NEWOBJ": b"\x80\x02cos\nsystem\n(V" + COMMAND.encode() + b"\nt\x81.",
    "NEWOBJ_EX": b"\x80\x04cos\nsystem\n(V" + COMMAND.encode() + b"\nt}\x92.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93(V" + COMMAND.encode() + b"\ntR.",
    "torch.hub": b"ctorch.hub\nload\n(Vuser/repository\nVmodel\ntR.",
    "BUILD": b"cos\nenviron\n}VCANARY\nV1\nsb.",
    "setstate": b"ctorch\nTensor\n)R}V__setstate__\ncos\nsystem\nsbV" + COMMAND.encode() + b"\nb.",
    "EXT1": b"\x80\x02\x82\x01)R.",
    "EXT4": b"\x80\x02\x84\x01\0\0\0)R.",
    "setitem": b"}Vmodel\ncos\nsystem\n(V" + COMMAND.encode() + b"\ntRs.",
    "rebuild of a subclass": b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\ncos\nsystem\n(V"
    + COMMAND.encode()
    + b"\nt}tR.",
    "persistent id": b"cos\nsystem\n(V" + COMMAND.encode() + b"\ntRQ.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_no_code_of_a_file_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_zip(tmp_path / "w.pth", ATTACKS[name])
    (tmp_path / "w.pkl").write_bytes(b"\x80\x02" + ATTACKS[name])
    for file in ("w.pth", "w.pkl"):
        with pytest.raises(CheckpointError, match=rf"{file} [^\n]*$"):
            read_weights(tmp_path / file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.pkl", "w.pth"] and "CANARY" not in os.environ


def tensor(size: str, strides: str, offset: str = "I0\n", storage: bytes = STORAGE) -> bytes:
    """Return the pickle of {"w": tensor}; ``size``, ``strides`` and ``offset`` are written as instructions."""
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + f"{offset}({size}t({strides}tI00\n}}tR".encode()
    return b"}Vw\n" + call + b"s."


# Puts into the memo 60 tuples, each of which holds the one before it twice, so that its text has no end.
ENDLESS = "(tp0\n0" + "(g0\ng0\ntp0\n0" * 60
HARMFUL = {
    "absurd shape": tensor("I99999999999\nI99999999999\n", "I0\nI0\n"),
    "larger than its storage": tensor("I5\n", "I1\n"),
    "offset out of range": tensor("I4\n", "I1\n", "I1\n"),
    "negative offset": tensor("I2\n", "I1\n", "I-1\n"),
    "negative stride": tensor("I2\n", "I-1\n"),
    "shape of text": tensor("Vx\n", "I1\n"),
    "shape of tuples in tuples": tensor(f"{ENDLESS}g0\n", "I1\n"),
    "shape and strides of different lengths": tensor("I2\nI2\n", "I1\n"),
    "too many dimensions": tensor("I1\n" * 100, "I1\n" * 100),
    "storage that is no storage": tensor("I1\n", "I1\n", storage=b"V7\n"),
    "storage with an absurd size": tensor("I9\n", "I1\n", storage=STORAGE.replace(b"I4\n", b"L" + b"9" * 30 + b"L\n")),
    "missing record": tensor("I4\n", "I1\n", storage=STORAGE.replace(b"V0\n", b"V../../etc/passwd\n")),
    "persistent id that is text": b"Vstorage\nQ.",
    "persistent id of a module": b"(Vmodule\ncos\nsystem\ntQ.",
    "empty persistent id": b")Q.",
    "call of a dict": b"})R.",
    "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "huge bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "huge number": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "unknown memo entry": b"h\x07.",
    "empty stack": b"s.",
    "no mark": b"t.",
    "no end": b"}Va\n",
    "unknown instruction": b"\xff.",
    "out-of-band buffer": b"\x80\x05\x97.",
    "self-reference": b"}q\x00Vmodel\nh\x00s.",
    "huge memo": b"}r\xff\xff\xff\xffp4294967294\n.",
    "list in lists": b"]" * 200_000 + b"a" * 199_999 + b".",
    "tuple in tuples as key": b"}" + b")" + b"\x85" * 300_000 + b"I1\ns.",
    "object in objects": b"}" + b"cx\nY\n)R}Va\n" * 20_000 + b"N" + b"sb" * 20_000 + b".",
    "number as key": b"}\x8b" + struct.pack("<i", 10_000) + b"\x01" * 10_000 + b"}s.",
}


@pytest.mark.parametrize("name", HARMFUL)
def test_harmful_pickles_are_one_clear_error(name, tmp_path):
    write_zip(tmp_path / "w.pth", HARMFUL[name], {"data/0": b"\0" * 16})
    begin = time.monotonic()
    with pytest.raises(CheckpointError) as raised:
        read_weights(tmp_path / "w.pth")
    message = str(raised.value)
    assert message.startswith(str(tmp_path)) and "\n" not in message and len(message) < 300 + len(str(tmp_path))
    assert time.monotonic() - begin < 30


def test_a_key_without_end_in_a_file_of_pytorch_0_2_is_one_clear_error(tmp_path):
    head = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}, {}))
    (tmp_path / "w.pth").write_bytes(head + f"({ENDLESS}g0\nl.".encode())
    with pytest.raises(CheckpointError, match="impossible key"):
        read_weights(tmp_path / "w.pth")


def test_one_dictionary_under_many_keys_is_not_copied_without_end(tmp_path):
    tensors = {str(number): torch.zeros(1) for number in range(1000)}
    torch.save(
        {str(number): {str(inner): tensors for inner in range(100)} for number in range(100)}, tmp_path / "w.pth"
    )
    tracemalloc.start()
    try:
        assert len(read_weights(tmp_path / "w.pth").state) == 1000
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_a_file_cannot_fill_the_memory_with_empty_values(tmp_path, monkeypatch):
    monkeypatch.setattr("detect.models.weight_files.pickle_machine.MAX_INSTRUCTIONS", 1000)
    with pytest.raises(PickleError, match="more than 1,000 instructions"):
        read_pickle(io.BytesIO(b"(" + b"]" * 2000 + b"l."))
    pairs = b"](Va\nI1\n\x86" + b"Va\nI1\n\x86" * 50 + b"eq\x00"
    with pytest.raises(PickleError, match="copies"):
        read_pickle(io.BytesIO(b"\x80\x02" + pairs + b"0" + b"ccollections\nOrderedDict\n(h\x00tR0" * 60 + b"N."))


def test_compression_bombs_are_refused(tmp_path):
    write_zip(tmp_path / "w.pth", b"}.", {"data/0": b"\0" * 10_000_000}, compression=8)
    with pytest.raises(CheckpointError, match="far larger"):
        read_weights(tmp_path / "w.pth")
