"""serve.py as a program: it states its address, answers requests, and stops cleanly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from helpers.api_server import wait_until
from helpers.folders import ROOT
from helpers.tiny_models import as_checkpoint, make_image, random_model

from detect.media.encoding import encode
from detect.media.video_writer import VideoWriter
from detect.models import checkpoint
from detect.serving.config import ServeConfig


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


@contextmanager
def started(*flags: object, **environment: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """Yield a running server and its first line of output; it is killed if it hangs."""
    server = start(*flags, "--port", 0, **environment)
    timer = threading.Timer(600, server.kill)
    timer.start()
    try:
        yield server, server.stdout.readline()
    finally:
        timer.cancel()
        server.kill()
        server.communicate()


def url_in(line: str) -> str:
    return line.split(" on ")[1].split(",")[0]


def test_it_serves_until_it_is_stopped(model):
    flags = ("--model", model, f"two={model}", "--threshold", 0.2)
    with started(*flags, DETECT_API_KEY="sesame") as (server, line):
        assert line.startswith(f"serving {model.parent.name}, two on http://127.0.0.1:")
        headers = {"X-API-Key": "sesame"}
        with httpx.Client(base_url=url_in(line), timeout=600, trust_env=False, headers=headers) as client:
            assert [one["name"] for one in client.get("v1/models").json()["models"]] == [model.parent.name, "two"]
            answer = client.post("v1/detect", content=encode(make_image((64, 96), 1), "PNG"))
            assert answer.status_code == 200 and "server" not in answer.headers
            assert all(row["score"] >= 0.2 for row in answer.json()["images"][0]["detections"])
            assert client.get("v1/models", headers={"X-API-Key": "x"}).status_code == 401
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate()
        assert server.returncode == 0
        assert "Traceback" not in err and "POST /v1/detect" in out + err


def test_limits_of_size_are_given_in_megabytes_and_megapixels():
    config = ServeConfig(max_megabytes=1, max_video_megabytes=2, max_megapixels=3)
    assert (config.max_request_bytes, config.max_video_bytes, config.max_pixels) == (2**20, 2**21, 3_000_000)


def test_models_are_named_after_their_file_or_its_folder(model):
    url = "https://example.org/runs/birds/last.safetensors?key=1"
    config = ServeConfig(model=["balloon", str(model), url, f"two={model}"])
    names = {"balloon": "balloon", model.parent.name: str(model), "birds": url, "two": str(model)}
    assert config.models_by_name() == names


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "balon"], "unknown model 'balon': did you mean balloon"),
        (["--model", "balloon", "balloon"], "two models have the name 'balloon'"),
        (["--api-key-file", "nowhere"], "--api-key-file nowhere cannot be read"),
        (["--api-key-file", os.devnull], "is empty"),
        (["--port", "70000"], "--port 70000 must be at most 65535"),
        (["--host", "256.0.0.1"], "cannot listen on --host 256.0.0.1"),
        (["--origins", "https://example.org/"], "--origins https://example.org/ is not an origin"),
        (["--origins", "https://Example.org"], "lower case"),
        (["--hosts", "example.org:8000"], "--hosts example.org:8000 is not a host name"),
        (["--max-pictures", "3"], "--max-images"),  # vocabulary: old name
    ],
)
def test_a_mistake_is_one_line_with_status_2(flags, words):
    server = start(*flags)
    _, err = server.communicate(timeout=600)
    assert server.returncode == 2 and words in err and err.count("\n") == 1


def test_a_port_in_use_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = start("--port", port)
        _, err = server.communicate(timeout=600)
    assert server.returncode == 2 and f"--port {port}: Address already in use; choose another" in err


@pytest.mark.slow
def test_a_server_for_everybody_without_a_key_warns_and_checks_the_host_name(model):
    with started("--model", model, "--host", "0.0.0.0", "--hosts", "*.example.org") as (server, line):
        assert " on http://0.0.0.0:" in line
        url = f"{url_in(line).replace('0.0.0.0', '127.0.0.1')}v1/models"
        for host, status in (("a.example.org", 200), ("example.com", 403)):
            assert httpx.get(url, headers={"Host": host}, timeout=600, trust_env=False).status_code == status
        server.terminate()
        _, err = server.communicate()
    assert "warning: with --host 0.0.0.0" in err and "--api-key-file" in err


@pytest.mark.slow
def test_a_second_ctrl_c_stops_it_and_leaves_no_file(model, tmp_path):
    clip = tmp_path / "clip.mp4"
    with VideoWriter(clip, 10, (64, 96)) as video:
        for number in range(400):
            video.write(make_image((64, 96), number % 5))
    folder = tmp_path / "temporary"
    folder.mkdir()
    with started("--model", model, "--threshold", 0.9, TMPDIR=str(folder)) as (server, line):
        with httpx.Client(base_url=url_in(line), timeout=600, trust_env=False) as client:
            job = client.post("v1/detect/video", content=clip.read_bytes()).json()
            wait_until(lambda: client.get(f"v1/jobs/{job['id']}").json()["frames"] > 2)
        for _ in range(2):
            server.send_signal(signal.SIGINT)
            time.sleep(0.2)
        server.communicate()
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_a_failed_start_leaves_no_files(model, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = start("--model", model, "--port", listener.getsockname()[1], TMPDIR=str(tmp_path))
        assert "cannot listen" in server.communicate(timeout=600)[1]
    assert not list(tmp_path.glob("detect_*"))


LOADS_FOREVER = """
import sys
import torch
from detect.cli.commands import serve
from detect.cli.exit_status import exit_status
from detect.serving import model_registry

def load(*_, **settings):
    print("loading", flush=True)
    while True:
        torch.randn(300, 300) @ torch.randn(300, 300)

model_registry.load_models = load
sys.argv = ["serve.py", "--port", "0"]
sys.exit(exit_status(serve.main))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_while_a_model_loads_does_not_wait_for_it(number):
    command = [sys.executable, "-c", LOADS_FOREVER]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline() == "loading\n"
            server.send_signal(number)
            _, errors = server.communicate(timeout=600)
        finally:
            server.kill()
    assert (server.returncode, errors.splitlines()[-1]) == (128 + number, "stopped")
