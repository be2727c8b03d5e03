"""Kinds of files that hold no weights, named by their first bytes, and what to do about each of them."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

_AGAIN = "download the file itself again"
_UNPACK = "unpack it and give the file in it"
_WANTED = "expected .safetensors, or a .pth file of torch.save"
# First bytes -> what the file is, and what to do.
_BY_START: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a git LFS pointer instead of the file; get the file with git lfs pull"),
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file, as Keras writes them; {_WANTED}"),
    (b"GGUF", f"a GGUF file of a language model; {_WANTED}"),
    (b"\x93NUMPY", f"a NumPy array; {_WANTED}"),
    (b"\x1f\x8b", f"compressed with gzip; {_UNPACK}"),
    (b"BZh", f"compressed with bzip2; {_UNPACK}"),
    (b"\xfd7zXZ", f"compressed with xz; {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7-Zip archive; {_UNPACK}"),
    (b"Rar!", f"a RAR archive; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"compressed with zstd; {_UNPACK}"),
    (b"\x89PNG", f"a PNG image; {_WANTED}"),
    (b"\xff\xd8\xff", f"a JPEG image; {_WANTED}"),
    (b"%PDF", f"a PDF document; {_WANTED}"),
    (b"\x7fELF", f"a program or library; {_WANTED}"),
)
# Start of a text, in lower case -> what the file is.
_TEXTS = (
    ("<!doctype html", "a web page (HTML) instead of the file"),
    ("<html", "a web page (HTML) instead of the file"),
    ("<head", "a web page (HTML) instead of the file"),
    ("<script", "a web page (HTML) instead of the file"),
    ("<?xml", "an XML document"),
    ("<error", "an XML document"),
    ("{", "a text file (JSON)"),
    ("[", "a text file (JSON)"),
)
# ONNX files have no signature. They start with the version of the format and then one of these fields of a ModelProto,
# see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
_ONNX_FIELDS = b"\x12\x1a\x22\x28\x32\x3a\x42"
_ONNX = f"an ONNX model, whose weights cannot be trained here; {_WANTED}"
TORCHSCRIPT_ADVICE = 'write its weights with torch.save(torch.jit.load(FILE).state_dict(), "weights.pth")'
# End of the name of a member of a zip archive -> what the archive is, and what to do.
_BY_MEMBER = {
    "model.weights.h5": "a Keras model; weights of Keras cannot be used",
    "model.json": f"a TorchScript archive of PyTorch 1.0 to 1.3; {TORCHSCRIPT_ADVICE}",
    ".npy": "an archive of NumPy arrays; expected a file of torch.save or .safetensors",
    "archive_format": "a program of torch.export; write the weights of the model with "
    'torch.save(model.state_dict(), "weights.pth")',
}
_BY_SUFFIX = {
    ".onnx": _ONNX,
    ".pb": f"a TensorFlow model; {_WANTED}",
    ".tflite": f"a TensorFlow Lite model; {_WANTED}",
    ".weights": f"a file of Darknet, or of another program; {_WANTED}",
    ".engine": f"a TensorRT engine; {_WANTED}",
}


def starts_as_safetensors(path: Path) -> bool:
    """Return whether a file begins as .safetensors does: 8 bytes with the length of a JSON header, then the header."""
    head = _head(path)
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= 100_000_000


def starts_as_torch_file(path: Path) -> bool:
    """Return whether a file begins as a zip archive, a tar archive or a pickle of protocol 2 to 5 does."""
    head = _head(path)
    is_pickle = head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")
    return is_pickle or head.startswith(b"PK\3\4") or head[257:262] == b"ustar"


def describe(path: Path) -> str:
    """Return the end of a sentence "FILE is ...": what a file is that is not one of weights, and what to do."""
    head = _head(path)
    if not head:
        return "empty (0 bytes); copy or download it again"
    for start, kind in _BY_START:
        if head.startswith(start):
            return kind
    if not head.strip(b"\0"):
        return "full of zero bytes, as after an interrupted copy; copy or download it again"
    if head[4:8] == b"TFL3":
        return _BY_SUFFIX[".tflite"]
    if len(head) > 2 and head[0] == 8 and 1 <= head[1] <= 20 and head[2] in _ONNX_FIELDS:
        return _ONNX
    if path.suffix.lower() in _BY_SUFFIX:
        return _BY_SUFFIX[path.suffix.lower()]
    if _is_text(head):
        text = head.decode("utf-8", "ignore").lstrip("\ufeff \t\r\n").lower()
        kind = next((kind for start, kind in _TEXTS if text.startswith(start)), "a text file")
        advice = _AGAIN if kind.endswith("the file") else f"{_WANTED}. If it was downloaded, {_AGAIN}"
        return f"{kind}; {advice}"
    return f"not a weights file, or damaged; {_WANTED}"


def describe_zip(members: Sequence[str]) -> str:
    """Return the end of a sentence "FILE is ...": what a zip archive is that ``torch.save`` did not write.

    members: names of the files in it.
    """
    weights = [name for name in members if name.endswith((".pth", ".pt", ".safetensors", ".ckpt", ".bin"))]
    if weights:
        return f"a zip archive that holds {weights[0]}; unpack it and give that file"
    kinds = (kind for end, kind in _BY_MEMBER.items() if any(name.endswith(end) for name in members))
    return next(kinds, "a zip archive without weights; expected a file of torch.save or .safetensors")


def _is_text(head: bytes) -> bool:
    """Return whether nearly all bytes are printable; others are letters of an encoding other than ASCII."""
    printable = set(string.printable.encode())
    return b"\0" not in head and sum(byte in printable for byte in head) >= 0.7 * len(head)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)
