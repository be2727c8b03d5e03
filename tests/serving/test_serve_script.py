"""serve.py as a program: it says where it is, answers, and ends well."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from helpers.api_server import until
from helpers.folders import ROOT
from helpers.tiny_models import as_checkpoint, make_image, random_model

from detect.cli.commands import serve
from detect.cli.settings import ServeSettings
from detect.media.encoding import encode
from detect.media.video_writer import VideoWriter
from detect.models import checkpoint
from detect.serving.limits import Limits


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("kites") / "best.safetensors"
    checkpoint.save(as_checkpoint(random_model()), path)
    return path


def start(*flags: object, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, ROOT / "serve.py", *map(str, flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def test_it_serves_until_it_is_stopped(model):
    server = start("--model", model, f"two={model}", "--port", 0, "--threshold", 0.2, DETECT_API_KEY="sesame")
    stop = threading.Timer(120, server.kill)
    stop.start()
    said = server.stdout.readline()
    assert said.startswith(f"serving {model.parent.name}, two on http://127.0.0.1:")
    url = said.split(" on ")[1].split(",")[0]
    with httpx.Client(base_url=url, timeout=60, trust_env=False, headers={"X-API-Key": "sesame"}) as client:
        assert [one["name"] for one in client.get("v1/models").json()["models"]] == [model.parent.name, "two"]
        answer = client.post("v1/detect", content=encode(make_image((64, 96), 1), "PNG"))
        assert answer.status_code == 200 and "server" not in answer.headers
        assert all(row["score"] >= 0.2 for row in answer.json()["images"][0]["detections"])
        assert client.get("v1/models", headers={"X-API-Key": "x"}).status_code == 401
    server.send_signal(signal.SIGTERM)
    assert server.wait(60) == 0
    stop.cancel()
    out, err = server.communicate()
    assert "Traceback" not in err and "POST /v1/detect" in out + err


def test_every_limit_that_is_a_setting_is_one():
    flags = {"max_megabytes": 1, "max_video_megabytes": 2, "max_megapixels": 3, "max_images": 4, "max_frames": 5}
    flags |= {"max_jobs": 6, "queue": 7, "batch_size": 8, "timeout": 9.0, "job_timeout": 10.0, "keep": 11.0}
    expected = Limits(2**20, 2 * 2**20, 3_000_000, images=4, frames=5, waiting=7, together=8, answer_seconds=9.0)
    expected = replace(expected, jobs=6, job_seconds=10.0, keep_seconds=11.0)
    assert serve.limits_of(ServeSettings(**flags)) == expected


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "balon"], "unknown model 'balon': did you mean balloon"),
        (["--model", "balloon", "balloon"], "two models would be called 'balloon'"),
        (["--api-key-file", "nowhere"], "--api-key-file nowhere cannot be read"),
        (["--api-key-file", os.devnull], "is empty"),
        (["--port", "70000"], "--port 70000 must be at most 65535"),
        (["--host", "256.0.0.1"], "cannot listen on --host 256.0.0.1"),
        (["--origins", "https://example.org/"], "--origins https://example.org/ is none"),
        (["--origins", "https://Example.org"], "as browsers send it"),
        (["--hosts", "example.org:8000"], "--hosts example.org:8000 is no name"),
    ],
)
def test_a_mistake_is_one_line(flags, words):
    server = start(*flags)
    _, err = server.communicate(timeout=120)
    assert server.returncode == 2 and words in err and err.count("\n") == 1


def test_a_port_that_is_taken_is_told_and_a_wide_open_door_too(model):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = start("--model", model, "--port", port)
        _, err = server.communicate(timeout=120)
        assert server.returncode == 2 and f"--port {port}: Address already in use; take another" in err
    server = start("--model", model, "--port", 0, "--host", "0.0.0.0", "--hosts", "*.example.org")
    said = server.stdout.readline()
    assert " on http://0.0.0.0:" in said
    url = f"http://127.0.0.1:{said.split(',')[0].rstrip('/').rpartition(':')[2]}/v1/models"
    for host, status in (("a.example.org", 200), ("example.com", 403)):
        assert httpx.get(url, headers={"Host": host}, trust_env=False).status_code == status
    server.terminate()
    _, err = server.communicate(timeout=120)
    assert "warning: --host 0.0.0.0 lets in whoever reaches this machine" in err


def test_a_second_ctrl_c_ends_it_at_once_and_leaves_no_file(model, tmp_path):
    clip = tmp_path / "clip.mp4"
    with VideoWriter(clip, 10, (64, 96)) as video:
        for number in range(400):
            video.write(make_image((64, 96), number % 5))
    written = tmp_path / "written"
    written.mkdir()
    server = start("--model", model, "--port", 0, "--threshold", 0.9, TMPDIR=str(written))
    stop = threading.Timer(120, server.kill)
    stop.start()
    url = server.stdout.readline().split(" on ")[1].split(",")[0]
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        job = client.post("v1/detect/video", content=clip.read_bytes()).json()
        until(lambda: client.get(f"v1/jobs/{job['id']}").json()["frames"] > 2)
    for _ in range(2):
        server.send_signal(signal.SIGINT)
        time.sleep(0.2)
    server.wait(60)
    stop.cancel()
    server.communicate()
    assert not [path for path in written.rglob("*") if path.is_file()]


def test_a_start_that_fails_leaves_nothing(model, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as line:
        server = start("--model", model, "--port", line.getsockname()[1], TMPDIR=str(tmp_path))
        assert "cannot listen" in server.communicate(timeout=120)[1]
    assert not list(tmp_path.glob("detect_*"))
