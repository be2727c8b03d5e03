"""Weights named by a web address, ``https://HOST/.../model.safetensors#sha256=0123abcd``: fetched once, then a file.

Each address has a folder of its own below torch.hub's, since many files are called ``model.safetensors``. What is
there is used without asking the server again; delete it to get a newer one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urldefrag, urlsplit

from detect.errors import CheckpointError, UsageError
from detect.io.downloads import checkpoints_folder, fetch, file_name, shown

SUFFIXES = (".safetensors", ".pth", ".pt")
_DIGEST = re.compile(r"sha256=([0-9a-f]{8,64})")
_IN_ADDRESSES = "!$%&'()*+,/:;=?@[]~"  # what is not percent-encoded; a space or an umlaut is
# Sites whose addresses of a page about a file differ from those of the file by a word.
_PAGES = {"github.com": ("/blob/", "/raw/"), "huggingface.co": ("/blob/", "/resolve/")}


def is_link(text: str) -> bool:
    """Whether ``text`` is meant as a web address, right or wrong, and not as a name or a file (``C:/x``)."""
    return re.match(r"[a-z][a-z0-9+.-]+:/", text, re.IGNORECASE) is not None


def fetch_link(url: str, *, hint: str = "") -> Path:
    """The local file of a web address, downloaded unless it is there; its name is the address's.

    url: http(s), to a file with one of SUFFIXES. ``#sha256=`` and the digest, or at least its first 8 digits, is
        checked of a file that is there too: where that is another, the address is asked again, and only the right
        one takes its place. The rest of the address, with its query, decides which file it is.
    hint: the caller's words on how to do without the file, for the end of a message.

    Raises UsageError for an address that cannot be meant, and FetchError; neither shows a password or a query.
    """
    address, fragment = urldefrag(url.strip())
    address = quote(address, safe=_IN_ADDRESSES)
    _refuse_pages(address, fragment)
    expected = _digest(address, fragment)
    folder = checkpoints_folder().absolute() / "links" / hashlib.sha256(address.encode()).hexdigest()[:16]
    return fetch(address, folder, sha256=expected, hint=hint, replace=True)


@contextmanager
def telling_origin(text: str) -> Iterator[None]:
    """Say of a file that cannot be used where it came from, where ``text`` is a web address."""
    try:
        yield
    except CheckpointError as error:
        if not is_link(text):
            raise
        raise CheckpointError(f"{error}. It came from {without_query(text)}; delete it to fetch it again") from None


def without_query(text: str) -> str:
    """``text``, or where it is a web address what of it may be published: no query, which may be a key, but its
    ``#sha256=``."""
    if not is_link(text):
        return text
    address, fragment = urldefrag(text.strip())
    return shown(address) + (f"#{fragment}" if _DIGEST.fullmatch(fragment.lower()) else "")


def _refuse_pages(address: str, fragment: str) -> None:
    """UsageError for an address that is not that of a file of weights."""
    if Path(file_name(address)).suffix not in SUFFIXES:
        raise UsageError(f"{shown(address)} is no file of weights: the address must end in {', '.join(SUFFIXES)}")
    parts = urlsplit(address)
    page, file = _PAGES.get(parts.netloc.lower().removeprefix("www."), ("", ""))
    if page and page in parts.path and not parts.query:  # github.com answers ?raw=true with the file
        right = address.replace(page, file, 1) + (f"#{fragment}" if fragment else "")
        raise UsageError(f"{address} is a web page about the file; the file itself is {right}")


def _digest(address: str, fragment: str) -> str:
    """The beginning of the sha256 that stands behind #, '' for none; UsageError where it is no digest."""
    if not fragment:
        return ""
    if found := _DIGEST.fullmatch(fragment.lower()):
        return found[1]
    raise UsageError(
        f"{shown(address)}#{fragment[:80]}: behind # must stand sha256= and the 64 digits of the digest, or the first "
        "8 or more, each 0-9 or a-f"
    )
