"""Video sources: a file, a camera or a stream, with names for messages and files."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from detect.errors import MediaError
from detect.io.files import fit_file_name
from detect.media.image_paths import existing_path, shown
from detect.text import unknown

STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "rtp", "srt")
_MAX_NAME = 80
_LONGEST_ENDING = "_99999.part.jsonl"  # longest ending that a run appends to the name

# scheme://, user and password, host and path, query; punctuation at the end belongs to the sentence.
_ADDRESS = re.compile(
    r"([a-z][a-z0-9+.-]*://)([^\s/?#'\"]*@)?([^\s?#'\"]*)([?#][^\s'\"]*?(?=[:;,.)]*(?:[\s'\"]|$)))?", re.IGNORECASE
)
_MIN_SECRET = 6  # characters of key=value


@dataclass(frozen=True)
class Source:
    """A video source.

    kind: ``file``, ``camera`` or ``stream``.
    address: path, number or device of a camera, or URL.
    shown: name for messages; a URL without user, password and query, which may hold a key.
    name: name for the run's folder and files: the file's stem, ``camera_0``, or host and last path part of a stream.
    """

    kind: str
    address: str
    shown: str
    name: str

    @classmethod
    def parse(cls, text: str | Path) -> Source:
        """Return the source that ``text`` names.

        A number or a device is a camera, ``scheme://`` a stream, and anything else a file (``./0`` for a file called
        0). Raises MediaError for a folder, a missing file and a scheme that is not in STREAMS.
        """
        if isinstance(text, str) and re.fullmatch(r"[0-9]{1,4}", text):
            return cls("camera", text, f"camera {int(text)}", f"camera_{int(text)}")
        if isinstance(text, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
            return _stream(text)
        path = existing_path(str(text))
        if path.is_char_device():
            return cls("camera", str(path), f"camera {path}", _safe(f"camera_{path.name}"))
        if path.is_dir():
            raise MediaError(f"{path} is a folder, not a video")
        if path.is_fifo():
            raise MediaError(f"{path} is a pipe; a video must be a file")
        if not path.is_file():
            hint = "; patterns are not supported here, give one video" if glob.has_magic(str(path)) else ""
            raise MediaError(f"no such video file: {shown(path)}{hint}")
        return cls(
            "file", str(path), str(path), fit_file_name(path.stem, _LONGEST_ENDING).removesuffix(_LONGEST_ENDING)
        )

    def redact(self, text: str) -> str:
        """Return ``text``, such as a message of ffmpeg, without users, passwords and queries of any URL in it."""
        if self.kind != "stream":
            return text
        text = _ADDRESS.sub(r"\1\3", text.replace(self.address, self.shown))
        url = urlsplit(self.address)
        user = url.netloc.rpartition("@")[0]
        secrets = [part for part in url.query.split("&") if "=" in part and len(part) >= _MIN_SECRET]
        for secret in (f"{user}@" if user else "", *secrets):
            text = re.sub(rf"(?<!\w){re.escape(secret)}", "", text) if secret else text
        return text


def _stream(address: str) -> Source:
    scheme = address.partition("://")[0]
    if scheme.lower() not in STREAMS:
        raise MediaError(unknown("kind of stream", f"{scheme}://", [f"{s}://" for s in STREAMS]))
    try:
        url = urlsplit(address)
        location = url.netloc.rpartition("@")[2]
        host = url.hostname or location
    except ValueError:
        raise MediaError(f"{scheme}://... is not a valid URL: check its brackets and port") from None
    last = Path(unquote(url.path)).stem
    name = _safe("_".join(part for part in (host, last) if part))
    return Source("stream", address, f"{scheme}://{location}{url.path}", name or scheme.lower())


def _safe(name: str) -> str:
    """Return ``name`` with the characters that file names may have on any system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:_MAX_NAME]
