"""An overloaded server refuses requests with status 503, and a server that is stopped finishes its work."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from helpers.api_server import problem_of, running, serving, wait_until
from helpers.slow_predictor import SlowPredictor
from helpers.tiny_models import make_image

from detect.media.encoding import encode
from detect.serving.app import create_app
from detect.serving.config import ServeConfig
from detect.serving.model_registry import ServedModel

PNG = encode(make_image((64, 96), 1), "PNG")
SETTINGS = {"queue": 2, "batch_size": 1, "timeout": 300, "upload_timeout": 300}


@pytest.fixture
def slow() -> SlowPredictor:
    predictor = SlowPredictor(count=0)
    predictor.go.clear()
    return predictor


@pytest.fixture
def client(slow):
    with serving(ServedModel("slow", slow), **SETTINGS) as client:
        yield client
        slow.go.set()


def queue_has(client, length: int) -> bool:
    return f"detect_queue_length {length:.1f}" in client.get("/metrics").text


def test_a_full_queue_is_status_503_with_retry_after(client, slow):
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(client.post, "/v1/detect", content=PNG)
        assert slow.started.acquire(timeout=300)
        waiting = [pool.submit(client.post, "/v1/detect", content=PNG) for _ in range(2)]
        wait_until(lambda: queue_has(client, 2))
        refused = client.post("/v1/detect", content=PNG)
        problem_of(refused, 503)
        assert int(refused.headers["retry-after"]) >= 1 and refused.json()["title"] == "Service Unavailable"
        assert client.get("/healthz").status_code == 200
        slow.go.set()
        assert [one.result().status_code for one in (first, *waiting)] == [200] * 3


def test_an_internal_error_is_logged_and_its_text_is_not_sent(client, slow, caplog):
    slow.go.set()
    broken = client.post("/v1/detect", content=encode(np.full((1, 9, 3), 13, np.uint8), "PNG"))
    detail = problem_of(broken, 500)
    assert broken.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in detail and detail.split()[-1] in caplog.text and "/secret/place" in caplog.text
    assert client.post("/v1/detect", content=PNG).status_code == 200


def test_the_image_of_a_disconnected_client_is_not_processed(client, slow):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/detect", content=PNG)
        assert slow.started.acquire(timeout=300)
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/detect", content=PNG, timeout=httpx.Timeout(300, read=0.3))
        wait_until(lambda: 'status="400"' in client.get("/metrics").text)
        slow.go.set()
        assert first.result().status_code == 200 and slow.num_images == 1


def test_an_upload_that_takes_too_long_is_status_408(slow):
    with serving(ServedModel("slow", slow), upload_timeout=0.5) as client:
        assert response_to_half_a_request(client).startswith(b"HTTP/1.1 408")


def test_an_upload_that_stalls_is_status_408(slow):
    with serving(ServedModel("slow", slow), stall_timeout=0.3) as client:
        assert response_to_half_a_request(client).startswith(b"HTTP/1.1 408")


def response_to_half_a_request(client) -> bytes:
    """Return the beginning of the response to a client that stops sending in the middle of its request."""
    url = urlsplit(str(client.base_url))
    head = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
    with socket.create_connection((url.hostname, url.port), timeout=300) as connection:
        connection.sendall(head)
        return connection.recv(100)


def test_an_image_that_waits_too_long_is_status_503(slow):
    settings = {"queue": 2, "batch_size": 1, "timeout": 0.2}
    with serving(ServedModel("slow", slow), **settings) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/v1/detect", content=PNG)
        assert slow.started.acquire(timeout=300)
        second = pool.submit(client.post, "/v1/detect", content=PNG)
        assert [one.result().status_code for one in (first, second)] == [503, 503]
        slow.go.set()
    assert slow.num_images == 1, "a server that has stopped has finished what it had begun"


def test_a_server_that_is_stopped_answers_pending_requests(slow):
    app = create_app(lambda: {"slow": ServedModel("slow", slow)}, ServeConfig(**SETTINGS))
    with ThreadPoolExecutor(2) as pool:
        with running(app) as url:
            one = pool.submit(httpx.post, f"{url}/v1/detect", content=PNG, timeout=300, trust_env=False)
            assert slow.started.acquire(timeout=300)
            two = pool.submit(httpx.post, f"{url}/v1/detect", content=PNG, timeout=300, trust_env=False)
            wait_until(lambda: len(app.state.service.batcher))
            threading.Timer(1.5, slow.go.set).start()
        assert one.result().status_code == two.result().status_code == 200
    assert not app.state.service.is_ready


def test_more_images_than_the_queue_can_hold_are_status_413(client, slow):
    slow.go.set()
    answer = client.post("/v1/detect", files=[("image", ("a.png", PNG))] * 3)
    assert "at most 2 images" in problem_of(answer, 413)


def test_memory_is_released_after_the_response(slow):
    settings = {"queue": 8, "batch_size": 1, "max_request_bytes": len(PNG), "memory_requests": 2}
    with serving(ServedModel("slow", slow), **settings) as client, ThreadPoolExecutor(3) as pool:
        two = [pool.submit(client.post, "/v1/detect", content=PNG) for _ in range(2)]
        wait_until(lambda: queue_has(client, 1))
        third = client.post("/v1/detect", content=PNG)
        assert "memory" in problem_of(third, 503) and third.headers["retry-after"] == "1"
        slow.go.set()
        assert [one.result().status_code for one in two] == [200, 200]
        assert client.post("/v1/detect", content=PNG).status_code == 200


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs TCP_USER_TIMEOUT")
def test_a_client_that_does_not_read_its_response_is_disconnected(slow, monkeypatch, caplog):
    """Otherwise the response would stay in memory, and the server could not stop, which ``running`` checks."""
    monkeypatch.setattr("detect.cli.commands.serve.UNREAD_TIMEOUT", 1)
    slow.go.set()
    app = create_app(lambda: {"slow": ServedModel("slow", slow)}, ServeConfig(upload_timeout=5, queue=8))
    large = encode(np.random.default_rng(0).integers(0, 256, (1500, 2000, 3)).astype(np.uint8), "PNG")
    head = f"POST /v1/detect?format=image HTTP/1.1\r\nHost: x\r\nContent-Length: {len(large)}\r\n\r\n".encode()
    with socket.socket() as connection, running(app) as url:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", urlsplit(url).port))
        connection.sendall(head + large)
        quotas = app.state.service.byte_quota, app.state.service.pixel_quota
        wait_until(lambda: quotas[1].used)
        wait_until(lambda: not any(quota.used for quota in quotas))
    assert "Traceback" not in caplog.text
