"""Download of a dataset: one zip archive, unpacked and verified before the dataset's folder appears.

``download`` is that section of datasets/NAME.yaml: ``url``, and any of ``sha256`` ({file: digest}), ``images``
({folder: number of images}) and ``via_sizes`` (VIA annotation files, whose ``size`` of each image is checked). Paths
are relative to the dataset's folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from detect.errors import DataError
from detect.io.archives import unpack_zip
from detect.io.downloads import fetch, sha256_of
from detect.media.formats import SUFFIXES
from detect.text import first_few


def fetch_archive(download: Mapping[str, Any], root: Path) -> None:
    """Download the archive of a dataset to the parent of ``root``, unpack it to ``root`` and verify it.

    ``root`` appears only when the files are verified. The archive is kept. Files that exist in ``root`` are verified
    and never overwritten. Raises FetchError for a failed download, and DataError for an archive that is unsafe,
    damaged or another dataset.
    """
    if root.is_dir() and any(root.iterdir()):
        return verify_files(download, root)
    hint = f"or put the unpacked dataset there: {root.absolute()}"
    archive = fetch(download["url"], root.parent, hint=hint)
    print(f"{archive}: sha256 {sha256_of(archive)}", file=sys.stderr)
    try:
        with TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as scratch:
            files = unpack_zip(archive, Path(scratch) / root.name)
            if problems := list(_problems(download, files)):
                raise DataError(
                    f"{archive} is damaged or another dataset: {first_few(problems)}; delete it and try again"
                )
            _move(files, root)
    except OSError as error:
        raise DataError(f"{archive} cannot be unpacked to {root}: {error.strerror}") from error


def verify_files(download: Mapping[str, Any], root: Path) -> None:
    """Raise DataError unless ``root`` holds the files that ``download`` describes. Nothing is written."""
    if problems := list(_problems(download, root)):
        own = [one for one in root.iterdir() if any((one / name).is_file() for name in download.get("sha256", {}))]
        hint = f"; it may be in {own[0]}" if own else ""
        raise DataError(f"{root} does not hold the dataset of {download['url']}: {first_few(problems)}{hint}")


def _problems(download: Mapping[str, Any], root: Path) -> Iterator[str]:
    """Yield one phrase for each file in ``root`` that is missing or wrong."""
    damaged = set()
    for name, expected in download.get("sha256", {}).items():
        actual = sha256_of(root / name) if (root / name).is_file() else None
        if actual != expected.lower():
            damaged.add(name)
            yield f"{name} has the sha256 {actual}, expected {expected}" if actual else f"{name} is missing"
    for folder, expected in download.get("images", {}).items():
        count = sum(p.suffix.lower() in SUFFIXES for p in root.joinpath(folder).glob("[!.]*"))
        if count != expected:
            yield f"{folder} has {count} images, expected {expected}"
    for name in download.get("via_sizes", []):
        if name not in damaged:
            yield from _wrong_sizes(root / name)


def _wrong_sizes(annotations: Path) -> Iterator[str]:
    """Yield a phrase for each image whose size in bytes is not the one in its VIA annotations."""
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
        entries = content.get("_via_img_metadata", content).values()  # a VIA 2 project, or only its annotations
        sizes = [(entry["filename"], entry["size"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"{annotations.name} cannot be read as VIA annotations ({error})"
        return
    for name, expected in sizes:
        image = annotations.parent / name
        if not image.is_file():
            yield f"{annotations.parent.name}/{name} is missing"
        elif (actual := image.stat().st_size) != expected and expected != -1:  # VIA 2 writes -1 for an unknown size
            yield f"{annotations.parent.name}/{name} has {actual} bytes, expected {expected}"


def _move(files: Path, root: Path) -> None:
    try:
        files.replace(root)
    except OSError:
        # Another process may have finished first; its files are verified too.
        if not (root.is_dir() and any(root.iterdir())):
            raise
