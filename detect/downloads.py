"""Downloads that give up in time, go on where they stopped, and arrive whole.

torch.hub has no time-outs, starts again after a cut and never looks into a file that is already there.
``fetch`` keeps the same folder and names, so a file put there by hand, or by torchvision, counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from http.client import HTTPException, HTTPResponse
from itertools import chain
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm

from detect.errors import NO_ROOM, FetchError
from detect.files import put_in_place

# Seconds until the first line of an answer: name, every address, TLS and redirects together. urlopen's own
# time-out is for each address alone, and does not cover a name server that is silent.
CONNECT_SECONDS = 12.0
READ_SECONDS = 20.0  # without a single byte
RETRIES = 3  # of a download that broke off; a server that cannot be reached at all is not asked again
PAUSE_SECONDS = 1.0  # before each of them
BLOCK = 1 << 16


class _BrokenOffError(ConnectionError):
    """A download ended too early; asking again may help."""


def fetch(url: str, folder: Path | None = None, *, sha256: str | None = None, hint: str = "") -> Path:
    """The local file with the content of ``url``, downloaded to ``folder`` unless it is there already.

    folder: by default the one torch.hub keeps weights in (see ``checkpoints_folder``).
    sha256: hex digest or its first digits, '' for none; by default those in the name (``resnet50-0676ba61.pth``).
    hint: the caller's words on how to do without the file, for the end of the message.

    An interrupted download stays as ``NAME.partial`` and the next call goes on from there. Raises FetchError,
    within 15 seconds where there is no network, saying where to put the file by hand; for a disk that is full or
    cannot be written to; for a web page in place of the file; and for a file that is there but damaged, which is left
    to the user to delete.
    """
    name = file_name(url)
    expected = (_digest_in(name) if sha256 is None else sha256).lower()
    folder = (checkpoints_folder() if folder is None else folder).absolute()
    path, partial = folder / name, folder / f"{name}.partial"
    try:
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(path):
                if not path.is_file():  # else another process was faster
                    _download(url, partial, expected)
                    put_in_place(partial, path)
                    _origin(partial).unlink(missing_ok=True)
                    return path
        damage = _mismatch(path, expected)
    except (OSError, HTTPException, ValueError) as error:
        kept = "what came so far is kept for the next try; " if _resumable(partial, url)[0] else ""
        words = f"cannot download {name} from {shown(url)}: {_why(error)}; {kept}{_advice(error, path)}"
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
                _stream(url, partial)
                break
            except _BrokenOffError:
                if not retries_left:
                    raise
                time.sleep(PAUSE_SECONDS)
    except Exception:
        if not _resumable(partial, url)[0]:  # of no use to anyone
            partial.unlink(missing_ok=True)
            _origin(partial).unlink(missing_ok=True)
        raise
    if damage := _mismatch(partial, expected):
        partial.unlink()
        _origin(partial).unlink(missing_ok=True)
        raise OSError(f"what came is damaged: {damage}")


def _stream(url: str, partial: Path) -> None:
    """One request: append the rest of the file to ``partial``, or write it anew where that cannot be."""
    start, validator = _resumable(partial, url)
    try:
        answer = _open(_request(url, start, validator))
    except HTTPError as error:
        if start and error.code == 416:  # there is nothing after what came: all came, or the file is another
            partial.unlink()
            raise _BrokenOffError(_why(error)) from error
        raise
    with closing(answer) as response:
        status, rest = response.status, response.headers.get("Content-Range", "")
        blocks = _blocks(response)
        first = next(blocks, b"")
        if status == 200:  # all of it: a first try, a changed file, or a server that knows no ranges
            _refuse_page(response.headers.get_content_type(), first)
            start = 0
            partial.write_bytes(b"")  # first: old bytes must never lie under the origin of new ones
            _origin(partial).write_text(json.dumps({"url_sha256": _sha256(url), "validator": _validator(response)}))
        elif not (start and status == 206):
            raise OSError(f"the server answers with status {status}")
        elif _validator(response) != validator or not rest.startswith(f"bytes {start}-"):
            partial.unlink()
            raise _BrokenOffError("the server does not go on where the last try ended")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with partial.open("ab") as file, _progress_bar(partial.stem, start, total) as bar:
            for block in chain([first], blocks):
                bar.update(file.write(block))
    end = partial.stat().st_size
    if total is not None and end != total:
        raise _BrokenOffError(f"the connection ended after {end} of {total} bytes")


def _refuse_page(content_type: str, beginning: bytes) -> None:
    """OSError for what servers send in place of a file, with an answer that says that all is well."""
    start = beginning[:100].lstrip().lower()
    if content_type in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html")):
        raise OSError("a web page came in place of the file: one about it, or one to log in")
    if start.startswith(b"version https://git-lfs"):
        raise OSError("a pointer of Git LFS came in place of the file, which lies at another address")


def _request(url: str, start: int, validator: str) -> Request:
    """All of ``url``, or what follows its first ``start`` bytes, if it still is the version ``validator``."""
    the_rest = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
    return Request(url, headers={"User-Agent": "detect", **the_rest})


def _open(request: Request) -> HTTPResponse:
    """The server's answer, or an error by CONNECT_SECONDS whatever the network does meanwhile."""
    future: Future[HTTPResponse] = Future()

    def ask() -> None:
        try:
            future.set_result(urlopen(request, timeout=READ_SECONDS))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=ask, daemon=True).start()
    wait([future], timeout=CONNECT_SECONDS)
    if not future.done():
        future.add_done_callback(_hang_up)
        raise TimeoutError(f"no answer within {CONNECT_SECONDS:.0f} seconds")
    try:
        return future.result()
    except HTTPError as error:
        error.close()
        raise


def _hang_up(answer: Future[HTTPResponse]) -> None:
    """Close an answer that came too late."""
    error = answer.exception()
    if error is None:
        answer.result().close()
    elif isinstance(error, HTTPError):
        error.close()


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while block := response.read1(BLOCK):
            yield block
    except TimeoutError as error:
        raise _BrokenOffError(f"no byte came for {READ_SECONDS:.0f} seconds") from error
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(f"the connection broke ({_why(error)})") from error


def _advice(error: Exception, path: Path) -> str:
    """What to do about a download that failed."""
    of_disk = isinstance(error, OSError) and (error.filename or error.errno in NO_ROOM)
    if not of_disk or isinstance(error, URLError):  # HTTPError's filename is the address
        return f"without a network, put the file there by hand: {path}"
    other = " (TORCH_HOME=DIR names another)" if path.is_relative_to(checkpoints_folder().absolute()) else ""
    return f"the folder {path.parent}{other} must have room and let you write"


def _origin(partial: Path) -> Path:
    """Where it stands which file, and which version of it, the bytes in ``partial`` begin."""
    return partial.with_name(f"{partial.name}.json")


def _resumable(partial: Path, url: str) -> tuple[int, str]:
    """How many bytes of ``url`` are in ``partial``, and of which version; 0 and '' where none count."""
    try:
        origin = json.loads(_origin(partial).read_text())
        if origin["url_sha256"] == _sha256(url) and origin["validator"]:
            return partial.stat().st_size, origin["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a lost or broken origin only costs the bytes that came before
    return 0, ""


def _sha256(url: str) -> str:
    """What an origin has of an address, whose query may be a key."""
    return hashlib.sha256(url.encode()).hexdigest()


def _validator(response: HTTPResponse) -> str:
    """What changes when the file does: its ETag, unless weak (RFC 9110, 13.1.5), else its date, else ''."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _mismatch(path: Path, expected: str) -> str:
    """Words for a file whose sha256 does not begin with ``expected``; '' where it does."""
    found = sha256_of(path) if expected else ""
    if found.startswith(expected):
        return ""
    return f"its sha256 is {found}, expected was {expected}{'...' if len(expected) < len(found) else ''}"


def _progress_bar(name: str, start: int, total: int | None) -> tqdm:
    # A log file gets a line now and then, a terminal a moving bar.
    interval = 0.2 if sys.stderr.isatty() else 10.0
    in_bytes = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
    return tqdm(desc=name, initial=start, total=total, mininterval=interval, **in_bytes)


def _why(error: Exception) -> str:
    """Words for what went wrong on the network or on the disk."""
    if isinstance(error, HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, socket.gaierror):
        return f"the server's name cannot be resolved ({error.strerror})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
