"""Throughput of serve.py with one to many clients, beside a plain loop over the same model."""

from __future__ import annotations

import http.client
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from email.message import Message
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks import report
from benchmarks.report import Result
from benchmarks.settings import ServeSettings
from detect import progress
from detect.errors import UsageError
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.media.encoding import EncodedImage
from detect.media.images import read_image
from detect.serving.responses import ImageResult, to_json
from detect.text import counted

PATH = "/v1/detect"
_ROOT = Path(__file__).resolve().parents[1]
_TIMEOUT = 120  # seconds until a client counts a request as lost


@dataclass
class Responses:
    """Responses to clients.

    seconds: time of each successful response.  waits: Retry-After in seconds of each refusal (503).
    errors: other responses and broken connections, in words.
    """

    seconds: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass
class Load:
    """One measurement with simultaneous clients.

    rate: images per second.  plain_rate: of the loop, the mean of before and after.
    memory: resident memory of the server afterwards, in bytes; None where the system does not report it.
    """

    clients: int
    responses: Responses
    rate: float
    plain_rate: float
    memory: int | None


def run(settings: ServeSettings) -> Result:
    """Measure each number of clients between two measurements of the loop; stop the server under load at the end.

    Raises UsageError when serve.py does not start.
    """
    images = [(_ROOT / "input" / f"image_{number}.jpg").read_bytes() for number in (1, 2, 3, 4)]
    predictor = load_model(settings.model, device=settings.device, imgsz=settings.imgsz)
    loads = []
    with _server(settings) as (server, url):
        process_image(predictor, images[0])
        _send(url, images[0], Responses())
        memory = resident_memory(url)
        before = plain_rate(predictor, images, settings.seconds)
        for number in progress.bar([*settings.clients] * settings.rounds, desc="clients"):
            responses, taken = load(url, images, number, settings.seconds)
            after = plain_rate(predictor, images, settings.seconds)
            rate = len(responses.seconds) / taken
            loads.append(Load(number, responses, rate, (before + after) / 2, resident_memory(url)))
            before = after
        stopped = Responses()
        with ThreadPoolExecutor(max(settings.clients)) as pool:
            requests = [pool.submit(_send, url, images[0], stopped) for _ in range(max(settings.clients))]
            time.sleep(0.5)  # until all requests have arrived
            under_way = sum(not request.done() for request in requests)
            server.terminate()
        status = server.wait(_TIMEOUT)
    text = (
        f"`{settings.model}`, `--imgsz {settings.imgsz}`; after its first image the server held "
        f"{report.megabytes(memory)} MB. Medians of {counted(settings.rounds, 'round')}.\n\n{table(loads)}\n\n"
        f"Stopped (SIGTERM) 0.5 s after {counted(max(settings.clients), 'request')} were sent at once, of which"
        f" {under_way} had no response yet. Of all: {len(stopped.seconds)} answered, {len(stopped.waits)} refused"
        f" (503), {len(stopped.errors)} lost; exit status {status}."
        + "".join(f"\n\n- {error}" for error in dict.fromkeys(stopped.errors))
    )
    facts = {"model": settings.model, "memory": memory, "loads": [asdict(one) for one in loads]}
    return text, facts | {"stopped": asdict(stopped), "under_way": under_way, "exit_status": status}


def process_image(predictor: Predictor, content: bytes) -> None:
    """Do what the server does for one image, and nothing else."""
    start = time.perf_counter()
    image = read_image(EncodedImage(content))
    (found,) = predictor.predict_batch([image])
    to_json([ImageResult("", image, found)], predictor.class_names, "", time.perf_counter() - start)


def plain_rate(predictor: Predictor, images: Sequence[bytes], seconds: float) -> float:
    """Return the images per second of a plain loop."""
    start = time.perf_counter()
    for number in count(1):
        process_image(predictor, images[number % len(images)])
        if (taken := time.perf_counter() - start) >= seconds:
            break
    return number / taken


def load(url: str, images: Sequence[bytes], clients: int, seconds: float) -> tuple[Responses, float]:
    """Let each client send one image after the other for some seconds; return the responses and the time taken."""
    responses, start = Responses(), time.perf_counter()

    def client(first: int) -> None:
        for number in count(first):
            if time.perf_counter() - start >= seconds:
                return
            wait = _send(url, images[number % len(images)], responses)
            time.sleep(max(0.0, min(wait, start + seconds - time.perf_counter())))

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return responses, time.perf_counter() - start


def resident_memory(url: str) -> int | None:
    """Return the resident memory of the server in bytes, as /metrics reports it."""
    _, _, content = _request(url, "GET", "/metrics")
    match = re.search(rb"^process_resident_memory_bytes ([\d.e+]+)$", content, re.MULTILINE)
    return int(float(match[1])) if match else None


def table(loads: Sequence[Load]) -> str:
    """Return the table of all numbers of clients as Markdown, and below it every error once."""
    rows = []
    for clients in dict.fromkeys(one.clients for one in loads):
        rounds = [one for one in loads if one.clients == clients]
        seconds = [second for one in rounds for second in one.responses.seconds]
        percentiles = np.percentile(seconds, (50, 95)) if seconds else (np.nan, np.nan)
        rate = statistics.median(one.rate for one in rounds)
        ratio = statistics.median(one.rate / one.plain_rate for one in rounds)
        counts = [sum(len(one.responses.waits) for one in rounds), sum(len(one.responses.errors) for one in rounds)]
        figures = [f"{value:.2f}" for value in (rate, ratio, *percentiles)]
        rows.append([str(clients), *figures, *map(str, counts), report.megabytes(rounds[-1].memory)])
    header = ["clients", "images/s", "relative to the loop", "p50 s", "p95 s", "refused (503)", "errors", "MB"]
    errors = dict.fromkeys(error for one in loads for error in one.responses.errors)
    return "\n\n".join([report.table(header, rows), *(f"- {error}" for error in errors)])


@contextmanager
def _server(settings: ServeSettings) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start serve.py on a free port, and yield its process and URL."""
    words = ["serve.py", "--model", settings.model, "--imgsz", str(settings.imgsz), "--device", settings.device]
    command = [sys.executable, *words, "--port", "0", "--quiet"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"http://[^/]+", process.stdout.readline())
            if address is None:
                raise UsageError("serve.py does not start")
            yield process, address[0]
        finally:
            process.terminate()


def _send(url: str, image: bytes, responses: Responses) -> float:
    """Send one image, record the response, and return the seconds to wait before the next."""
    start = time.perf_counter()
    try:
        status, headers, content = _request(url, "POST", PATH, image)
    except (OSError, http.client.HTTPException) as error:
        responses.errors.append(f"{type(error).__name__}: {error}")
        return 1.0
    if status == http.client.SERVICE_UNAVAILABLE:
        responses.waits.append(float(headers["Retry-After"]))
        return responses.waits[-1]
    if status == http.client.OK:
        responses.seconds.append(time.perf_counter() - start)
    else:
        responses.errors.append(f"{status}: {content[:200].decode(errors='replace')}")
    return 0.0


def _request(url: str, method: str, path: str, image: bytes | None = None) -> tuple[int, Message, bytes]:
    """Return status, headers and content of a response. Raises OSError and HTTPException."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT)) as connection:
        connection.request(method, path, image, {"Content-Type": "image/jpeg"} if image else {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
