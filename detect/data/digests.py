"""Digests of image files, by which a model's training images are recognized later, whatever the files are called.

The digest of a compressed image covers the length of its file and four blocks of it, so that COCO's 19 GB of training
images need not be read before the first step: images that differ anywhere differ in most of their bytes. The digest of
any other file, such as BMP or TIFF, covers all of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from detect.data.slow_reading import name_slow
from detect.io.files import write_bytes
from detect.io.threads import map_in_threads
from detect.progress import bar
from detect.text import one_line

TRAIN_IMAGES = "train_images.txt"
"""Name of the file beside a checkpoint that lists the digests of its training images."""

_BLOCK, _BLOCKS = 4096, 4  # bytes per block; the blocks are evenly spaced, from the first byte to the last
_TITLE = "# images of the dataset "
_THREADS = 8  # reading small parts of many files waits for the disk or the network
_MANY = 500  # images from which a progress bar is shown


def image_digest(path: Path) -> str:
    """Return 16 hex digits that identify an image file. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(f"{size}\n".encode())
        head = file.read(_BLOCK)
        if size <= _BLOCK * _BLOCKS or not _is_compressed(head):
            digest.update(head)
            while rest := file.read(1 << 20):
                digest.update(rest)
        else:
            for i in range(_BLOCKS):
                file.seek((size - _BLOCK) * i // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:16]


def _is_compressed(head: bytes) -> bool:
    """Return whether a file begins as JPEG, PNG, WebP, HEIC or AVIF."""
    return head.startswith((b"\xff\xd8", b"\x89PNG")) or head[8:12] == b"WEBP" or head[4:8] == b"ftyp"


def image_digests(paths: Sequence[Path], digest: Callable[[Path], str] = image_digest) -> list[str]:
    """Return the ``digest`` of each image file; "" for a file that cannot be read."""

    def digest_or_nothing(path: Path) -> str:
        try:
            return digest(path)
        except OSError:
            return ""

    found = name_slow(map_in_threads(digest_or_nothing, paths, _THREADS), lambda i: [str(paths[i])])
    return list(bar(found, desc="identify images", total=len(paths), min_items=_MANY))


def dataset_digest(digests: Iterable[str]) -> str:
    """Return the SHA-256 of the sorted ``digests`` of a dataset's images, which names and order do not change."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def write_digests(path: Path, digests: Sequence[str], names: Sequence[str]) -> None:
    """Write a section with one line per image, its digest and its name, below a line with the ``dataset_digest``.

    Sections of other images are kept, such as those of a run that was resumed with other images, since the checkpoint
    of an earlier epoch may need them. Raises DiskError.
    """
    title = f"{_TITLE}{dataset_digest(digests)}"
    rows = [f"{digest or '-' * 16}  {one_line(name, 4096)}" for digest, name in zip(digests, names, strict=True)]
    sections = _sections(path) | {title: rows}
    lines = [line for each, content in sections.items() for line in (each, *content)]
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


def read_images(model: Path, expected: str) -> dict[str, str]:
    """Return digest and name of each image in the file TRAIN_IMAGES beside a checkpoint, or of an exported model.

    expected: the ``dataset_digest`` that the model stores. Without the file, and for a file of other images, the
    result is empty. Images that could not be read are left out.
    """
    rows = [(line[:16].strip("-"), line[18:]) for line in _sections(_list_of(model)).get(f"{_TITLE}{expected}", [])]
    if dataset_digest(digest for digest, _ in rows) != expected:
        return {}
    return {digest: name for digest, name in rows if digest}


def read_digests(model: Path, expected: str) -> frozenset[str]:
    """Return the digests of ``read_images``."""
    return frozenset(read_images(model, expected))


def _sections(path: Path) -> dict[str, list[str]]:
    """Return the lines below each title of a file of ``write_digests``; nothing for a file that cannot be read."""
    sections: dict[str, list[str]] = {}
    try:
        lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return sections
    title = ""
    for line in filter(None, lines):
        if line.startswith(_TITLE):
            sections[title := line] = []
        elif title:
            sections[title].append(line)
    return sections


def copy_digests(model: Path, copy: Path) -> None:
    """Copy the file TRAIN_IMAGES of a model, if there is one, for a model that was made of it. Raises DiskError."""
    if (source := _list_of(model)).is_file():
        write_bytes(_list_of(copy), source.read_bytes())


def _list_of(model: Path) -> Path:
    """Return the path of the file TRAIN_IMAGES: in the folder of an exported model, beside any other file."""
    return (model if model.is_dir() else model.parent) / TRAIN_IMAGES
