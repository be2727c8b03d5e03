"""The settings of serve.py."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from detect.cli.settings.shared import device
from detect.errors import UsageError
from detect.options import option
from detect.serving.limits import Limits

_USUAL = Limits()  # which has the defaults
KEY_VARIABLE = "DETECT_API_KEY"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\sA-Z]+")
_HOST = re.compile(r"[\w.*-]+")


@dataclass(kw_only=True)
class ServeSettings:
    """serve.py"""

    model: list[str] = option(
        ["balloon"],
        "models to serve, as of detect_image.py, or NAME=MODEL for another name; the first answers who names none",
        metavar="MODEL|NAME=MODEL",
    )
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 is every network of this machine")
    port: int = option(8000, "port to listen on, 0 for any that is free", low=0, high=65535)
    imgsz: int | None = option(None, "short side in pixels (default: each checkpoint's)", low=32, high=8192)
    threshold: float | None = option(
        None, "leave out what scores less where callers do not say, 0..1 (default: each checkpoint's)", low=0, high=1
    )
    device: str = device()
    api_key_file: Path | None = option(
        None,
        f"ask callers for the key in this file (default: for that in the variable {KEY_VARIABLE}, or for none)",
        metavar="FILE",
    )
    origins: list[str] | None = option(
        None, "web pages of other hosts that may call, such as https://example.org (default: none)", metavar="URL"
    )
    hosts: list[str] | None = option(
        None,
        "names by which callers without a key may ask, such as detect.example.org, *.example.org, or * for any"
        " (default: localhost, addresses, and names without a dot)",
        metavar="NAME",
    )
    max_megabytes: int = option(_USUAL.bytes_ // 2**20, "of a request with images", low=1, high=2000)
    max_video_megabytes: int = option(_USUAL.video_bytes // 2**20, "of a video", low=1, high=100_000)
    max_megapixels: int = option(_USUAL.pixels // 1_000_000, "of an image, or a frame", low=1, high=178)
    max_images: int = option(_USUAL.images, "of a request", low=1, high=1000)
    max_frames: int = option(_USUAL.frames, "of a video, whose rest is left out", low=1)
    max_jobs: int = option(_USUAL.jobs, "videos that wait or are worked on", low=1)
    queue: int = option(_USUAL.waiting, "images that wait for a model; more are told to come again", low=1)
    batch_size: int = option(_USUAL.together, "images of equal size that are looked at together", low=1)
    timeout: float = option(_USUAL.answer_seconds, "seconds until images that wait are given up", low=0.1)
    job_timeout: float = option(_USUAL.job_seconds, "seconds of work on a video, whose rest is left out then", low=1)
    keep: float = option(
        _USUAL.keep_seconds, f"seconds that the result of a video is kept, one of the {_USUAL.kept} newest", low=1
    )
    quiet: bool = option(False, "no line for each request")

    def __post_init__(self) -> None:
        if not self.model:
            raise UsageError("--model needs at least one")
        for origin in self.origins or ():
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise UsageError(f"--origins {origin} is none; one is as browsers send it: https://example.org")
        for host in self.hosts or ():
            if not _HOST.fullmatch(host):
                raise UsageError(f"--hosts {host} is no name; one has no scheme and no port: detect.example.org")

    def api_key(self) -> str | None:
        """The key that callers need, if any. UsageError where its file cannot be read, or holds none."""
        if self.api_key_file is None:
            return os.environ.get(KEY_VARIABLE) or None
        try:
            key = self.api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise UsageError(f"--api-key-file {self.api_key_file} cannot be read: {error}") from None
        if not key:
            raise UsageError(f"--api-key-file {self.api_key_file} is empty")
        return key
