"""Videos over HTTP: a job that can be watched, fetched, stopped, and that leaves nothing behind."""

from __future__ import annotations

import errno
import json
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin

import pytest
from helpers.api_server import serving, tiny_model, until
from helpers.tiny_models import make_image

from detect.media.ffmpeg import command
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter
from detect.serving import video_jobs
from detect.serving.limits import Limits

BROKEN = b"\0\0\0\x18ftypisom" + bytes(400)
LIMITS = Limits(video_bytes=200_000, jobs=2, frames=8)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def video(path: Path, frames: int) -> bytes:
    with VideoWriter(path, 10, (64, 96)) as out:
        for number in range(frames):
            out.write(make_image((64, 96), number))
    return path.read_bytes()


@pytest.fixture(scope="module")
def five(tmp_path_factory) -> bytes:
    return video(tmp_path_factory.mktemp("videos") / "five.mp4", 5)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where everything is written."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def client(model, folder):
    with serving(model, limits=LIMITS) as client:
        yield client
    assert not list(folder.iterdir()), "a server that has ended leaves no file"


def ended(client, job: dict) -> dict:
    for _ in range(600):
        job = client.get(f"/v1/jobs/{job['id']}").json()
        if job["state"] in video_jobs.ENDED:
            return job
        time.sleep(0.05)
    raise AssertionError(job)


def test_a_video_is_annotated_frame_by_frame(client, model, five, folder, tmp_path_factory):
    answer = client.post("/v1/detect/video", content=five, params={"classes": "kite", "threshold": 0.3})
    assert answer.status_code == 202
    assert urljoin("/v1/detect/video", answer.headers["location"]) == f"/v1/jobs/{answer.json()['id']}"
    job = ended(client, answer.json())
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
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {"result.mp4", "result.jsonl"}, "what was sent is gone"
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert client.get(f"/v1/jobs/{job['id']}").status_code == 404
    assert not [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 422, "send its bytes as the body, or as the field 'video'"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n", 415, "no video that is taken"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", 415, "no video that is taken"),
        (bytes(200_001), 413, "a request may have at most 200,000 bytes"),
    ],
)
def test_what_is_no_video_is_refused(client, folder, content, status, words):
    answer = client.post("/v1/detect/video", content=content)
    assert answer.status_code == status and words in answer.json()["detail"]
    assert not [path for path in folder.rglob("*") if path.is_file()]
    assert "detect_jobs_total{" not in client.get("/metrics").text, "it never was a job"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda content: content[:20] + b"\0" * 400, "the video"),
        (lambda _: b"\0\0\0\x08wide#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "the video"),
    ],
)
def test_one_that_cannot_be_read_fails_without_saying_where_it_lay(client, five, folder, spoil, words):
    job = ended(client, client.post("/v1/detect/video", content=spoil(five)).json())
    assert job["state"] == "failed" and words in job["detail"] and str(folder) not in job["detail"]
    refused = client.get(f"/v1/jobs/{job['id']}/result")
    assert refused.status_code == 409 and "the job is failed" in refused.json()["detail"]


def test_a_form_brings_a_video_too(client, five, folder):
    job = ended(client, client.post("/v1/detect/video", files={"video": ("../../five.mp4", five)}).json())
    assert (job["state"], job["frames"]) == ("done", 5)
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {"result.mp4", "result.jsonl"}
    for files, status, words in (
        ({"clip": ("a.mp4", five)}, 422, "has no field 'video'; its fields are 'clip'"),
        ({"video": ("a.mp4", b"")}, 422, "no video"),
        ({"video": ("a.mp4", bytes(100))}, 415, "no video that is taken"),
        ([("video", ("a.mp4", five))] * 2, 413, "Too many files"),
    ):
        answer = client.post("/v1/detect/video", files=files)
        assert answer.status_code == status and words in answer.json()["detail"]


def test_a_disk_that_is_full_is_told(client, five, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=599_999))
        assert client.post("/v1/detect/video", content=five).status_code == 507

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("detect.serving.uploads._save_video", fails)
        answer = client.post("/v1/detect/video", content=five)
        assert answer.status_code == 507 and answer.json()["detail"] == "there is no room for the video"
    assert client.post("/v1/detect/video", content=five).status_code == 202


def test_what_one_has_too_much_is_left_out_and_told(client, tmp_path_factory):
    nine = video(tmp_path_factory.mktemp("videos") / "nine.mp4", 9)
    job = ended(client, client.post("/v1/detect/video", content=nine).json())
    assert (job["state"], job["frames"]) == ("done", 8)
    assert job["detail"] == "the video has more than 8 frames; the rest was left out"
    assert len(client.get(f"/v1/jobs/{job['id']}/detections").text.splitlines()) == 8


def test_one_job_too_many_is_told_to_come_again_and_a_running_one_can_be_stopped(client, model, five, monkeypatch):
    look = type(model.predictor).__call__
    monkeypatch.setattr(type(model.predictor), "__call__", lambda *a, **k: (time.sleep(0.3), look(*a, **k))[1])
    first, second = (client.post("/v1/detect/video", content=five).json() for _ in range(2))
    third = client.post("/v1/detect/video", content=five)
    assert third.status_code == 503 and int(third.headers["retry-after"]) > 0
    until(lambda: client.get(f"/v1/jobs/{first['id']}").json()["state"] != "waiting")
    for job in (first, second):
        assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    until(lambda: client.post("/v1/detect/video", content=five).status_code == 202)
    until(lambda: 'detect_jobs_total{state="cancelled"} 2.0' in client.get("/metrics").text)


def test_a_result_is_kept_for_a_while_and_goes_without_being_asked_for(model, five, folder):
    with serving(model, limits=Limits(keep_seconds=0.5)) as client:
        job = ended(client, client.post("/v1/detect/video", content=five).json())
        assert [path for path in folder.rglob("*") if path.is_file()]
        until(lambda: not [path for path in folder.rglob("*") if path.is_file()])
        assert client.get(f"/v1/jobs/{job['id']}").status_code == 404


def test_of_finished_ones_the_newest_are_kept(model, five, folder):
    with serving(model, limits=Limits(kept=2)) as client:
        numbers = [ended(client, client.post("/v1/detect/video", content=five).json())["id"] for _ in range(3)]
        until(lambda: client.get(f"/v1/jobs/{numbers[0]}").status_code == 404)
        assert [client.get(f"/v1/jobs/{number}/result").status_code for number in numbers[1:]] == [200, 200]
        assert len(list(folder.glob("detect_*/*"))) == 2


def test_a_small_video_has_as_long_to_arrive_as_an_image(model, five, folder):
    def slowly():
        yield five[:100]
        time.sleep(0.3)
        yield five[100:]

    with serving(model, limits=Limits(upload_seconds=5, video_bytes=200_000)) as client:
        assert client.post("/v1/detect/video", content=slowly()).status_code == 202


def test_a_disk_that_fills_ends_a_video(client, five, monkeypatch):
    free = iter([10**12])
    monkeypatch.setattr(video_jobs.Jobs, "_free", lambda _: next(free, 0))
    job = ended(client, client.post("/v1/detect/video", content=five).json())
    assert (job["state"], job["frames"], job["detail"]) == ("failed", 0, "there is no more room on the disk")


def test_every_so_many_th_frame_may_be_looked_at(client, five):
    job = client.post("/v1/detect/video", content=five, params={"stride": 3}).json()
    assert ended(client, job)["frames"] == 5
    lines = client.get(f"/v1/jobs/{job['id']}/detections").text.splitlines()
    assert [json.loads(line)["detected"] for line in lines] == [True, False, False, True, False]


def test_failed_ones_drive_no_result_away(model, five, folder):
    with serving(model, limits=Limits(kept=1)) as client:
        good = ended(client, client.post("/v1/detect/video", content=five).json())
        for _ in range(2):
            assert ended(client, client.post("/v1/detect/video", content=BROKEN).json())["state"] == "failed"
        assert client.get(f"/v1/jobs/{good['id']}/result").status_code == 200


def test_what_ended_first_goes_first(model, folder):
    """Though it came last: its upload was done earlier."""
    queue = SimpleNamespace(submit=None)
    some = video_jobs.Jobs(queue, Limits(kept=1))
    first, last = (some.new(model, None, 0.5) for _ in range(2))
    for job in (last, first):
        some._end(job, video_jobs.DONE)
    assert some.get(first.id) is first and some.get(last.id) is None
    some.close()


def test_one_that_takes_too_long_is_ended(model, five, folder, monkeypatch):
    look = type(model.predictor).__call__
    monkeypatch.setattr(type(model.predictor), "__call__", lambda *a, **k: (time.sleep(0.3), look(*a, **k))[1])
    with serving(model, limits=Limits(job_seconds=0.5)) as client:
        job = ended(client, client.post("/v1/detect/video", content=five).json())
        assert job["state"] == "done" and "more than 0.5 s; the rest was left out" in job["detail"]
        assert 0 < job["frames"] < 5 and client.get(f"/v1/jobs/{job['id']}/result").status_code == 200


def test_ids_cannot_be_guessed_nor_are_they_paths(client, five):
    numbers = {client.post("/v1/detect/video", content=five).json()["id"] for _ in range(2)}
    assert len(numbers) == 2 and all(len(number) >= 24 for number in numbers)
    for path in ("..", "%2e%2e%2f", "x" * 65, "a/b"):
        assert client.get(f"/v1/jobs/{path}").status_code in (404, 422)


def test_frames_are_small_enough(model, five, folder):
    with serving(model, limits=Limits(pixels=64 * 96 - 1)) as client:
        job = ended(client, client.post("/v1/detect/video", content=five).json())
        assert job["state"] == "failed" and "frames of more than 6,143 pixels" in job["detail"]


def test_a_frame_that_grows_is_not_unpacked(model, folder, tmp_path_factory):
    clips = tmp_path_factory.mktemp("clips")
    growing = joined(clips, [(64, 96), (128, 192)])
    with serving(model, limits=Limits(pixels=64 * 96)) as client:
        job = ended(client, client.post("/v1/detect/video", content=growing).json())
    assert job["state"] == "failed" and job["frames"] <= 3, job
    with serving(model) as client:
        assert ended(client, client.post("/v1/detect/video", content=growing).json())["frames"] == 6


def joined(folder: Path, sizes: list[tuple[int, int]]) -> bytes:
    """Transport streams of three frames each, one behind the other, as a broadcast changes its size."""
    content = b""
    for number, hw in enumerate(sizes):
        clip = folder / f"{number}.mp4"
        with VideoWriter(clip, 10, hw) as out:
            for seed in range(3):
                out.write(make_image(hw, seed))
        stream = clip.with_suffix(".ts")
        moved = ("-output_ts_offset", str(number), "-f", "mpegts", str(stream))
        subprocess.run(command("-i", f"file:{clip}", "-c", "copy", *moved), check=True, capture_output=True)
        content += stream.read_bytes()
    return content


def test_a_truncated_one_tells_nothing_of_where_it_lay(client, five, folder):
    job = ended(client, client.post("/v1/detect/video", content=five[: len(five) * 2 // 3]).json())
    assert str(folder) not in (job["detail"] or "") and "/" not in (job["detail"] or "")


def test_a_result_is_sent_whole_and_one_that_is_gone_is_no_bug(client, five, folder):
    job = ended(client, client.post("/v1/detect/video", content=five).json())
    path = f"/v1/jobs/{job['id']}/result"
    for asked in ("bytes=99999999999-", "bytes=5-9", "nonsense"):
        answer = client.get(path, headers={"Range": asked})
        assert answer.status_code == 200 and answer.headers["accept-ranges"] == "none"
    for file in folder.rglob("result.mp4"):
        file.unlink()
    assert client.get(path).status_code == 404


def test_what_breaks_in_a_video_is_in_the_log(client, five, monkeypatch, caplog):
    def breaks(*_: object, **__: object) -> None:
        raise KeyError("/secret/place")

    monkeypatch.setattr(video_jobs, "annotated_video", breaks)
    job = ended(client, client.post("/v1/detect/video", content=five).json())
    assert job["state"] == "failed" and job["detail"].split()[-1] in caplog.text and "/secret/place" in caplog.text
    assert "secret" not in job["detail"]
