"""Download of one file over HTTP that continues after an interruption.

Received bytes are kept in ``NAME.partial``. ``NAME.partial.json`` holds the digest of the URL and the version of the
file (its ETag or date), so that a later request continues only the same version.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from http.client import HTTPException, HTTPResponse
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from detect import progress

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

# Seconds until the status line of the response: name resolution, all addresses, TLS and redirects together.
# The time-out of urlopen counts per address and does not cover a name server that does not answer.
CONNECT_SECONDS = 12.0
READ_SECONDS = 20.0  # without a single byte
BLOCK = 1 << 16  # bytes


class BrokenOffError(ConnectionError):
    """A download that ended too early; another request may succeed."""


def receive(url: str, partial: Path) -> None:
    """Send one request and append the rest of the file to ``partial``; write it anew if the server cannot continue.

    Raises BrokenOffError when the connection breaks, and OSError or HTTPException for other failures.
    """
    start, validator = resumable(partial, url)
    try:
        response = _open(_request(url, start, validator))
    except HTTPError as error:
        if start and error.code == 416:  # no bytes after ``start``: the file is complete or has changed
            partial.unlink()
            raise BrokenOffError(network_error_in_words(error)) from error
        raise
    with closing(response):
        status, content_range = response.status, response.headers.get("Content-Range", "")
        blocks = _blocks(response)
        first = next(blocks, b"")
        if status == 200:  # the whole file: first request, changed file, or a server without range requests
            _refuse_web_page(response.headers.get_content_type(), first)
            start = 0
            partial.write_bytes(b"")  # before the origin file: old bytes must never be taken for the new version
            origin = {"url_sha256": _sha256(url), "validator": _validator(response)}
            _origin_file(partial).write_text(json.dumps(origin))
        elif not (start and status == 206):
            raise OSError(f"the server responds with status {status}")
        elif _validator(response) != validator or not content_range.startswith(f"bytes {start}-"):
            partial.unlink()
            raise BrokenOffError(
                f"the server did not continue the same file at byte {start}; the next try downloads it from the start"
            )
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with partial.open("ab") as file, _progress_bar(partial.stem, start, total) as bar:
            for block in chain([first], blocks):
                bar.update(file.write(block))
    end = partial.stat().st_size
    if total is not None and end != total:
        raise BrokenOffError(f"the connection ended after {end} of {total} bytes")


def check_reachable(url: str, seconds: float) -> None:
    """Request the beginning of a file, and raise OSError or HTTPException if it does not come within ``seconds``.

    That is the time for everything: name resolution, connection, TLS, redirects, and the first bytes. A web page
    instead of the file, such as the login page of a network, is an OSError too.
    """

    def beginning() -> tuple[str, bytes]:
        request = _request(url, 0, "")
        request.add_header("Range", f"bytes=0-{BLOCK - 1}")
        with closing(urlopen(request, timeout=READ_SECONDS)) as response:
            return response.headers.get_content_type(), response.read1(BLOCK)

    _refuse_web_page(*_within(seconds, beginning))


def _refuse_web_page(content_type: str, beginning: bytes) -> None:
    """Raise OSError for a successful response that is not the file: an HTML page or a Git LFS pointer."""
    start = beginning[:100].lstrip().lower()
    if content_type in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html")):
        raise OSError("the server sent a web page instead of the file; is it a page about the file, or a login page?")
    if start.startswith(b"version https://git-lfs"):
        raise OSError("the server sent a Git LFS pointer instead of the file, which has another URL")


def _request(url: str, start: int, validator: str) -> Request:
    """Return the request for all of ``url``, or for what follows ``start`` bytes of the version ``validator``."""
    rest = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
    return Request(url, headers={"User-Agent": "detect", **rest})


def _open(request: Request) -> HTTPResponse:
    """Return the response of the server. Raises TimeoutError after CONNECT_SECONDS, whatever blocks the connection."""
    return _within(CONNECT_SECONDS, lambda: urlopen(request, timeout=READ_SECONDS), too_late=HTTPResponse.close)


def _within(seconds: float, send: Callable[[], T], too_late: Callable[[T], None] | None = None) -> T:
    """Call ``send`` in a thread and return its result. Raises TimeoutError after ``seconds``.

    The thread goes on, since nothing can end a name server that does not answer; ``too_late`` gets its result then.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(send())
        except BaseException as error:
            future.set_exception(error)

    def drop(done: Future[T]) -> None:
        error = done.exception()
        if error is None and too_late is not None:
            too_late(done.result())
        elif isinstance(error, HTTPError):
            error.close()

    Thread(target=run, daemon=True).start()
    wait([future], timeout=seconds)
    if not future.done():
        future.add_done_callback(drop)
        raise TimeoutError(f"the server sent no response within {seconds:.0f} seconds")
    try:
        return future.result()
    except HTTPError as error:
        error.close()
        raise


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while block := response.read1(BLOCK):
            yield block
    except TimeoutError as error:
        raise BrokenOffError(f"no data for {READ_SECONDS:.0f} seconds") from error
    except (OSError, HTTPException) as error:
        raise BrokenOffError(f"the connection broke ({network_error_in_words(error)})") from error


def discard(partial: Path) -> None:
    """Delete the received bytes and the file that describes them."""
    partial.unlink(missing_ok=True)
    _origin_file(partial).unlink(missing_ok=True)


def _origin_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def resumable(partial: Path, url: str) -> tuple[int, str]:
    """Return the number of received bytes of ``url`` and their version, or (0, '') when there are none to continue."""
    try:
        origin = json.loads(_origin_file(partial).read_text())
        if origin["url_sha256"] == _sha256(url) and origin["validator"]:
            return partial.stat().st_size, origin["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a missing or damaged origin file only costs the bytes received before
    return 0, ""


def _sha256(url: str) -> str:
    """Digest of a URL; the URL itself is not stored, since its query may hold a key."""
    return hashlib.sha256(url.encode()).hexdigest()


def _validator(response: HTTPResponse) -> str:
    """Return what changes with the file: a strong ETag (RFC 9110, 13.1.5), else its date, else ''."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _progress_bar(name: str, start: int, total: int | None) -> tqdm:
    in_bytes: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
    return progress.bar(desc=name, initial=start, total=total, leave=True, **in_bytes)


def network_error_in_words(error: Exception) -> str:
    """Return the reason of a failed download, for a message."""
    if isinstance(error, HTTPError):
        return f"the server responds with {error.code} {error.reason}"
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, socket.gaierror):
        return f"the server's name cannot be resolved ({error.strerror})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is invalid, as behind a login page or a proxy ({error.verify_message})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
