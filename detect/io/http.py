"""One file over HTTP: what has come so far is kept, and the next request goes on from there.

The bytes lie in ``NAME.partial``, and ``NAME.partial.json`` says of which address and which version they are.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from http.client import HTTPException, HTTPResponse
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from detect import progress

if TYPE_CHECKING:
    from tqdm import tqdm

# Seconds until the first line of an answer: name, every address, TLS and redirects together. urlopen's own
# time-out is for each address alone, and does not cover a name server that is silent.
CONNECT_SECONDS = 12.0
READ_SECONDS = 20.0  # without a single byte
BLOCK = 1 << 16


class BrokenOffError(ConnectionError):
    """A download ended too early; asking again may help."""


def receive(url: str, partial: Path) -> None:
    """One request: append the rest of the file to ``partial``, or write it anew where that cannot be."""
    start, validator = resumable(partial, url)
    try:
        answer = _open(_request(url, start, validator))
    except HTTPError as error:
        if start and error.code == 416:  # there is nothing after what came: all came, or the file is another
            partial.unlink()
            raise BrokenOffError(why(error)) from error
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
            raise BrokenOffError("the server does not go on where the last try ended")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with partial.open("ab") as file, _progress_bar(partial.stem, start, total) as bar:
            for block in chain([first], blocks):
                bar.update(file.write(block))
    end = partial.stat().st_size
    if total is not None and end != total:
        raise BrokenOffError(f"the connection ended after {end} of {total} bytes")


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
        raise BrokenOffError(f"no byte came for {READ_SECONDS:.0f} seconds") from error
    except (OSError, HTTPException) as error:
        raise BrokenOffError(f"the connection broke ({why(error)})") from error


def discard(partial: Path) -> None:
    """Delete what came so far, and what is known of it."""
    partial.unlink(missing_ok=True)
    _origin(partial).unlink(missing_ok=True)


def _origin(partial: Path) -> Path:
    """Where it stands which file, and which version of it, the bytes in ``partial`` begin."""
    return partial.with_name(f"{partial.name}.json")


def resumable(partial: Path, url: str) -> tuple[int, str]:
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


def _progress_bar(name: str, start: int, total: int | None) -> tqdm:
    in_bytes: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
    return progress.bar(desc=name, initial=start, total=total, leave=True, **in_bytes)


def why(error: Exception) -> str:
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
