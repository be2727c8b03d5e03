"""Digests of image files, by which a model's training images are recognized later, whatever the files are called.

The digest of an image covers the length of its file and four blocks of it, so that COCO's 19 GB of training images
need not be read before the first step. Compressed images that differ anywhere differ in most of their bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from detect.io.files import write_bytes
from detect.io.threads import map_in_threads
from detect.progress import bar

TRAIN_IMAGES = "train_images.txt"
"""Name of the file beside a checkpoint that lists the digests of its training images."""

_BLOCK, _BLOCKS = 4096, 4  # bytes per block; the blocks are evenly spaced, from the first byte to the last
_THREADS = 8  # reading small parts of many files waits for the disk or the network
_MANY = 500  # images from which a progress bar is shown


def image_digest(path: Path) -> str:
    """Return 16 hex digits that identify an image file. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(f"{size}\n".encode())
        if size <= _BLOCK * _BLOCKS:
            digest.update(file.read())
        else:
            for i in range(_BLOCKS):
                file.seek((size - _BLOCK) * i // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:16]


def image_digests(paths: Sequence[Path], digest: Callable[[Path], str] = image_digest) -> list[str]:
    """Return the ``digest`` of each image file; "" for a file that cannot be read."""

    def digest_or_nothing(path: Path) -> str:
        try:
            return digest(path)
        except OSError:
            return ""

    found = map_in_threads(digest_or_nothing, paths, _THREADS)
    return list(bar(found, desc="identify images", total=len(paths), min_items=_MANY))


def dataset_digest(digests: Iterable[str]) -> str:
    """Return the SHA-256 of the sorted ``digests`` of a dataset's images, which names and order do not change."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def write_digests(path: Path, digests: Sequence[str], names: Sequence[str]) -> None:
    """Write one line per image with its digest and its name. Raises DiskError."""
    lines = (f"{digest or '-' * 16}  {name}\n" for digest, name in zip(digests, names, strict=True))
    write_bytes(path, "".join(lines).encode("utf-8", "surrogateescape"))


def read_digests(model: Path, expected: str) -> frozenset[str]:
    """Return the digests in the file TRAIN_IMAGES beside a checkpoint, or of an exported model.

    expected: the ``dataset_digest`` that the model stores. Without the file, and for a file of other images, the
    result is empty.
    """
    try:
        lines = _list_of(model).read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    digests = [line.split(maxsplit=1)[0].strip("-") for line in lines if line.strip()]
    return frozenset(filter(None, digests)) if dataset_digest(digests) == expected else frozenset()


def copy_digests(model: Path, copy: Path) -> None:
    """Copy the file TRAIN_IMAGES of a model, if there is one, for a model that was made of it. Raises DiskError."""
    if (source := _list_of(model)).is_file():
        write_bytes(_list_of(copy), source.read_bytes())


def _list_of(model: Path) -> Path:
    """Return the path of the file TRAIN_IMAGES: in the folder of an exported model, beside any other file."""
    return (model if model.is_dir() else model.parent) / TRAIN_IMAGES
