"""Callers in front of serve.py, one to many at once, beside a plain loop over the same model."""

from __future__ import annotations

import http.client
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks import markdown
from detect import progress
from detect.errors import UsageError
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.media.encoding import Encoded
from detect.media.images import read_image
from detect.serving.responses import ImageResult, to_json

GOAL = 0.9  # of the plain loop's images a second
PATH = "/v1/detect"
_ROOT = Path(__file__).parents[1]
_PATIENCE = 120  # seconds until a caller takes a request for lost
_RESIDENT = re.compile(rb"^process_resident_memory_bytes ([\d.e+]+)$", re.MULTILINE)


@dataclass
class Calls:
    """What callers were told.

    seconds: that answers took.  waits: seconds to come again after, where there was too much to do (503).
    wrong: other answers, and lines that broke, in words.
    """

    seconds: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Load:
    """So many callers at once. rate: images a second.  plain: those of the loop, the mean of before and after.
    memory: that the server holds afterwards, in bytes, None where the system does not tell."""

    clients: int
    calls: Calls
    rate: float
    plain: float
    memory: int | None


@dataclass
class Served:
    """memory: of the server after its first image, in bytes.  stopped: what the callers were told whose requests
    were under way when the server was stopped, and how it ended."""

    loads: list[Load]
    memory: int | None
    stopped: Calls
    under_way: int
    exit_status: int


def measure(
    model: str, imgsz: int, device: str, images: Sequence[bytes], clients: Sequence[int], seconds: float, rounds: int
) -> Served:
    """Every number of ``clients`` for so many ``seconds``, each between two runs of the loop as long, in ``rounds``;
    then the server is stopped while as many callers as there were at the most wait. UsageError where serve.py does not
    start."""
    predictor = load_model(model, device=device, imgsz=imgsz)
    loads = []
    with _server(model, imgsz, device) as (process, url):
        look(predictor, images[0])
        _call(url, images[0], Calls())
        first = resident(url)
        before = plain_rate(predictor, images, seconds)
        for number in progress.bar([*clients] * rounds, desc="callers"):
            calls, taken = load(url, images, number, seconds)
            after = plain_rate(predictor, images, seconds)
            loads.append(Load(number, calls, len(calls.seconds) / taken, (before + after) / 2, resident(url)))
            before = after
        stopped, under_way = stop(process, url, images, max(clients))
    return Served(loads, first, stopped, under_way, process.returncode)


def look(predictor: Predictor, picture: bytes) -> None:
    """What the server does for an image, and nothing else."""
    began = time.perf_counter()
    image = read_image(Encoded(picture))
    (found,) = predictor.predict_batch([image])
    to_json([ImageResult("", image, found)], predictor.class_names, "", time.perf_counter() - began)


def plain_rate(predictor: Predictor, images: Sequence[bytes], seconds: float) -> float:
    """Images a second, one after the other."""
    began = time.perf_counter()
    for number in count(1):
        look(predictor, images[number % len(images)])
        if (taken := time.perf_counter() - began) >= seconds:
            break
    return number / taken


def load(url: str, images: Sequence[bytes], clients: int, seconds: float) -> tuple[Calls, float]:
    """Each of ``clients`` sends one image after the other for so many seconds, and waits for the last answer: what
    they were told, and the seconds that it took."""
    calls, began = Calls(), time.perf_counter()

    def call(first: int) -> None:
        for number in count(first):
            if time.perf_counter() - began >= seconds:
                return
            if wait := _call(url, images[number % len(images)], calls):
                time.sleep(max(0.0, min(wait, began + seconds - time.perf_counter())))

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(call, number) for number in range(clients)]:
            done.result()
    return calls, time.perf_counter() - began


def stop(process: subprocess.Popen[str], url: str, images: Sequence[bytes], clients: int) -> tuple[Calls, int]:
    """End the server while ``clients`` wait, one image each: what they were told, and how many had no answer yet."""
    calls = Calls()
    callers = [threading.Thread(target=_call, args=(url, images[0], calls)) for _ in range(clients)]
    for caller in callers:
        caller.start()
    time.sleep(0.5)  # until all are there
    under_way = sum(caller.is_alive() for caller in callers)
    process.send_signal(signal.SIGTERM)
    for caller in callers:
        caller.join()
    process.wait(_PATIENCE)
    return calls, under_way


def resident(url: str) -> int | None:
    """Bytes of memory that the server holds."""
    line = _line_to(url)
    line.request("GET", "/metrics")
    found = _RESIDENT.search(line.getresponse().read())
    line.close()
    return int(float(found[1])) if found else None


def page(served: Served, model: str, imgsz: int, command: str, machine: str) -> str:
    """The table, in Markdown."""
    header = ["callers", "images a second", "of the loop's", "p50 s", "p95 s", "told to come again", "wrong", "MB"]
    numbers = list(dict.fromkeys(one.clients for one in served.loads))
    rounds = {number: [one for one in served.loads if one.clients == number] for number in numbers}
    rows = [_row(some) for some in rounds.values()]
    stopped = served.stopped
    met = all(_ratio(some) >= GOAL for some in rounds.values())
    wrong = [*(words for one in served.loads for words in one.calls.wrong), *stopped.wrong]
    return (
        f"Written by `{command}` on {machine}. `{model}`, `--imgsz {imgsz}`; after its first image the server held"
        f" {_megabytes(served.memory)} MB. Medians of {len(served.loads) // len(rounds)} rounds; seconds of all."
        f"\n\n{markdown.table(header, rows)}\n\n"
        f"The goal is {GOAL:.0%} of what a loop over the same model does: **{'met' if met else 'missed'}**.\n\n"
        f"Stopped (SIGTERM) while {served.under_way} requests were under way: {len(stopped.seconds)} answered,"
        f" {len(stopped.waits)} told to come again, {len(stopped.wrong)} lost; exit status {served.exit_status}."
        + "".join(f"\n\n- {words}" for words in dict.fromkeys(wrong))
    )


def _row(rounds: Sequence[Load]) -> list[str]:
    seconds = [second for one in rounds for second in one.calls.seconds]
    tenths = np.percentile(seconds, (50, 95)) if seconds else (np.nan, np.nan)
    rate = statistics.median(one.rate for one in rounds)
    counts = [sum(len(one.calls.waits) for one in rounds), sum(len(one.calls.wrong) for one in rounds)]
    figures = [f"{value:.2f}" for value in (rate, _ratio(rounds), *tenths)]
    return [str(rounds[0].clients), *figures, *map(str, counts), _megabytes(rounds[-1].memory)]


def _ratio(rounds: Sequence[Load]) -> float:
    return statistics.median(one.rate / one.plain for one in rounds)


def _megabytes(count: int | None) -> str:
    return "not measured" if count is None else f"{count / 1e6:.0f}"


@contextmanager
def _server(model: str, imgsz: int, device: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """serve.py on a port of its own, and its address."""
    words = ["serve.py", "--model", model, "--imgsz", str(imgsz), "--device", device, "--port", "0", "--quiet"]
    with subprocess.Popen([sys.executable, *words], cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"http://[^/]+", process.stdout.readline())
            if address is None:
                raise UsageError("serve.py does not start")
            yield process, address[0]
        finally:
            process.terminate()


def _line_to(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=_PATIENCE)


def _call(url: str, image: bytes, calls: Calls) -> float:
    """Send one; the seconds to wait before another."""
    began = time.perf_counter()
    line = _line_to(url)
    try:
        line.request("POST", PATH, image, {"Content-Type": "image/jpeg"})
        answer = line.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        calls.wrong.append(f"{type(error).__name__}: {error}")
        return 1.0
    finally:
        line.close()
    if answer.status == http.client.SERVICE_UNAVAILABLE:
        calls.waits.append(float(answer.headers["Retry-After"]))
        return calls.waits[-1]
    if answer.status != http.client.OK:
        calls.wrong.append(f"{answer.status}: {content[:200].decode(errors='replace')}")
    else:
        calls.seconds.append(time.perf_counter() - began)
    return 0.0
