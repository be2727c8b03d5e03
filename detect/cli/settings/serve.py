"""The settings of serve.py."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from detect.errors import UsageError
from detect.options import device_option, option
from detect.serving.limits import Limits

_DEFAULTS = Limits()
KEY_VARIABLE = "DETECT_API_KEY"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\sA-Z]+")
_HOST = re.compile(r"[\w.*-]+")


@dataclass(kw_only=True)
class ServeSettings:
    """Settings of serve.py."""

    model: list[str] = option(
        ["balloon"],
        "models to serve: a name or a checkpoint as in detect_image.py, or NAME=MODEL to rename it; requests that name"
        " no model use the first one",
        metavar="MODEL|NAME=MODEL",
    )
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 listens on all networks of this machine")
    port: int = option(8000, "port to listen on; 0 chooses a free one", low=0, high=65535)
    imgsz: int | None = option(
        None, "short side in pixels to which images are resized (default: each checkpoint's)", low=32, high=8192
    )
    threshold: float | None = option(
        None, "minimum score, 0..1, of requests that state none (default: each checkpoint's)", low=0, high=1
    )
    device: str = device_option()
    api_key_file: Path | None = option(
        None,
        f"file with the key that requests must have (default: the environment variable {KEY_VARIABLE}, else no key)",
        metavar="FILE",
    )
    origins: list[str] | None = option(
        None,
        "other web sites whose pages may send requests, such as https://example.org; * allows all (default: none)",
        metavar="URL",
    )
    hosts: list[str] | None = option(
        None,
        "names that the Host header of requests without a key may have, such as detect.example.org or *.example.org;"
        " * allows all (default: localhost, IP addresses, and names without a dot)",
        metavar="NAME",
    )
    max_megabytes: int = option(
        _DEFAULTS.max_request_bytes // 2**20, "maximum size of a request with images, in megabytes", low=1, high=2000
    )
    max_video_megabytes: int = option(
        _DEFAULTS.max_video_bytes // 2**20, "maximum size of a video, in megabytes", low=1, high=100_000
    )
    max_megapixels: int = option(
        _DEFAULTS.max_pixels // 1_000_000, "maximum size of an image or video frame, in megapixels", low=1, high=178
    )
    max_images: int = option(_DEFAULTS.max_images, "maximum number of images per request", low=1, high=1000)
    max_frames: int = option(_DEFAULTS.max_frames, "frames per video; later frames are skipped", low=1)
    max_jobs: int = option(_DEFAULTS.max_jobs, "maximum number of videos that wait or are being processed", low=1)
    queue: int = option(
        _DEFAULTS.queue_size, "maximum number of images that wait for a model; more are refused with status 503", low=1
    )
    batch_size: int = option(_DEFAULTS.batch_size, "maximum number of images of equal size per batch", low=1)
    timeout: float = option(
        _DEFAULTS.answer_timeout, "seconds after which a request with images is aborted with status 503", low=0.1
    )
    job_timeout: float = option(
        _DEFAULTS.job_timeout, "seconds of work per video; frames after that are skipped", low=1
    )
    keep: float = option(
        _DEFAULTS.keep_seconds,
        f"seconds for which the results of a video are kept; only the {_DEFAULTS.max_results} newest are",
        low=1,
    )
    quiet: bool = option(False, "do not print a line per request")

    def __post_init__(self) -> None:
        if not self.model:
            raise UsageError("`model` needs at least one model")
        for origin in self.origins or ():
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"`origins={origin}` is not an origin; expected scheme://host[:port] in lower case, such as"
                    " https://example.org"
                )
        for host in self.hosts or ():
            if not _HOST.fullmatch(host):
                raise UsageError(
                    f"`hosts={host}` is not a host name; expected a name without scheme and port, such as"
                    " detect.example.org"
                )

    def api_key(self) -> str | None:
        """Return the key that requests must have, or None. Raises UsageError for an unreadable or empty file."""
        if self.api_key_file is None:
            return os.environ.get(KEY_VARIABLE) or None
        try:
            key = self.api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise UsageError(f"`api_key_file={self.api_key_file}` cannot be read: {error}") from None
        if not key:
            raise UsageError(f"`api_key_file={self.api_key_file}` is empty; it must hold the key")
        return key
