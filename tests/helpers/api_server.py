"""The real server in this process, on a port of the loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from detect.cli.commands.serve import listening
from detect.inference.predictor import Predictor
from detect.serving.app import create_app
from detect.serving.limits import Limits
from detect.serving.model_registry import Served
from helpers.tiny_models import CLASSES, random_model


def tiny_model(name: str = "tiny", threshold: float = 0.0) -> Served:
    """Finds dozens of things in any image."""
    return Served(name, Predictor(random_model(), CLASSES, threshold=threshold))


@contextmanager
def serving(*models: Served, limits: Limits | None = None, **more: Any) -> Iterator[httpx.Client]:
    """A client of a server with these ``models``, which is stopped when the block ends."""
    app = create_app(lambda: {model.name: model for model in models}, limits or Limits(), **more)
    with running(app) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        client.headers["Connection"] = "close"
        yield client


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Its address, while the block runs."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False))
    line = listening("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([line],))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{line.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def until(is_so: Callable[[], object], seconds: float = 60) -> None:
    """Wait, and fail where it does not come to be."""
    last = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < last, "it did not come to be"
        time.sleep(0.02)
