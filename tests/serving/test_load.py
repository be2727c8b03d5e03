"""A server that has too much to do says so, and one that is stopped finishes what it has begun."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from helpers.api_server import running, serving, until
from helpers.tiny_models import CLASSES, make_image

from detect.media.encoding import encode
from detect.serving.app import create_app
from detect.serving.limits import Limits
from detect.serving.model_registry import Served
from detect.structures.detections import Detections

PNG = encode(make_image((64, 96), 1), "PNG")
LIMITS = Limits(waiting=2, together=1, answer_seconds=20, upload_seconds=0.5)


class SlowPredictor:
    """Finds nothing, and takes until ``go`` is set for it; an image of one row breaks it."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(transform=SimpleNamespace(resized_hw=lambda hw: hw, min_size=(64,)))
        self.class_names, self.threshold = CLASSES, 0.5
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.seen = 0

    def __call__(self, images, labels=None, threshold=None):
        self.seen += len(images)
        self.begun.release()
        assert self.go.wait(20)
        if any(len(image) == 1 for image in images):
            raise RuntimeError("/secret/place broke")
        return [Detections(image.shape[:2]) for image in images]


@pytest.fixture
def slow() -> SlowPredictor:
    return SlowPredictor()


@pytest.fixture
def client(slow):
    with serving(Served("slow", slow), limits=LIMITS) as client:
        yield client
        slow.go.set()


def test_what_finds_no_room_is_told_when_to_come_again(client, slow):
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(client.post, "/v1/detect", content=PNG)
        assert slow.begun.acquire(timeout=20)
        waiting = [pool.submit(client.post, "/v1/detect", content=PNG) for _ in range(2)]
        until(lambda: "detect_waiting_images 2.0" in client.get("/metrics").text)
        refused = client.post("/v1/detect", content=PNG)
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
        assert refused.json()["title"] == "Service Unavailable"
        assert client.get("/healthz").status_code == 200
        slow.go.set()
        assert [one.result().status_code for one in (first, *waiting)] == [200] * 3


def test_what_breaks_is_told_without_saying_where(client, slow, caplog):
    slow.go.set()
    broken = client.post("/v1/detect", content=encode(np.zeros((1, 9, 3), np.uint8), "PNG"))
    assert broken.status_code == 500 and broken.headers["content-type"] == "application/problem+json"
    detail = broken.json()["detail"]
    assert broken.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in detail and detail.split()[-1] in caplog.text and "/secret/place" in caplog.text
    assert client.post("/v1/detect", content=PNG).status_code == 200


def test_a_caller_who_hangs_up_is_not_looked_for(client, slow):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/detect", content=PNG)
        assert slow.begun.acquire(timeout=20)
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/detect", content=PNG, timeout=0.3)
        until(lambda: 'status="400"' in client.get("/metrics").text)
        slow.go.set()
        assert first.result().status_code == 200 and slow.seen == 1


def test_a_request_that_does_not_end_is_ended(client):
    assert answer_to_half(client).startswith(b"HTTP/1.1 408")


def test_a_request_of_which_nothing_more_comes_is_ended(slow, monkeypatch):
    monkeypatch.setattr("detect.serving.uploads._SILENCE", 0.3)
    with serving(Served("slow", slow)) as client:
        assert answer_to_half(client).startswith(b"HTTP/1.1 408")


def answer_to_half(client) -> bytes:
    """The beginning of what a caller is told who sends half a request."""
    url = urlsplit(str(client.base_url))
    head = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
    with socket.create_connection((url.hostname, url.port), timeout=8) as line:
        line.sendall(head)
        return line.recv(100)


def test_what_has_waited_too_long_is_given_up(slow):
    limits = Limits(waiting=2, together=1, answer_seconds=0.2)
    with serving(Served("slow", slow), limits=limits) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/v1/detect", content=PNG)
        assert slow.begun.acquire(timeout=20)
        second = pool.submit(client.post, "/v1/detect", content=PNG)
        time.sleep(0.4)
        slow.go.set()
        assert [one.result().status_code for one in (first, second)] == [503, 503]
        assert slow.seen == 1


def test_a_server_that_is_stopped_answers_what_it_has(slow):
    app = create_app(lambda: {"slow": Served("slow", slow)}, LIMITS)
    with ThreadPoolExecutor(2) as pool:
        with running(app) as url:
            one = pool.submit(httpx.post, f"{url}/v1/detect", content=PNG, timeout=20, trust_env=False)
            assert slow.begun.acquire(timeout=20)
            two = pool.submit(httpx.post, f"{url}/v1/detect", content=PNG, timeout=20, trust_env=False)
            until(lambda: len(app.state.service.batcher))
            threading.Timer(1.5, slow.go.set).start()
        assert one.result().status_code == two.result().status_code == 200
    assert not app.state.service.is_ready


def test_more_images_than_the_queue_ever_takes_are_told_so(client, slow):
    slow.go.set()
    files = [("image", ("a.png", PNG))] * 3
    answer = client.post("/v1/detect", files=files)
    assert answer.status_code == 413 and answer.json()["detail"] == "a request may have 2 images"


def test_memory_is_given_back_when_the_answer_is_out(slow):
    limits = Limits(waiting=8, together=1, bytes_=len(PNG), at_once=2)
    with serving(Served("slow", slow), limits=limits) as client, ThreadPoolExecutor(3) as pool:
        two = [pool.submit(client.post, "/v1/detect", content=PNG) for _ in range(2)]
        until(lambda: "detect_waiting_images 1.0" in client.get("/metrics").text)
        third = client.post("/v1/detect", content=PNG)
        assert third.status_code == 503 and third.headers["retry-after"] == "1" and "memory" in third.json()["detail"]
        slow.go.set()
        assert [one.result().status_code for one in two] == [200, 200]
        assert client.post("/v1/detect", content=PNG).status_code == 200


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs TCP_USER_TIMEOUT")
def test_a_caller_who_does_not_read_is_given_up_and_keeps_no_server_from_ending(slow, monkeypatch, caplog):
    """Whose large answer would else be kept for ever."""
    monkeypatch.setattr("detect.cli.commands.serve.UNREAD", 1)
    slow.go.set()
    app = create_app(lambda: {"slow": Served("slow", slow)}, Limits(upload_seconds=0.5, waiting=8))
    large = encode(np.random.default_rng(0).integers(0, 256, (1500, 2000, 3)).astype(np.uint8), "PNG")
    head = f"POST /v1/detect?format=image HTTP/1.1\r\nHost: x\r\nContent-Length: {len(large)}\r\n\r\n".encode()
    with socket.socket() as line:
        with running(app) as url:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", urlsplit(url).port))
            line.sendall(head + large)
            rooms = app.state.service._bytes, app.state.service._pixels
            until(lambda: rooms[1].taken)
            until(lambda: not any(room.taken for room in rooms))
            stopped = time.monotonic()
        assert time.monotonic() - stopped < 20
    assert "Traceback" not in caplog.text
