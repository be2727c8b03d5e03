"""Tensors of a file that are known by type and shape, and whose values are read later, if they are needed at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# A file may state any shape with strides of 0; more elements than this are not the weights of a network.
MAX_ELEMENTS = 2**31
MAX_DIMENSIONS = 32

# Name of the storage class -> type of its elements. torch.UntypedStorage counts bytes.
STORAGE_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
DTYPE_NAMES = {str(dtype): dtype for dtype in STORAGE_DTYPES.values()}


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of elements in a file.

    Attributes:
        key: the file's name for the bytes that hold them.
        dtype: type of the elements.
        numel: number of elements.
        start: index of the first one among those of ``key``.
    """

    key: str
    dtype: torch.dtype
    numel: int
    start: int = 0

    @staticmethod
    def checked(key: Any, dtype: torch.dtype, numel: Any, start: Any = 0) -> Storage:
        """Return a Storage. Raises ValueError for values that are not possible."""
        if not isinstance(key, str | int) or not _is_count(numel) or not _is_count(start):
            raise ValueError("a storage in its pickle has an impossible key or size")
        return Storage(str(key), dtype, numel, start)

    @property
    def nbytes(self) -> int:
        """Number of bytes up to the last element."""
        return (self.start + self.numel) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor whose values are still in the file.

    Attributes:
        storage: where its values are.
        dtype: type of its elements; that of the storage, except for ``UntypedStorage``.
        offset: index of its first element in the storage.
        shape, strides: as those of a Tensor; every element is inside of the storage.
    """

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @staticmethod
    def checked(
        storage: Storage, offset: Any, shape: Any, strides: Any, dtype: torch.dtype | None = None
    ) -> StoredTensor:
        """Return a StoredTensor. Raises ValueError if it has an impossible shape or exceeds its storage."""
        dtype = dtype or storage.dtype
        sequences = isinstance(shape, list | tuple) and isinstance(strides, list | tuple)
        if not sequences or not len(shape) == len(strides) <= MAX_DIMENSIONS:
            raise ValueError("a tensor in its pickle has an impossible shape")
        # Only numbers are shown: the text of tuples in tuples may be endless.
        if not all(map(_is_count, (offset, *shape, *strides))):
            raise ValueError("a tensor in its pickle has an impossible shape")
        if math.prod(max(side, 1) for side in shape) > MAX_ELEMENTS:
            raise ValueError(f"a tensor in its pickle has the impossible shape {str(tuple(shape))[:60]}")
        last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        if 0 not in shape and (last + 1) * dtype.itemsize > storage.numel * storage.dtype.itemsize:
            raise ValueError(
                f"a tensor of shape {tuple(shape)} is larger than its storage of {storage.numel} elements"
            )
        return StoredTensor(storage, dtype, offset, tuple(shape), tuple(strides))

    def read(self, content: bytearray) -> Tensor:
        """Return the tensor, as a view of the bytes of its storage. Raises ValueError for too few bytes."""
        if len(content) < self.storage.nbytes:
            raise ValueError(f"storage {self.storage.key} has {len(content)} bytes instead of {self.storage.nbytes}")
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=self.dtype)
        start = self.storage.start * self.storage.dtype.itemsize
        elements = torch.frombuffer(
            content, dtype=self.dtype, count=(len(content) - start) // self.dtype.itemsize, offset=start
        )
        return elements.as_strided(self.shape, self.strides, self.offset)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62
