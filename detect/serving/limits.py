"""How much a caller may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """bytes_, video_bytes: of a request with images, and of a video.
    pixels: of an image or of a frame, by its header, before any is unpacked.
    at_once: so many times ``bytes_``, and ``pixels``, are in hand at once for all callers, which bounds the memory.
    images: of a request.  frames: of a video.
    waiting, together: images that wait for a model, and those of a batch.
    upload_seconds: for a request to arrive.  answer_seconds: for its images to be looked at.
    jobs: videos that wait or are worked on.  job_seconds: for the work on one.
    kept, keep_seconds: the files of so many finished jobs are there, for so long.
    """

    bytes_: int = 32 * 2**20
    video_bytes: int = 512 * 2**20
    pixels: int = 40_000_000
    at_once: int = 8
    images: int = 16
    frames: int = 18_000
    waiting: int = 32
    together: int = 4
    upload_seconds: float = 30.0
    answer_seconds: float = 60.0
    jobs: int = 4
    job_seconds: float = 3600.0
    kept: int = 16
    keep_seconds: float = 3600.0
