"""Videos are processed as jobs that can be watched, fetched and deleted, and that leave no files behind."""

from __future__ import annotations

import json
from urllib.parse import urljoin

import pytest
from helpers.api_server import problem_of
from helpers.video_uploads import files_in, processed, upload, wait_for_end

from detect.media.video_reader import VideoReader
from detect.serving import video_jobs


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


def test_the_detections_of_a_video_have_the_format_that_was_asked_for(client, video, folder):
    job = processed(client, video, format="roboflow", mask_format="rle")
    answer = client.get(f"/v1/jobs/{job['id']}/detections")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"] == "application/jsonl" and [line["frame"] for line in lines] == [*range(5)]
    assert lines[0]["image"] == {"width": 96, "height": 64} and "rle" in lines[0]["predictions"][0]
    job = processed(client, video, format="coco", stride=5)
    answer = client.get(f"/v1/jobs/{job['id']}/detections")
    assert answer.headers["content-type"] == "application/json"
    assert {row["file_name"] for row in answer.json()} == {"result_000000.jpg"}
    problem_of(client.post("/v1/detect/video", params={"format": "csv"}, content=video), 422)


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


def test_stride_processes_every_nth_frame(client, video):
    job = processed(client, video, stride=3)
    assert job["frames"] == 5
    lines = client.get(f"/v1/jobs/{job['id']}/detections").text.splitlines()
    assert [json.loads(line)["detected"] for line in lines] == [True, False, False, True, False]


def test_a_video_has_tiles_and_the_iou_of_nms_that_were_asked_for(client, model, video):
    counts = []
    for params in ({}, {"tile": 64}, {"tile": 64, "nms": 0.2}):
        job = processed(client, video, threshold=0.3, stride=5, **params)
        lines = client.get(f"/v1/jobs/{job['id']}/detections").text.splitlines()
        counts.append(sum(len(json.loads(line)["detections"]) for line in lines))
    assert counts[0] < counts[2] < counts[1]
    for params in ({"tile": 63}, {"tile": "big"}, {"nms": 2}):
        problem_of(client.post("/v1/detect/video", content=video, params=params), 422)


def test_ids_cannot_be_guessed_and_are_not_paths(client, video):
    ids = {upload(client, video)["id"] for _ in range(2)}
    assert len(ids) == 2 and all(len(one) >= 24 for one in ids)
    for path in ("..", "%2e%2e%2f", "x" * 65, "a/b"):
        assert client.get(f"/v1/jobs/{path}").status_code in (404, 422)


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
