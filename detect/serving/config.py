"""The settings of a server, with their help texts, units and ranges. This module does not import torch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detect.errors import UsageError
from detect.models.zoo import AUTO, check_model, file_of_model
from detect.options import (
    device_option,
    fast_option,
    imgsz_option,
    max_detections_option,
    option,
    precision_option,
    proposals_option,
)

KEY_VARIABLE = "DETECT_API_KEY"
MAX_RESULTS = 16
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\sA-Z]+")
_HOST = re.compile(r"[\w.*-]+")


@dataclass(kw_only=True)
class ServeConfig:
    """Settings of serve.py, and further limits of the server.

    memory_requests: memory limit, in requests of maximum size: all callers together share
        ``memory_requests * max_request_bytes`` bytes and ``memory_requests * max_pixels`` pixels.
    upload_timeout: seconds for a request with images to arrive completely. Larger videos get proportionally more.
    stall_timeout: seconds without a byte from the caller, after which the request is aborted.
    max_results: maximum number of finished jobs whose files are kept.
    url_networks: networks, such as ``10.1.0.0/16``, from which images are loaded although they are not public.
    """

    model: list[str] = option(
        [AUTO],
        "models to serve: auto, a name or a checkpoint as in detect_image.py, or NAME=MODEL to rename it; requests"
        " that name no model use the first one",
        metavar="MODEL|NAME=MODEL",
    )
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 listens on all networks of this machine")
    port: int = option(8000, "port to listen on; 0 chooses a free one", low=0, high=65535)
    imgsz: int | None = imgsz_option("short side in pixels to which images are resized (default: each checkpoint's)")
    threshold: float | None = option(
        None,
        "minimum score, 0..1, for requests without a threshold (default: each checkpoint's, for each class)",
        low=0,
        high=1,
    )
    max_detections: int | None = max_detections_option(
        "maximum number of detections per image, those with the highest scores (default: each checkpoint's, usually"
        " 100)"
    )
    device: str = device_option()
    precision: str | None = precision_option()
    proposals: int | None = proposals_option()
    fast: bool = fast_option()
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
    max_megabytes: int = option(32, "maximum size of a request with images, in megabytes", low=1, high=2000)
    max_video_megabytes: int = option(512, "maximum size of a video, in megabytes", low=1, high=100_000)
    max_megapixels: int = option(40, "maximum size of an image or video frame, in megapixels", low=1, high=178)
    max_images: int = option(16, "maximum number of images per request", low=1, high=1000)
    image_urls: bool = option(
        False,
        "also load images from web addresses that requests give; the host must be on the internet, and not in a"
        " private network",
    )
    max_tiles: int = option(
        100, "maximum number of tiles per request, or per frame of a video, with the parameter tile", low=1
    )
    max_frames: int = option(18_000, "maximum number of frames per video; a longer one is cut off there", low=1)
    max_jobs: int = option(4, "maximum number of videos that wait or are being processed", low=1)
    queue: int = option(32, "maximum number of images that wait for a model; more are refused with status 503", low=1)
    batch_size: int = option(4, "maximum number of images of equal size per batch", low=1)
    timeout: float = option(60.0, "seconds after which a request with images is aborted with status 503", low=0.1)
    job_timeout: float = option(
        3600.0, "maximum processing time per video, in seconds; the video is cut off there", low=1
    )
    keep: float = option(
        3600.0,
        f"seconds for which the results of a video are kept, at most those of the {MAX_RESULTS} newest videos",
        low=1,
    )
    quiet: bool = option(False, "do not print a line per request")
    # Not made with option(), so these are no flags.
    memory_requests: int = 8
    upload_timeout: float = 30.0
    stall_timeout: float = 10.0
    max_results: int = MAX_RESULTS
    url_networks: tuple[str, ...] = ()

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

    @property
    def max_request_bytes(self) -> int:
        """Maximum size of a request with images, in bytes."""
        return self.max_megabytes * 2**20

    @property
    def max_video_bytes(self) -> int:
        """Maximum size of a video, in bytes."""
        return self.max_video_megabytes * 2**20

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of an image or video frame; checked in the file header, before decoding."""
        return self.max_megapixels * 1_000_000

    def model_settings(self) -> dict[str, Any]:
        """Return the keyword arguments of ``detect.load_model``."""
        names = ("device", "imgsz", "threshold", "max_detections", "precision", "proposals", "fast")
        return {name: getattr(self, name) for name in names}

    def models_by_name(self) -> dict[str, str]:
        """Return {name under which a model is served: model}, from the setting ``model``.

        Without ``NAME=`` a model keeps its own name; a checkpoint is named after its file without the suffix, or after
        its folder if the file is called ``best`` or ``last``.
        Raises UsageError when two models have the same name, and what ``check_model`` raises.
        """
        found: dict[str, str] = {}
        for text in self.model:
            name, sign, model = text.partition("=")
            if not (sign and name.isidentifier()):
                file, model = file_of_model(text), text
                name = (file.stem in ("best", "last") and file.parent.name) or file.stem
            check_model(model, allow_auto=True)
            if name in found:
                raise UsageError(f"two models have the name '{name}'; rename one of them: other={model}")
            found[name] = model
        return found

    def api_key(self) -> str | None:
        """Return the key that requests must have, or None. Raises UsageError for an unreadable or empty file."""
        if self.api_key_file is None:
            return os.environ.get(KEY_VARIABLE) or None
        try:
            key = self.api_key_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"`api_key_file={self.api_key_file}` cannot be read: {error.strerror}") from None
        except ValueError:
            raise UsageError(f"`api_key_file={self.api_key_file}` is not UTF-8 text") from None
        if not key:
            raise UsageError(f"`api_key_file={self.api_key_file}` is empty; it must hold the key")
        return key
