"""Downloads with time-outs that continue after an interruption and are verified.

torch.hub has no time-outs, starts again after an interruption and does not verify files that exist. ``fetch`` uses the
same folder and file names, so files that the user or torchvision put there are found.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from detect.errors import FetchError
from detect.io.files import DISK_FULL, replace_file
from detect.io.http import BrokenOffError, discard, network_error_in_words, receive, resumable

RETRIES = 3  # after a broken connection; a server that cannot be reached at all is not tried again
PAUSE_SECONDS = 1.0  # before each retry
_intact: set[tuple[Path, int, int, str]] = set()  # path, size, time of change and digest of files that were verified


class _WrongContentError(OSError):
    """A complete download whose digest is not the expected one."""


def fetch(
    url: str, folder: Path | None = None, *, sha256: str | None = None, hint: str = "", replace: bool = False
) -> Path:
    """Return the local file with the content of ``url``; download it to ``folder`` if it is not there.

    folder: the folder in which torch.hub keeps weights, if None (see ``checkpoints_folder``).
    sha256: hex digest or its first digits, '' for none. None takes the digits in the name (``resnet50-0676ba61.pth``).
    hint: end of the error message: how the caller can do without the file.
    replace: whether an existing file with another digest is replaced by a new download.

    An interrupted download stays as ``NAME.partial``, and the next call continues it. A process verifies a file once,
    and again if it has changed.
    Raises FetchError: without a network within 15 seconds, naming the path at which to put the file by hand; for a
    disk that is full or not writable; for a web page instead of the file; and for an existing file with a wrong
    digest, which the user has to delete.
    """
    name = file_name(url)
    expected = (_digest_in(name) if sha256 is None else sha256).lower()
    folder = (checkpoints_folder() if folder is None else folder).absolute()
    path, partial = folder / name, folder / f"{name}.partial"

    def is_needed() -> bool:
        return not path.is_file() or (replace and bool(_damage(path, expected)))

    try:
        if is_needed():
            folder.mkdir(parents=True, exist_ok=True)
            with download_lock(path):
                if is_needed():  # another process may have downloaded it meanwhile
                    _download(url, partial, expected)
                    replace_file(partial, path)
                    discard(partial)
                    _intact.add(_state(path, expected))
                    return path
        damage = _damage(path, expected)
    except (OSError, HTTPException, ValueError) as error:
        reason = f"cannot download {name} from {redacted_url(url)}: {network_error_in_words(error)}"
        kept = "the next try continues this download; " if resumable(partial, url)[0] else ""
        text = f"{reason}; {kept}{_advice(error, path)}{'; ' if hint else ''}{hint}"
        raise FetchError(" ".join(text.split())) from error
    if damage:
        raise FetchError(f"{path} is damaged: {damage}; delete it to download it again from {redacted_url(url)}")
    return path


def checkpoints_folder() -> Path:
    """Return ``torch.hub.get_dir()/checkpoints`` without importing torch."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    home = Path(os.environ.get("TORCH_HOME", cache / "torch"))
    return home.expanduser() / "hub" / "checkpoints"


def download_lock(path: Path) -> FileLock:
    """Return a lock that lets one process at a time download ``path``.

    ``NAME.lock`` is never deleted: a process that waits for a deleted lock and one that creates it anew would both
    hold it.
    """
    return FileLock(path.with_name(f"{path.name}.lock"))


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def redacted_url(url: str) -> str:
    """Return a URL for messages: without user name, password and query, which may hold a key."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError when a part of a password looks like a port
    except ValueError:
        return re.sub(r"//.*@", "//...@", url)
    query = "?..." if parts.query else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


def file_name(url: str) -> str:
    """Return the last part of an http(s) URL as a file name. Raises FetchError when the URL has none."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError for an invalid port
        name = unquote(parts.path, errors="strict").replace("\\", "/").rpartition("/")[2]
        fits = parts.scheme in ("http", "https") and parts.hostname and name.isprintable() and "@" not in parts.netloc
    except ValueError:
        fits = False
    if not fits or name in ("", ".", ".."):
        must = "the URL must be http(s)://HOST/.../FILE, without user name and password"
        raise FetchError(f"cannot download '{redacted_url(url)}': {must}")
    return name


def _digest_in(name: str) -> str:
    """Return the first SHA-256 digits in a file name of torchvision, or ''. A date (-20240131.) is not a digest."""
    date = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    match = re.search(rf"-(?!{date}\.)([0-9a-f]{{8,10}})\.", name)
    return match[1] if match else ""


def _download(url: str, partial: Path, expected: str) -> None:
    """Fill ``partial``, with retries after broken connections; delete it when its digest is wrong."""
    try:
        for retries_left in reversed(range(RETRIES + 1)):
            try:
                receive(url, partial)
                break
            except BrokenOffError:
                if not retries_left:
                    raise
                time.sleep(PAUSE_SECONDS)
    except Exception:
        if not resumable(partial, url)[0]:
            discard(partial)
        raise
    if damage := _mismatch(partial, expected):
        discard(partial)
        raise _WrongContentError(damage)


def _advice(error: Exception, path: Path) -> str:
    """Return what the user can do about a failed download."""
    if isinstance(error, _WrongContentError):
        return "the download was damaged, or the file on the server has changed, or the expected digest is wrong"
    is_disk_error = isinstance(error, OSError) and (error.filename or error.errno in DISK_FULL)
    if not is_disk_error or isinstance(error, URLError):  # the filename of an HTTPError is the URL
        return f"without a network, put the file there by hand: {path}"
    other = " (TORCH_HOME=DIR selects another)" if path.is_relative_to(checkpoints_folder().absolute()) else ""
    return f"the folder {path.parent}{other} must be writable and have free space"


def _damage(path: Path, expected: str) -> str:
    """Return ``_mismatch`` of a file, which is only read if it has changed since it was found intact."""
    state = _state(path, expected)
    damage = "" if state in _intact else _mismatch(path, expected)
    if not damage:
        _intact.add(state)
    return damage


def _state(path: Path, expected: str) -> tuple[Path, int, int, str]:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns, expected


def _mismatch(path: Path, expected: str) -> str:
    """Return how the SHA-256 of a file differs from the ``expected`` first digits, or '' when it does not."""
    actual = sha256_of(path) if expected else ""
    if actual.startswith(expected):
        return ""
    return f"its sha256 is {actual}, expected was {expected}{'...' if len(expected) < len(actual) else ''}"
