"""Downloads that give up in time, go on where they stopped, and arrive whole.

torch.hub has no time-outs, starts again after a cut and never looks into a file that is already there.
``fetch`` keeps the same folder and names, so a file put there by hand, or by torchvision, counts.
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
from detect.io.files import DISK_FULL, put_in_place
from detect.io.http import BrokenOffError, discard, receive, resumable, why

RETRIES = 3  # of a download that broke off; a server that cannot be reached at all is not asked again
PAUSE_SECONDS = 1.0  # before each of them


class _OtherBytesError(OSError):
    """What came is not what was asked for."""


def fetch(
    url: str, folder: Path | None = None, *, sha256: str | None = None, hint: str = "", replace: bool = False
) -> Path:
    """The local file with the content of ``url``, downloaded to ``folder`` unless it is there already.

    folder: by default the one torch.hub keeps weights in (see ``checkpoints_folder``).
    sha256: hex digest or its first digits, '' for none; by default those in the name (``resnet50-0676ba61.pth``).
    hint: the caller's words on how to do without the file, for the end of the message.
    replace: whether a file that is there with another digest gives way to the right one, once that has come.

    An interrupted download stays as ``NAME.partial`` and the next call goes on from there. Raises FetchError,
    within 15 seconds where there is no network, saying where to put the file by hand; for a disk that is full or
    cannot be written to; for a web page in place of the file; and for a file that is there but damaged, which is left
    to the user to delete.
    """
    name = file_name(url)
    expected = (_digest_in(name) if sha256 is None else sha256).lower()
    folder = (checkpoints_folder() if folder is None else folder).absolute()
    path, partial = folder / name, folder / f"{name}.partial"

    def is_wanted() -> bool:
        return not path.is_file() or (replace and bool(_mismatch(path, expected)))

    try:
        if is_wanted():
            folder.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(path):
                if is_wanted():  # else another process was faster
                    _download(url, partial, expected)
                    put_in_place(partial, path)
                    discard(partial)
                    return path
        damage = _mismatch(path, expected)
    except (OSError, HTTPException, ValueError) as error:
        kept = "what came so far is kept for the next try; " if resumable(partial, url)[0] else ""
        words = f"cannot download {name} from {shown(url)}: {why(error)}; {kept}{_advice(error, path)}"
        raise FetchError(" ".join(f"{words}{'; ' if hint else ''}{hint}".split())) from error
    if damage:
        raise FetchError(f"{path} is damaged: {damage}; delete it, and the next try downloads it from {shown(url)}")
    return path


def checkpoints_folder() -> Path:
    """``torch.hub.get_dir()/checkpoints``, found without importing torch."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    home = Path(os.environ.get("TORCH_HOME", cache / "torch"))
    return home.expanduser() / "hub" / "checkpoints"


def one_at_a_time(path: Path) -> FileLock:
    """A lock for ``with``: the processes of one training download a file once, not all into the same partial file.

    ``NAME.lock`` stays: who waits for a lock that is deleted, and who then makes a new one, would both have it.
    """
    return FileLock(path.with_name(f"{path.name}.lock"))


def sha256_of(path: Path) -> str:
    """The hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def shown(url: str) -> str:
    """An address for messages: without a user's name and password, and without a query, which may be a key."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where what seems to be a port is a part of a password
    except ValueError:
        return re.sub(r"//.*@", "//...@", url)
    query = "?..." if parts.query else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


def file_name(url: str) -> str:
    """The last part of an http(s) address, as a file name; FetchError where there is none."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is none
        name = unquote(parts.path, errors="strict").replace("\\", "/").rpartition("/")[2]
        fits = parts.scheme in ("http", "https") and parts.hostname and name.isprintable() and "@" not in parts.netloc
    except ValueError:
        fits = False
    if not fits or name in ("", ".", ".."):
        must = "the address must be http(s)://HOST/.../FILE, without a user's name and password"
        raise FetchError(f"cannot download '{shown(url)}': {must}")
    return name


def _digest_in(name: str) -> str:
    """The beginning of the sha256 that torchvision's file names carry, or ''; a date (-20240131.) is none."""
    date = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    found = re.search(rf"-(?!{date}\.)([0-9a-f]{{8,10}})\.", name)
    return found[1] if found else ""


def _download(url: str, partial: Path, expected: str) -> None:
    """Fill ``partial``, asking again where the connection breaks; delete it if it is not as expected."""
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
        if not resumable(partial, url)[0]:  # of no use to anyone
            discard(partial)
        raise
    if damage := _mismatch(partial, expected):
        discard(partial)
        raise _OtherBytesError(damage)


def _advice(error: Exception, path: Path) -> str:
    """What to do about a download that failed."""
    if isinstance(error, _OtherBytesError):
        return "it was damaged on the way, or the file there is another one by now, or the digest is wrong"
    of_disk = isinstance(error, OSError) and (error.filename or error.errno in DISK_FULL)
    if not of_disk or isinstance(error, URLError):  # HTTPError's filename is the address
        return f"without a network, put the file there by hand: {path}"
    other = " (TORCH_HOME=DIR names another)" if path.is_relative_to(checkpoints_folder().absolute()) else ""
    return f"the folder {path.parent}{other} must have room and let you write"


def _mismatch(path: Path, expected: str) -> str:
    """Words for a file whose sha256 does not begin with ``expected``; '' where it does."""
    found = sha256_of(path) if expected else ""
    if found.startswith(expected):
        return ""
    return f"its sha256 is {found}, expected was {expected}{'...' if len(expected) < len(found) else ''}"
