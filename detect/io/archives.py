"""Zip archives from the network, unpacked only when they are safe."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from detect.errors import DataError

MAX_UNPACKED_BYTES = 20 * 2**30  # a larger archive is a zip bomb rather than a dataset for this toolkit


def unpack_zip(archive: Path, target: Path) -> Path:
    """Unpack a zip archive into the new folder ``target`` and return the folder in which its content begins.

    This is the only folder at the top of the archive, or else ``target``. Files that macOS adds are left out.
    Raises DataError for a damaged archive, links, paths that leave ``target``, or more than MAX_UNPACKED_BYTES.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not _is_added_by_macos(m.filename)]
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


def _is_added_by_macos(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1:] == (".DS_Store",)


def _danger(member: zipfile.ZipInfo) -> str:
    """Return why a member must not be unpacked, or ''."""
    name = member.filename
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 in archives made on systems without file types
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        return "is an absolute path"
    if ".." in PureWindowsPath(name).parts:  # splits at both kinds of slash
        return "leads out of the folder"
    return ""
