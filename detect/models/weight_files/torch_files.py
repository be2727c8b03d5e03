"""Files of ``torch.save``, read without running code of them.

Three formats exist: a zip archive (PyTorch 1.6 and later), a sequence of pickles followed by the values (0.2 to 1.5),
and a tar archive (0.1). See ``torch/serialization.py``.
"""

from __future__ import annotations

import io
import mmap
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from detect.models.weight_files.file_kinds import TORCHSCRIPT_ADVICE, describe_zip
from detect.models.weight_files.pickle_machine import read_pickle
from detect.models.weight_files.pickle_values import Name, Opaque, PickleError
from detect.models.weight_files.stored_tensors import MAX_DIMENSIONS, STORAGE_DTYPES, Storage, StoredTensor

# First bytes of the format of PyTorch 0.2 to 1.5: a pickle of torch.serialization.MAGIC_NUMBER, in protocols 2 and up.
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
# Errors of Python's libraries for damaged files; RuntimeError for encrypted archives and impossible shapes.
_DAMAGE = (
    ValueError,
    KeyError,
    RuntimeError,
    EOFError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
_MAX_COMPRESSION = 4  # torch.save does not compress; an archive that was packed again shrinks a little


class TorchFileError(ValueError):
    """A file that is not readable as one of ``torch.save``. The message continues "FILE "."""


@dataclass
class TorchFile:
    """The content of an open file of ``torch.save``.

    Attributes:
        content: the saved value, with ``StoredTensor`` for tensors and ``Opaque`` for objects of unknown classes.
        read_storage: returns the bytes of a storage, by its key.
        is_swapped: whether the values have the byte order of another machine.
    """

    content: Any
    read_storage: Callable[[str], bytearray]
    is_swapped: bool = False
    _storages: dict[str, bytearray] = field(default_factory=dict)

    def read(self, tensors: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Return tensors with their values. Tensors that share memory in the file share it here.

        Raises TorchFileError if values are missing.
        """
        try:
            return {name: self._read(tensor) for name, tensor in tensors.items()}
        except _DAMAGE as error:
            raise _as_damage(error) from None

    def _read(self, tensor: StoredTensor) -> Tensor:
        key = tensor.storage.key
        if key not in self._storages:
            self._storages[key] = self.read_storage(key)
            if self.is_swapped and tensor.dtype.itemsize > 1:
                values = torch.frombuffer(self._storages[key], dtype=torch.uint8)
                values.copy_(values.view(-1, tensor.dtype.itemsize).flip(1).flatten())
        return tensor.read(self._storages[key])


@contextmanager
def open_torch_file(path: Path) -> Iterator[TorchFile]:
    """Open a file of ``torch.save``. Raises TorchFileError for any other file, OSError for an unreadable one."""
    with ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("rb"))
            head = file.read(262)
            file.seek(0)
            if head.startswith(b"PK\3\4"):
                content = _read_zip(opened.enter_context(zipfile.ZipFile(file)), path.stat().st_size)
            elif head.endswith(b"ustar"):
                content = _read_tar(opened.enter_context(tarfile.open(fileobj=file, mode="r:")))
            else:
                content = _read_sequence(opened.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        except (*_DAMAGE, TypeError, AttributeError) as error:
            raise _as_damage(error) from None
        yield content


def _as_damage(error: Exception) -> TorchFileError:
    if isinstance(error, TorchFileError):
        return error
    return TorchFileError(f"is damaged or incomplete ({_words(error)}); copy or download it again")


def _words(error: Exception) -> str:
    if str(error) == "File is not a zip file":  # although it starts as one
        return "the end of the archive is missing"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _dtype(name: Any) -> torch.dtype | None:
    """Return the type of the elements of a storage class; None for others, such as those of quantized tensors."""
    return STORAGE_DTYPES.get(name.name.rpartition(".")[2]) if isinstance(name, Name) else None


def _storage(identifier: Any) -> Storage | Opaque:
    """Return the storage of a persistent id ("storage", class, key, location, number of elements, ...).

    A view of the format of PyTorch 0.2 and 0.3 is a further item (key, start, number of elements), or None.
    """
    is_storage = isinstance(identifier, tuple) and identifier[:1] in (("storage",), (b"storage",))
    if not is_storage or len(identifier) not in (5, 6):
        raise PickleError("a reference in its pickle is not one to a storage of values")
    kind, key, _, numel = identifier[1:5]
    dtype = _dtype(kind)
    if dtype is None:
        return Opaque("storage")
    try:
        whole = Storage.checked(key, dtype, numel)
        view = identifier[5] if len(identifier) == 6 else None
        if view is None:
            return whole
        _, start, numel = view
        part = Storage.checked(key, dtype, numel, start)
    except (ValueError, TypeError) as error:
        raise PickleError(str(error)) from None
    if part.start + part.numel > whole.numel:
        raise PickleError("a view in its pickle is larger than its storage")
    return part


# zip archive


def _read_zip(archive: zipfile.ZipFile, size: int) -> TorchFile:
    names = archive.namelist()
    roots = [name.removesuffix("data.pkl") for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if not roots:
        raise TorchFileError(f"is {describe_zip(names)}")
    root = roots[0]
    if any(name.startswith((f"{root}code/", f"{root}constants.pkl")) for name in names):
        raise TorchFileError(f"is a TorchScript archive (torch.jit.save), not a file of weights; {TORCHSCRIPT_ADVICE}")
    if sum(info.file_size for info in archive.infolist()) > _MAX_COMPRESSION * size:
        raise TorchFileError("is an archive whose content is far larger than the file; it holds no usable weights")
    content = read_pickle(io.BytesIO(archive.read(f"{root}data.pkl")), _storage)
    order = archive.read(f"{root}byteorder").decode("ascii", "replace") if f"{root}byteorder" in names else "little"
    return TorchFile(content, lambda key: bytearray(archive.read(f"{root}data/{key}")), order != sys.byteorder)


# Sequence of pickles


def _read_sequence(file: mmap.mmap) -> TorchFile:
    """Return the content of a file of PyTorch 0.2 to 1.5: numbers, the value, the keys, and then each storage."""
    stream: Any = file
    first = read_pickle(stream)
    if first != _MAGIC:  # a pickle of another library; its value tells what it holds
        return TorchFile(first, _no_storage)
    if read_pickle(stream) != _PROTOCOL_VERSION:
        raise TorchFileError("has an unknown version of torch.save; write it again with a current PyTorch")
    read_pickle(stream)  # byte order and sizes of the machine; the values are little-endian on every machine
    storages: dict[str, Storage] = {}

    def persistent_load(identifier: Any) -> Any:
        if isinstance(identifier, tuple) and identifier[:1] in (("module",), (b"module",)) and len(identifier) > 1:
            return identifier[1]  # the class of a pickled module, followed by its source code
        storage = _storage(identifier)
        if isinstance(storage, Storage):
            storages.setdefault(storage.key, storage)
        return storage

    content = read_pickle(stream, persistent_load)
    places: dict[str, tuple[int, int]] = {}
    for key in map(_key, read_pickle(stream)):
        if key not in storages:
            break  # of an unknown type, so that the size of its elements and the place of the next one are unknown
        places[key] = _skip_storage(file, storages[key].dtype)

    def read_storage(key: str) -> bytearray:
        start, size = places[key]
        return bytearray(file[start : start + size])

    return TorchFile(content, read_storage, sys.byteorder != "little")


def _no_storage(key: str) -> bytearray:
    raise TorchFileError("holds no values")


def _skip_storage(file: IO[bytes] | mmap.mmap, dtype: torch.dtype) -> tuple[int, int]:
    """Return start and number of bytes of the storage at the position of ``file``, which moves behind it."""
    (numel,) = struct.unpack("<q", _exactly(file, 8))
    start, size = file.tell(), numel * dtype.itemsize
    end = file.seek(0, io.SEEK_END) or file.tell()  # mmap.seek returns None before Python 3.13
    if numel < 0 or start + size > end:
        raise PickleError("values are missing at the end of the file")
    file.seek(start + size)
    return start, size


def _exactly(file: IO[bytes] | mmap.mmap, size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise PickleError("values are missing at the end of the file")
    return content


# tar archive


def _read_tar(archive: tarfile.TarFile) -> TorchFile:
    """Return the content of a file of PyTorch 0.1, whose members are ``storages``, ``tensors`` and ``pickle``."""
    members = {member.name: member for member in archive if member.isreg() and not member.issparse()}
    if not {"storages", "tensors", "pickle"} <= set(members):
        raise TorchFileError(
            "is a tar archive without weights of torch.save; unpack it and give the file of weights in it"
        )

    def member(name: str) -> IO[bytes]:
        file = archive.extractfile(members[name])
        assert file is not None  # a regular file
        return file

    file, places, objects = member("storages"), {}, {}
    for _ in range(_count(read_pickle(file))):
        key, _, kind = read_pickle(file)
        dtype = _dtype(kind)
        if dtype is None:
            raise TorchFileError("holds tensors of an unsupported type; write it again with a current PyTorch")
        places[_key(key)] = start, size = _skip_storage(file, dtype)
        objects[_key(key)] = Storage(_key(key), dtype, size // dtype.itemsize)
    for key, root, start, numel in read_pickle(file):
        whole = objects[_key(root)]
        objects[_key(key)] = Storage.checked(whole.key, whole.dtype, numel, start)
    tensors = _read_tar_tensors(member("tensors"), objects)

    def read_storage(key: str) -> bytearray:
        start, size = places[key]
        file.seek(start)
        return bytearray(_exactly(file, size))

    def persistent_load(identifier: Any) -> Any:
        return identifier[0] if isinstance(identifier, tuple) and identifier else tensors[_key(identifier)]

    return TorchFile(read_pickle(member("pickle"), persistent_load), read_storage, sys.byteorder != "little")


def _read_tar_tensors(file: IO[bytes], storages: Mapping[str, Storage]) -> dict[str, StoredTensor]:
    result = {}
    for _ in range(_count(read_pickle(file))):
        key, storage, _ = read_pickle(file)
        (dimensions,) = struct.unpack("<i4x", _exactly(file, 8))
        if not 0 <= dimensions <= MAX_DIMENSIONS:
            raise PickleError("a tensor has an impossible number of dimensions")
        numbers = struct.unpack(f"<{2 * dimensions + 1}q", _exactly(file, 8 * (2 * dimensions + 1)))
        shape, strides, offset = numbers[:dimensions], numbers[dimensions:-1], numbers[-1]
        result[_key(key)] = StoredTensor.checked(storages[_key(storage)], offset, shape, strides)
    return result


def _key(value: Any) -> str:
    """Return the key of a storage or tensor as text; the text of any other value may be endless."""
    if not isinstance(value, str | int):
        raise PickleError("an impossible key of a storage or tensor")
    return str(value)


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 10**6:
        raise PickleError("an impossible number of tensors")
    return value
