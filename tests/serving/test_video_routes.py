"""Videos are processed as jobs that can be watched, fetched and deleted, and that leave no files behind."""

from __future__ import annotations

import errno
import json
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin

import pytest
from helpers.api_server import problem_of, serving, tiny_model, wait_until
from helpers.tiny_models import make_image

from detect.inference.predictor import Predictor
from detect.media.ffmpeg import command
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter
from detect.serving import video_jobs
from detect.serving.batching import Batcher
from detect.serving.config import ServeConfig

BROKEN = b"\0\0\0\x18ftypisom" + bytes(400)
SETTINGS = {"max_video_bytes": 200_000, "max_jobs": 2, "max_frames": 8}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def video_of(path: Path, frames: int) -> bytes:
    with VideoWriter(path, 10, (64, 96)) as out:
        for number in range(frames):
            out.write(make_image((64, 96), number))
    return path.read_bytes()


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    """A video of five frames."""
    return video_of(tmp_path_factory.mktemp("videos") / "five.mp4", 5)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def client(model, folder):
    with serving(model, **SETTINGS) as client:
        yield client
    assert not list(folder.iterdir()), "a server that has ended leaves no file"


@pytest.fixture
def slow_model(monkeypatch):
    """Make every model take at least 0.3 s per batch."""
    predict = Predictor.predict_batch
    monkeypatch.setattr(Predictor, "predict_batch", lambda *a, **k: (time.sleep(0.3), predict(*a, **k))[1])


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


def test_a_video_is_annotated_frame_by_frame(client, video, folder, tmp_path_factory):
    answer = client.post("/v1/detect/video", content=video, params={"classes": "kite", "threshold": 0.3})
    assert answer.status_code == 202
    assert urljoin("/v1/detect/video", answer.headers["location"]) == f"/v1/jobs/{answer.json()['id']}"
    job = wait_for_end(client, answer.json())
    assert (job["state"], job["frames"], job["total_frames"], job["detail"]) == ("done", 5, 5, None)
    result = client.get(f"/v1/jobs/{job['id']}/result")
    assert result.headers["content-type"] == "video/mp4"
    path = tmp_path_factory.mktemp("result") / "r.mp4"
    path.write_bytes(result.content)
    with VideoReader(path) as drawn:
        assert [frame.hw for frame in drawn] == [(64, 96)] * 5
    lines = client.get(f"/v1/jobs/{job['id']}/detections").text.splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(5))
    rows = [row for line in lines for row in json.loads(line)["detections"]]
    assert rows and {row["name"] for row in rows} == {"kite"} and min(row["score"] for row in rows) >= 0.3
    assert files_in(folder) == {"result.mp4", "result.jsonl"}, "the upload has been deleted"
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert client.get(f"/v1/jobs/{job['id']}").status_code == 404
    assert not files_in(folder)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 422, "send its bytes as the body, or as the field 'video'"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n", 415, "not a supported video"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", 415, "not a supported video"),
        (bytes(200_001), 413, "at most 200,000 bytes"),
    ],
)
def test_an_upload_that_is_not_a_video_is_refused(client, folder, content, status, words):
    assert words in problem_of(client.post("/v1/detect/video", content=content), status)
    assert not files_in(folder)
    assert "detect_video_jobs_total{" not in client.get("/metrics").text, "a refused upload is not a job"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:20] + b"\0" * 400,
        lambda _: b"\0\0\0\x08wide#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    ],
    ids=["damaged", "playlist"],
)
def test_an_unreadable_video_fails_and_its_path_is_not_shown(client, video, folder, spoil):
    job = processed(client, spoil(video))
    assert job["state"] == "failed" and "the video" in job["detail"] and str(folder) not in job["detail"]
    assert "the job is failed" in problem_of(client.get(f"/v1/jobs/{job['id']}/result"), 409)


def test_a_video_can_be_uploaded_in_a_form(client, video, folder):
    job = client.post("/v1/detect/video", files={"video": ("../../five.mp4", video)}).json()
    job = wait_for_end(client, job)
    assert (job["state"], job["frames"]) == ("done", 5)
    assert files_in(folder) == {"result.mp4", "result.jsonl"}
    for files, status, words in (
        ({"clip": ("a.mp4", video)}, 422, "no field 'video'; its fields are: 'clip'"),
        ({"video": ("a.mp4", b"")}, 422, "no video"),
        ({"video": ("a.mp4", bytes(100))}, 415, "not a supported video"),
        ([("video", ("a.mp4", video))] * 2, 413, "Too many files"),
    ):
        assert words in problem_of(client.post("/v1/detect/video", files=files), status)


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


def test_stride_processes_every_nth_frame(client, video):
    job = processed(client, video, stride=3)
    assert job["frames"] == 5
    lines = client.get(f"/v1/jobs/{job['id']}/detections").text.splitlines()
    assert [json.loads(line)["detected"] for line in lines] == [True, False, False, True, False]


def test_ids_cannot_be_guessed_and_are_not_paths(client, video):
    ids = {upload(client, video)["id"] for _ in range(2)}
    assert len(ids) == 2 and all(len(one) >= 24 for one in ids)
    for path in ("..", "%2e%2e%2f", "x" * 65, "a/b"):
        assert client.get(f"/v1/jobs/{path}").status_code in (404, 422)


def test_frames_with_too_many_pixels_fail_the_job(model, video, folder):
    with serving(model, max_pixels=64 * 96 - 1) as client:
        job = processed(client, video)
        assert job["state"] == "failed" and "6,143" in job["detail"]


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


def test_the_detail_of_a_truncated_video_shows_no_path(client, video, folder):
    job = processed(client, video[: len(video) * 2 // 3])
    assert str(folder) not in (job["detail"] or "") and "/" not in (job["detail"] or "")


def test_range_requests_get_the_whole_result_and_a_deleted_result_is_status_404(client, video, folder):
    job = processed(client, video)
    path = f"/v1/jobs/{job['id']}/result"
    for value in ("bytes=99999999999-", "bytes=5-9", "nonsense"):
        answer = client.get(path, headers={"Range": value})
        assert answer.status_code == 200 and answer.headers["accept-ranges"] == "none"
    for file in folder.rglob("result.mp4"):
        file.unlink()
    problem_of(client.get(path), 404)


def test_an_internal_error_of_a_job_is_logged_and_its_text_is_not_sent(client, video, monkeypatch, caplog):
    def fail(*_: object, **__: object) -> None:
        raise KeyError("/secret/place")

    monkeypatch.setattr(video_jobs, "write_annotated_video", fail)
    job = processed(client, video)
    assert job["state"] == "failed" and job["detail"].split()[-1] in caplog.text and "/secret/place" in caplog.text
    assert "secret" not in job["detail"]
