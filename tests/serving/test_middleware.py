"""What surrounds the application: shares of memory, broken applications, callers who do not listen or do not stop."""

from __future__ import annotations

import json

import anyio

from detect.serving.limits import Limits
from detect.serving.metrics import Measures
from detect.serving.middleware import Watched

LARGE = bytes(range(256)) * 4000  # 1 MB


def ask(app, *, receive=(), send=None, headers=(), patience: float = 20.0) -> tuple[list[dict], str]:
    """What the caller is sent, and the counters afterwards. receive: the messages that come from the caller."""
    sent, coming, measures = [], iter(receive), Measures(lambda: 0)

    async def take(message: dict) -> None:
        sent.append(message)
        if send is not None:
            await send(message)

    async def give() -> dict:
        return next(coming)

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": list(headers)}
    anyio.run(Watched(app, measures, Limits(upload_seconds=patience)), scope, give, take)
    return sent, measures.text().decode()


async def answer(send, body: bytes = b"{}", status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


def test_shares_are_kept_until_the_answer_is_out():
    given_back, out = [], []

    async def app(scope, receive, send) -> None:
        scope["state"]["shares"].callback(lambda: given_back.append(len(out)))
        await answer(send, LARGE)

    async def send(message: dict) -> None:
        assert not given_back
        out.append(message)

    sent, _ = ask(app, send=send)
    assert given_back == [len(sent)] and not sent[-1].get("more_body")
    assert b"".join(message.get("body", b"") for message in sent) == LARGE
    assert max(len(message.get("body", b"")) for message in sent) < len(LARGE) / 3, "in pieces"


def test_a_caller_who_does_not_listen_is_given_up_and_has_no_share_any_more():
    given_back = []

    async def app(scope, receive, send) -> None:
        scope["state"]["shares"].callback(lambda: given_back.append(True))
        await answer(send, LARGE)

    async def send(message: dict) -> None:
        if message.get("body"):
            await anyio.sleep(60)

    sent, _ = ask(app, send=send, patience=0.1)
    assert given_back == [True] and sent[-1]["more_body"], "nobody takes it for the whole answer"


def test_what_breaks_before_it_answers_is_a_problem_document():
    async def app(scope, receive, send) -> None:
        raise KeyError("/secret/place")

    sent, counters = ask(app)
    start, *rest = sent
    assert start["status"] == 500
    assert json.loads(b"".join(message.get("body", b"") for message in rest))["status"] == 500
    assert "secret" not in str(rest) and (b"x-content-type-options", b"nosniff") in start["headers"]
    assert 'status="500"} 1.0' in counters


def test_a_caller_who_goes_on_sending_is_told_before_the_line_is_cut():
    async def app(scope, receive, send) -> None:
        await answer(send, b"no", 413)

    more = {"type": "http.request", "body": b"x", "more_body": True}
    last = {"type": "http.request", "body": b"x", "more_body": False}
    sent, _ = ask(app, receive=[more, more, last], headers=[(b"content-length", b"3")])
    assert (b"connection", b"close") in sent[0]["headers"]
    assert sent[1]["body"] == b"no" and sent[1]["more_body"], "the answer is out before the line is cut"
    calm, _ = ask(app)
    assert (b"connection", b"close") not in calm[0]["headers"]
