"""Uploads of videos to a running server, and waiting for their jobs."""

from __future__ import annotations

from pathlib import Path

from detect.media.video_writer import VideoWriter
from detect.serving import video_jobs
from helpers.api_server import wait_until
from helpers.tiny_models import make_image


def video_of(path: Path, frames: int) -> bytes:
    with VideoWriter(path, 10, (64, 96)) as out:
        for number in range(frames):
            out.write(make_image((64, 96), number))
    return path.read_bytes()


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def upload(client, content: bytes, **params) -> dict:
    answer = client.post("/v1/detect/video", content=content, params=params)
    assert answer.status_code == 202, answer.text
    return answer.json()


def wait_for_end(client, job: dict) -> dict:
    wait_until(lambda: client.get(f"/v1/jobs/{job['id']}").json()["state"] in video_jobs.ENDED)
    return client.get(f"/v1/jobs/{job['id']}").json()


def processed(client, content: bytes, **params) -> dict:
    """Upload a video and return the status of its job after its end."""
    return wait_for_end(client, upload(client, content, **params))
