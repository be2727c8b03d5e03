"""Limits on what callers may send and on how long the server works for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one server.

    max_request_bytes: size of a request with images, in bytes.
    max_video_bytes: size of a video, in bytes.
    max_pixels: pixels of an image or of a video frame, read from the file header before anything is decoded.
    memory_requests: number of requests of maximum size that fit in memory together. All callers share
        ``memory_requests * max_request_bytes`` bytes and ``memory_requests * max_pixels`` pixels.
    max_images: images per request.
    max_frames: frames per video. Later frames are skipped.
    queue_size: images that may wait for a model.
    batch_size: images per batch.
    upload_timeout: seconds for a request with images to arrive completely. Larger videos get proportionally more.
    stall_timeout: seconds without a byte from the caller, after which the request is aborted.
    answer_timeout: seconds to decode the images of a request, run the model and encode the response.
    max_jobs: videos that wait or run.
    job_timeout: seconds of work on a video. Later frames are skipped.
    max_results: finished jobs whose files are kept.
    keep_seconds: seconds for which the files of a finished job are kept.
    """

    max_request_bytes: int = 32 * 2**20
    max_video_bytes: int = 512 * 2**20
    max_pixels: int = 40_000_000
    memory_requests: int = 8
    max_images: int = 16
    max_frames: int = 18_000
    queue_size: int = 32
    batch_size: int = 4
    upload_timeout: float = 30.0
    stall_timeout: float = 10.0
    answer_timeout: float = 60.0
    max_jobs: int = 4
    job_timeout: float = 3600.0
    max_results: int = 16
    keep_seconds: float = 3600.0
