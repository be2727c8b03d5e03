"""Datasets that can be downloaded: one zip archive, unpacked with suspicion and checked before it counts.

``download`` is that section of datasets/NAME.yaml: ``url``, and any of ``sha256`` ({file: digest}),
``images`` ({folder: how many}) and ``via_sizes`` (VIA annotation files, whose ``size`` of each image is
checked). Paths are relative to the dataset's folder.
"""

from __future__ import annotations

import json
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import Any

from detect.errors import DataError
from detect.io.downloads import fetch, sha256_of
from detect.media.formats import SUFFIXES
from detect.text import first_few

MAX_UNPACKED_BYTES = 20 * 2**30  # more is a zip bomb rather than a dataset for this toolkit


def fetch_archive(download: Mapping[str, Any], root: Path) -> None:
    """Download the archive beside ``root``, unpack and check it, and only then let ``root`` appear.

    The archive is kept. Files that are in ``root`` already are checked, never overwritten. Raises FetchError
    where it cannot be downloaded, DataError where it is unsafe, damaged or another dataset.
    """
    if root.is_dir() and any(root.iterdir()):
        return verify_files(download, root)
    hint = f"or put the unpacked dataset there: {root.absolute()}"
    archive = fetch(download["url"], root.parent, hint=hint)
    print(f"{archive}: sha256 {sha256_of(archive)}", file=sys.stderr)
    try:
        with TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as scratch:
            files = _unpack(archive, Path(scratch) / root.name)
            if problems := list(_problems(download, files)):
                what = "is damaged or another dataset"
                raise DataError(f"{archive} {what}: {first_few(problems)}; delete it and try again")
            _move(files, root)
    except OSError as error:
        raise DataError(f"{archive} cannot be unpacked to {root}: {error.strerror}") from error


def verify_files(download: Mapping[str, Any], root: Path) -> None:
    """Check that ``root`` holds the files of the dataset; nothing is written. Raises DataError if not."""
    if problems := list(_problems(download, root)):
        raise DataError(f"{root} does not hold the dataset of {download['url']}: {first_few(problems)}")


def _problems(download: Mapping[str, Any], root: Path) -> Iterator[str]:
    """What is wrong with the files in ``root``, one phrase each."""
    damaged = set()
    for name, expected in download.get("sha256", {}).items():
        found = sha256_of(root / name) if (root / name).is_file() else None
        if found != expected.lower():
            damaged.add(name)
            yield f"{name} has the sha256 {found}, expected {expected}" if found else f"{name} is missing"
    for folder, expected in download.get("images", {}).items():
        count = sum(p.suffix.lower() in SUFFIXES for p in root.joinpath(folder).glob("[!.]*"))
        if count != expected:
            yield f"{folder} has {count} images, expected {expected}"
    for name in download.get("via_sizes", []):
        if name not in damaged:
            yield from _wrong_sizes(root / name)


def _wrong_sizes(annotations: Path) -> Iterator[str]:
    """Images whose bytes are not as many as VIA noted when they were annotated."""
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
        entries = content.get("_via_img_metadata", content).values()  # a project of VIA 2, or the entries alone
        noted = [(entry["filename"], entry["size"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"{annotations.name} cannot be read as VIA annotations ({error})"
        return
    for name, expected in noted:
        image = annotations.parent / name
        if not image.is_file():
            yield f"{annotations.parent.name}/{name} is missing"
        elif (found := image.stat().st_size) != expected and expected != -1:  # which VIA 2 writes where it knows none
            yield f"{annotations.parent.name}/{name} has {found} bytes, expected {expected}"


def _unpack(archive: Path, target: Path) -> Path:
    """Unpack ``archive`` to the new folder ``target``; the folder in it where the dataset begins."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not _is_litter(m.filename)]
            for member in members:
                if reason := _danger(member):
                    raise DataError(f"{archive} is not safe to unpack: '{member.filename}' {reason}")
            size = sum(member.file_size for member in members)  # zipfile never writes more than this
            if size > MAX_UNPACKED_BYTES:
                raise DataError(f"{archive} would unpack to {size} bytes, the limit is {MAX_UNPACKED_BYTES}")
            target.mkdir()
            opened.extractall(target, members)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); delete it and try again") from error
    children = list(target.iterdir())
    return children[0] if len(children) == 1 and children[0].is_dir() else target


def _move(files: Path, root: Path) -> None:
    try:
        files.replace(root)
    except OSError:
        # Where another process was faster, the same files are there, and checked.
        if not (root.is_dir() and any(root.iterdir())):
            raise


def _is_litter(name: str) -> bool:
    """What macOS adds to an archive."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1:] == (".DS_Store",)


def _danger(member: zipfile.ZipInfo) -> str:
    """Why a member must not be unpacked; '' where it may."""
    name = member.filename
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 in archives made where files have no such kind
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        return "is an absolute path"
    if ".." in PureWindowsPath(name).parts:  # splits at both kinds of slash
        return "leads out of the folder"
    return ""
