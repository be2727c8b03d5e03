"""What every test needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from web_server import Server

from detect import downloads


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from more threads, and sums in another order differ in the last digit."""
    torch.set_num_threads(1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server on this machine, whose failures are tried again at once."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.0)
    with Server().running() as server:
        yield server
