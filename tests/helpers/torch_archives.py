"""Files of torch.save made by hand, from a pickle that torch.save would not write, or in a format of the past."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch


def write_zip(path: Path, data_pkl: bytes, records: dict[str, bytes] | None = None, compression: int = 0) -> Path:
    """Write the zip format with the given pickle; ``records`` are further members, such as ``data/0``."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        for name, content in (records or {}).items():
            archive.writestr(f"archive/{name}", content)
    return path


class _TarPickler(pickle.Pickler):
    """Pickles tensors as the keys under which PyTorch 0.1 stored them in another member of the archive."""

    def persistent_id(self, value: Any) -> str | None:
        return str(id(value)) if isinstance(value, torch.Tensor) else None


def write_tar(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """Write the tar format of PyTorch 0.1. All tensors are float32 and contiguous, and share one storage."""
    storages, tensors, content = io.BytesIO(), io.BytesIO(), io.BytesIO()
    elements = torch.cat([tensor.flatten() for tensor in state.values()])
    pickle.dump(1, storages, 2)
    pickle.dump(("7", "cpu", torch.FloatStorage), storages, 2)
    storages.write(struct.pack("<q", len(elements)) + elements.numpy().tobytes())
    pickle.dump([], storages, 2)
    pickle.dump(len(state), tensors, 2)
    offset = 0
    for tensor in state.values():
        pickle.dump((str(id(tensor)), "7", torch.FloatTensor), tensors, 2)
        numbers = (*tensor.shape, *tensor.stride(), offset)
        tensors.write(struct.pack(f"<i4x{len(numbers)}q", tensor.ndim, *numbers))
        offset += tensor.numel()
    _TarPickler(content, 2).dump(OrderedDict(state))
    with tarfile.open(path, "w") as archive:
        for name, member in (("storages", storages), ("tensors", tensors), ("pickle", content)):
            info = tarfile.TarInfo(name)
            info.size = len(member.getvalue())
            archive.addfile(info, io.BytesIO(member.getvalue()))
    return path
