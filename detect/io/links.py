"""Weights given by URL, such as ``https://HOST/.../model.safetensors#sha256=0123abcd``: downloaded once, then cached.

Each URL has its own folder in the cache of torch.hub, since many files are called ``model.safetensors``. A cached
file is used without a request to the server; delete it to get a newer one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urldefrag, urlsplit

from detect.errors import CheckpointError, UsageError
from detect.io.downloads import checkpoints_folder, fetch, file_name, redacted_url

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")  # as in model_best.pth.tar
_DIGEST = re.compile(r"sha256=([0-9a-f]{8,64})")
_NOT_ENCODED = "!$%&'()*+,/:;=?@[]~"  # characters of a URL that are not percent-encoded; spaces and umlauts are
# Sites on which the page about a file and the file itself differ by a part of the path: (page, file).
_PAGES = {"github.com": ("/blob/", "/raw/"), "huggingface.co": ("/blob/", "/resolve/")}


def is_link(text: str) -> bool:
    """Return whether ``text`` is a URL, valid or not, rather than a name or a path (``C:/x`` is a path)."""
    return re.match(r"[a-z][a-z0-9+.-]+:/", text, re.IGNORECASE) is not None


def fetch_link(url: str, *, hint: str = "") -> Path:
    """Return the local file of a URL; download it if it is not cached.

    url: http(s) URL of a file with one of SUFFIXES. ``#sha256=`` with 8 to 64 digits verifies the file, also a cached
        one; a cached file with another digest is downloaded again. The URL with its query selects the cache entry.
    hint: end of an error message: how the caller can do without the file.

    Raises UsageError for an invalid URL and FetchError for a failed download. Neither shows a password or a query.
    """
    address, fragment = urldefrag(url.strip())
    address = quote(address, safe=_NOT_ENCODED)
    _refuse_pages(address, fragment)
    expected = _digest(address, fragment)
    folder = checkpoints_folder().absolute() / "links" / hashlib.sha256(address.encode()).hexdigest()[:16]
    return fetch(address, folder, sha256=expected, hint=hint, replace=True)


@contextmanager
def naming_origin(text: str) -> Iterator[None]:
    """Add the URL to a CheckpointError of the block, if ``text`` is a URL."""
    try:
        yield
    except CheckpointError as error:
        if not is_link(text):
            raise
        origin = publishable_link(text)
        raise CheckpointError(f"{error}. It was downloaded from {origin}; delete it to download it again") from None


def publishable_link(text: str) -> str:
    """Return a URL without its query, which may hold a key, but with ``#sha256=``; other texts are unchanged."""
    if not is_link(text):
        return text
    address, fragment = urldefrag(text.strip())
    return redacted_url(address) + (f"#{fragment}" if _DIGEST.fullmatch(fragment.lower()) else "")


def _refuse_pages(address: str, fragment: str) -> None:
    """Raise UsageError for a URL that does not name a weights file.

    fragment: the part of the URL after ``#``, repeated in the URL that the message suggests."""
    if Path(file_name(address)).suffix not in SUFFIXES:
        raise UsageError(f"{redacted_url(address)} is not a weights file: it must end in {', '.join(SUFFIXES)}")
    parts = urlsplit(address)
    page, file = _PAGES.get(parts.netloc.lower().removeprefix("www."), ("", ""))
    if page and page in parts.path and not parts.query:  # github.com answers ?raw=true with the file
        right = address.replace(page, file, 1) + (f"#{fragment}" if fragment else "")
        raise UsageError(f"{address} is a web page about the file; the file itself is {right}")


def _digest(address: str, fragment: str) -> str:
    """Return the digits after ``#sha256=``, or '' without a fragment. Raises UsageError for any other fragment."""
    if not fragment:
        return ""
    if match := _DIGEST.fullmatch(fragment.lower()):
        return match[1]
    raise UsageError(
        f"{redacted_url(address)}#{fragment[:80]}: after # must follow sha256= and the digest: 8 to 64 digits 0-9 or"
        " a-f"
    )
