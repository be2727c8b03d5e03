"""The middleware releases resources after the response, and handles failing applications and misbehaving clients."""

from __future__ import annotations

import json

import anyio

from detect.serving.metrics import Metrics
from detect.serving.middleware import ServerMiddleware

LARGE = bytes(range(256)) * 4000  # 1 MB


def exchange(app, *, receive=(), send=None, headers=(), timeout: float = 20.0) -> tuple[list[dict], str]:
    """Return the messages sent to the client, and the metrics afterwards. receive: messages that the client sends."""
    sent, incoming, metrics = [], iter(receive), Metrics(lambda: 0)

    async def on_send(message: dict) -> None:
        sent.append(message)
        if send is not None:
            await send(message)

    async def on_receive() -> dict:
        return next(incoming)

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": list(headers)}
    anyio.run(ServerMiddleware(app, metrics, timeout), scope, on_receive, on_send)
    return sent, metrics.text().decode()


async def respond(send, body: bytes = b"{}", status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


def test_resources_are_released_after_the_response():
    released, sent_before = [], []

    async def app(scope, receive, send) -> None:
        scope["state"]["resources"].callback(lambda: released.append(len(sent_before)))
        await respond(send, LARGE)

    async def send(message: dict) -> None:
        assert not released
        sent_before.append(message)

    sent, _ = exchange(app, send=send)
    assert released == [len(sent)] and not sent[-1].get("more_body")
    assert b"".join(message.get("body", b"") for message in sent) == LARGE
    assert max(len(message.get("body", b"")) for message in sent) < len(LARGE) / 3, "in chunks"


def test_resources_are_released_when_the_client_does_not_read():
    released = []

    async def app(scope, receive, send) -> None:
        scope["state"]["resources"].callback(lambda: released.append(True))
        await respond(send, LARGE)

    async def send(message: dict) -> None:
        if message.get("body"):
            await anyio.sleep(60)

    sent, _ = exchange(app, send=send, timeout=0.1)
    assert released == [True] and sent[-1]["more_body"], "the response is recognizably incomplete"


def test_an_exception_before_the_response_is_a_problem_document():
    async def app(scope, receive, send) -> None:
        raise KeyError("/secret/place")

    sent, metrics = exchange(app)
    start, *rest = sent
    assert start["status"] == 500
    assert json.loads(b"".join(message.get("body", b"") for message in rest))["status"] == 500
    assert "secret" not in str(rest) and (b"x-content-type-options", b"nosniff") in start["headers"]
    assert 'status="500"} 1.0' in metrics


def test_a_client_that_goes_on_sending_receives_the_response_before_the_connection_closes():
    async def app(scope, receive, send) -> None:
        await respond(send, b"no", 413)

    more = {"type": "http.request", "body": b"x", "more_body": True}
    last = {"type": "http.request", "body": b"x", "more_body": False}
    sent, _ = exchange(app, receive=[more, more, last], headers=[(b"content-length", b"3")])
    assert (b"connection", b"close") in sent[0]["headers"]
    assert sent[1]["body"] == b"no" and sent[1]["more_body"], "the response precedes the end of the connection"
    without_body, _ = exchange(app)
    assert (b"connection", b"close") not in without_body[0]["headers"]
