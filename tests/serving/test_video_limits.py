"""Limits of video jobs: their number, size, duration, frames, pixels and disk space, and how long results are kept."""

from __future__ import annotations

import errno
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.api_server import problem_of, serving, wait_until
from helpers.tiny_models import make_image
from helpers.video_uploads import files_in, processed, upload, video_of

from detect.inference.predictor import Predictor
from detect.media.ffmpeg import command
from detect.media.video_writer import VideoWriter
from detect.serving import video_jobs
from detect.serving.batching import Batcher
from detect.serving.config import ServeConfig

BROKEN = b"\0\0\0\x18ftypisom" + bytes(400)


def test_a_full_disk_is_status_507(client, video, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=599_999))
        problem_of(client.post("/v1/detect/video", content=video), 507)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("shutil.copyfileobj", fail)
        answer = client.post("/v1/detect/video", files={"video": ("a.mp4", video)})
        assert "disk" in problem_of(answer, 507)
    upload(client, video)


def test_a_disk_that_fills_up_fails_the_job(client, video, monkeypatch):
    free = iter([10**12])
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=next(free, 0)))
    job = processed(client, video)
    assert (job["state"], job["frames"]) == ("failed", 0) and "disk" in job["detail"]


def test_frames_above_the_maximum_are_skipped(client, tmp_path_factory):
    job = processed(client, video_of(tmp_path_factory.mktemp("videos") / "nine.mp4", 9))
    assert (job["state"], job["frames"]) == ("done", 8)
    assert "more than 8 frames" in job["detail"]
    assert len(client.get(f"/v1/jobs/{job['id']}/detections").text.splitlines()) == 8


@pytest.fixture
def slow_model(monkeypatch):
    """Make every model take at least 0.3 s per batch."""
    predict = Predictor.predict_batch
    monkeypatch.setattr(Predictor, "predict_batch", lambda *a, **k: (time.sleep(0.3), predict(*a, **k))[1])


def test_frames_after_the_timeout_are_skipped(model, video, folder, slow_model):
    with serving(model, job_timeout=0.5) as client:
        job = processed(client, video)
        assert job["state"] == "done" and "more than 0.5 s" in job["detail"]
        assert 0 < job["frames"] < 5 and client.get(f"/v1/jobs/{job['id']}/result").status_code == 200


def test_too_many_jobs_are_status_503_and_jobs_can_be_deleted(client, video, monkeypatch):
    predict, go = Predictor.predict_batch, threading.Event()
    monkeypatch.setattr(Predictor, "predict_batch", lambda *a, **k: (go.wait(300), predict(*a, **k))[1])
    first, second = (upload(client, video) for _ in range(2))
    third = client.post("/v1/detect/video", content=video)
    problem_of(third, 503)
    assert int(third.headers["retry-after"]) > 0
    wait_until(lambda: client.get(f"/v1/jobs/{first['id']}").json()["state"] != "waiting")
    for job in (first, second):
        assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    go.set()
    wait_until(lambda: client.post("/v1/detect/video", content=video).status_code == 202)
    wait_until(lambda: 'detect_video_jobs_total{state="cancelled"} 2.0' in client.get("/metrics").text)


def test_a_result_is_deleted_after_a_while(model, video, folder):
    with serving(model, keep=0.5) as client:
        job = upload(client, video)
        wait_until(lambda: 'detect_video_jobs_total{state="done"} 1.0' in client.get("/metrics").text)
        wait_until(lambda: not files_in(folder))
        assert client.get(f"/v1/jobs/{job['id']}").status_code == 404


@pytest.mark.slow
def test_only_the_newest_results_are_kept(model, video, folder):
    with serving(model, max_results=2) as client:
        ids = [processed(client, video)["id"] for _ in range(3)]
        wait_until(lambda: client.get(f"/v1/jobs/{ids[0]}").status_code == 404)
        assert [client.get(f"/v1/jobs/{one}/result").status_code for one in ids[1:]] == [200, 200]
        assert len(list(folder.glob("detect_*/*"))) == 2


def test_failed_jobs_do_not_displace_results(model, video, folder):
    with serving(model, max_results=1) as client:
        good = processed(client, video)
        for _ in range(2):
            assert processed(client, BROKEN)["state"] == "failed"
        assert client.get(f"/v1/jobs/{good['id']}/result").status_code == 200


def test_the_job_that_ended_first_is_deleted_first(model, video, folder):
    """The order of the ends decides, not that of the uploads."""
    batcher = Batcher(4, 1)
    jobs = video_jobs.VideoJobs(batcher, ServeConfig(max_results=1))
    first, second = (jobs.create(model, None, 0.5) for _ in range(2))
    for job in (second, first):
        job.video.write_bytes(video)
        jobs.start(job)
        wait_until(lambda job=job: job.state == video_jobs.DONE)
    wait_until(lambda: jobs.get(second.id) is None)
    assert jobs.get(first.id) is first
    jobs.close()
    batcher.close()


def test_a_small_video_has_as_much_time_to_arrive_as_an_image(model, video, folder):
    def slowly():
        yield video[:100]
        time.sleep(0.3)
        yield video[100:]

    with serving(model, upload_timeout=60, max_request_bytes=2**30, max_video_bytes=200_000) as client:
        assert client.post("/v1/detect/video", content=slowly()).status_code == 202


def test_frames_with_too_many_pixels_fail_the_job(model, video, folder):
    with serving(model, max_pixels=64 * 96 - 1) as client:
        job = processed(client, video)
        assert job["state"] == "failed" and "6,143" in job["detail"]


def test_frames_with_too_many_tiles_fail_the_job(model, video, folder):
    with serving(model, max_tiles=1) as client:
        job = processed(client, video, tile=64)
        assert job["state"] == "failed" and "tile=64 gives 2 tiles; a frame may have at most 1" in job["detail"]


def test_frames_that_grow_above_the_limit_are_not_decoded(model, folder, tmp_path_factory):
    growing = joined(tmp_path_factory.mktemp("clips"), [(64, 96), (128, 192)])
    with serving(model, max_pixels=64 * 96) as client:
        job = processed(client, growing)
    assert job["state"] == "failed" and job["frames"] <= 3, job
    with serving(model) as client:
        assert processed(client, growing)["frames"] == 6


def joined(folder: Path, sizes: list[tuple[int, int]]) -> bytes:
    """Return a transport stream with three frames of each size, as in a broadcast that changes its resolution."""
    content = b""
    for number, hw in enumerate(sizes):
        clip = folder / f"{number}.mp4"
        with VideoWriter(clip, 10, hw) as out:
            for seed in range(3):
                out.write(make_image(hw, seed))
        stream = clip.with_suffix(".ts")
        options = ("-output_ts_offset", str(number), "-f", "mpegts", str(stream))
        subprocess.run(command("-i", f"file:{clip}", "-c", "copy", *options), check=True, capture_output=True)
        content += stream.read_bytes()
    return content
