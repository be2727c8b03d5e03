"""The real REST server in this process, on a free port of the loopback interface."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from detect.cli.commands.serve import listen
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.serving.app import create_app
from detect.serving.config import ServeConfig
from detect.serving.model_registry import ServedModel
from helpers.tiny_models import CLASSES, random_model


@dataclass(kw_only=True)
class ByteConfig(ServeConfig):
    """Settings with sizes in bytes and pixels, which small files can exceed."""

    max_request_bytes: int = 32 * 2**20
    max_video_bytes: int = 512 * 2**20
    max_pixels: int = 40_000_000


def tiny_model(name: str = "tiny", threshold: float = 0.0) -> ServedModel:
    """Return a model with random weights that detects dozens of objects in any image."""
    return ServedModel(name, Predictor(TorchRuntime(random_model()), CLASSES, threshold=threshold))


@contextmanager
def serving(*models: ServedModel, api_key: str | None = None, **settings: Any) -> Iterator[httpx.Client]:
    """Yield a client of a server with these ``models``; ``settings`` are fields of ``ByteConfig``."""
    app = create_app(lambda: {model.name: model for model in models}, ByteConfig(**settings), api_key)
    with running(app) as url, httpx.Client(base_url=url, timeout=600, trust_env=False) as client:
        client.headers["Connection"] = "close"
        yield client


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Serve ``app`` until the end of the block, and yield its URL."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False))
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(300)
        assert not thread.is_alive()


def wait_until(condition: Callable[[], object], seconds: float = 600) -> None:
    """Wait until ``condition`` returns a true value, and fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not fulfilled within {seconds:g} s"
        time.sleep(0.02)


def problem_of(response: httpx.Response, status: int) -> str:
    """Return the detail of a response, after checking that it is a problem document with this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status and document["title"] and document["type"] == "about:blank"
    assert "Traceback" not in document["detail"]
    return document["detail"]
