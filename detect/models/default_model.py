"""The model that ``auto`` stands for: a detector of COCO's classes that suits the device, or else the bundled model.

The detector is used if its weights are in the cache of torch.hub or can be downloaded. A missing network is noticed
within PROBE_SECONDS and remembered: this process does not try again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from detect.errors import FetchError
from detect.io.downloads import checkpoints_folder, fetch, file_name
from detect.io.http import check_reachable, network_error_in_words
from detect.io.resources import resource
from detect.media.image_paths import shown
from detect.models import pretrained
from detect.models.zoo import AUTO_DETECTORS, AUTO_EXAMPLES, AUTO_FALLBACK

PROBE_SECONDS = 4.0  # until the first bytes of the file
FAILURES: list[str] = []  # why a download of this process failed, in words; empty if none has


@dataclass(frozen=True)
class DefaultModel:
    """What ``auto`` stands for.

    name: a key of ``zoo.DETECTORS``, or AUTO_FALLBACK.
    failure: why it is AUTO_FALLBACK, in words; "" for a detector.
    """

    name: str
    failure: str = ""

    def notice(self, class_names: Iterable[str], examples: str | None = None) -> str:
        """Return in words why AUTO_FALLBACK is used and what it detects.

        class_names: its classes.
        examples: where there are images with such objects; by default the paths of the shipped files.
        """
        if examples is None:
            files = " and ".join(_relative(path) for path in map(resource, AUTO_EXAMPLES) if path.is_file())
            examples = f"for example in {files}" if files else ""
        detects = ", ".join(filter(None, (*class_names, examples)))
        return f"{self.failure}. The bundled model is used instead; it only detects {detects}"


def default_model(device_type: str) -> DefaultModel:
    """Return the model that ``auto`` stands for on a device ("cpu", "cuda", "mps"), after a download if it is needed.

    Raises FetchError if the detector cannot be had and the bundled model is missing.
    """
    name = AUTO_DETECTORS[device_type]
    failure = _failure_to_fetch(name)
    if not failure:
        return DefaultModel(name)
    bundled = pretrained.bundled(AUTO_FALLBACK)
    if not bundled.is_file():
        raise FetchError(
            f"`model='auto'`: {failure}; the bundled model is missing too: {_relative(bundled)}. Put one of the files"
            f" there by hand; {name} is {_cached_file(name)}"
        )
    return DefaultModel(AUTO_FALLBACK, failure)


def _failure_to_fetch(name: str) -> str:
    """Download the weights of a detector unless they are cached. Returns why that failed, in words, or ""."""
    url, path = pretrained.detector_url(name), _cached_file(name)
    is_cached = path.is_file()
    if is_cached or not FAILURES:
        try:
            if not is_cached:
                check_reachable(url, PROBE_SECONDS)
            fetch(url)
            return ""
        except (OSError, HTTPException) as error:
            FAILURES.append(network_error_in_words(error))
        except FetchError as error:
            if is_cached:  # a damaged file; the message says what to do
                return str(error)
            cause = error.__cause__
            FAILURES.append(network_error_in_words(cause) if isinstance(cause, Exception) else str(error))
    return f"{name} cannot be downloaded: {FAILURES[0]}"


def _cached_file(name: str) -> Path:
    return checkpoints_folder() / file_name(pretrained.detector_url(name))


def _relative(path: Path) -> str:
    """Return a path for a message, relative to the current folder if it is below it."""
    try:
        return shown(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or the current folder was deleted
        return shown(path)
