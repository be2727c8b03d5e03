"""Throughput of serve.py with one to many clients, beside a plain loop over the same model."""

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
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks import report
from benchmarks.settings import ServeSettings
from detect import progress, runtime
from detect.cli.startup import start_program
from detect.errors import UsageError
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.media.encoding import Encoded
from detect.media.images import read_image
from detect.serving.responses import ImageResult, to_json
from detect.text import counted

PATH = "/v1/detect"
_ROOT = Path(__file__).resolve().parents[1]
_TIMEOUT = 120  # seconds until a client counts a request as lost
_RESIDENT = re.compile(rb"^process_resident_memory_bytes ([\d.e+]+)$", re.MULTILINE)


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


@dataclass
class ServedLoads:
    """All measurements of one server.

    memory: resident memory after the first image, in bytes.
    stopped: responses to the requests that were under way when the server was stopped.
    under_way: number of these requests.  exit_status: of the server.
    """

    loads: list[Load]
    memory: int | None
    stopped: Responses
    under_way: int
    exit_status: int


def run(settings: ServeSettings) -> None:
    """Measure the server, and publish the table."""
    report.check_output(settings.json)
    start_program(settings.quiet)
    device = runtime.pick_device(settings.device)
    images = [(_ROOT / "input" / f"image_{number}.jpg").read_bytes() for number in (1, 2, 3, 4)]
    served = measure(settings, images)
    facts = {"machine": report.machine(device), "model": settings.model}
    report.publish(page(served, settings, facts["machine"]), facts | {"served": asdict(served)}, settings.json)


def measure(settings: ServeSettings, images: Sequence[bytes]) -> ServedLoads:
    """Measure each number of clients between two measurements of the loop; stop the server under load at the end.

    Raises UsageError when serve.py does not start.
    """
    predictor = load_model(settings.model, device=settings.device, imgsz=settings.imgsz)
    loads = []
    with _server(settings) as (process, url):
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
        stopped, under_way = stop_under_load(process, url, images, max(settings.clients))
    return ServedLoads(loads, memory, stopped, under_way, process.returncode)


def process_image(predictor: Predictor, content: bytes) -> None:
    """Do what the server does for one image, and nothing else."""
    start = time.perf_counter()
    image = read_image(Encoded(content))
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
            if wait := _send(url, images[number % len(images)], responses):
                time.sleep(max(0.0, min(wait, start + seconds - time.perf_counter())))

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(client, number) for number in range(clients)]:
            done.result()
    return responses, time.perf_counter() - start


def stop_under_load(
    process: subprocess.Popen[str], url: str, images: Sequence[bytes], clients: int
) -> tuple[Responses, int]:
    """Stop the server while each client waits for an image; return the responses and the number under way."""
    responses = Responses()
    threads = [threading.Thread(target=_send, args=(url, images[0], responses)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)  # until all requests have arrived
    under_way = sum(thread.is_alive() for thread in threads)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    process.wait(_TIMEOUT)
    return responses, under_way


def resident_memory(url: str) -> int | None:
    """Return the resident memory of the server in bytes, as /metrics reports it."""
    connection = _connection(url)
    connection.request("GET", "/metrics")
    match = _RESIDENT.search(connection.getresponse().read())
    connection.close()
    return int(float(match[1])) if match else None


def page(served: ServedLoads, settings: ServeSettings, machine: str) -> str:
    """Return how it was measured, and the table, as Markdown."""
    header = ["clients", "images/s", "of the loop's", "p50 s", "p95 s", "refused (503)", "errors", "MB"]
    by_clients = {n: [one for one in served.loads if one.clients == n] for n in dict.fromkeys(settings.clients)}
    rows = [_row(some) for some in by_clients.values()]
    stopped = served.stopped
    errors = [*(text for one in served.loads for text in one.responses.errors), *stopped.errors]
    return (
        f"`{report.command()}` on {machine}. `{settings.model}`, `--imgsz {settings.imgsz}`; after its first image the"
        f" server held {report.megabytes(served.memory)} MB. Medians of {counted(settings.rounds, 'round')}.\n\n"
        f"{report.table(header, rows)}\n\n"
        f"Stopped (SIGTERM) with {counted(served.under_way, 'request')} under way: {len(stopped.seconds)} answered,"
        f" {len(stopped.waits)} refused, {len(stopped.errors)} lost; exit status {served.exit_status}."
        + "".join(f"\n\n- {text}" for text in dict.fromkeys(errors))
    )


def _row(rounds: Sequence[Load]) -> list[str]:
    seconds = [second for one in rounds for second in one.responses.seconds]
    percentiles = np.percentile(seconds, (50, 95)) if seconds else (np.nan, np.nan)
    rate = statistics.median(one.rate for one in rounds)
    ratio = statistics.median(one.rate / one.plain_rate for one in rounds)
    counts = [sum(len(one.responses.waits) for one in rounds), sum(len(one.responses.errors) for one in rounds)]
    figures = [f"{value:.2f}" for value in (rate, ratio, *percentiles)]
    return [str(rounds[0].clients), *figures, *map(str, counts), report.megabytes(rounds[-1].memory)]


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


def _connection(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT)


def _send(url: str, image: bytes, responses: Responses) -> float:
    """Send one image, record the response, and return the seconds to wait before the next."""
    start = time.perf_counter()
    connection = _connection(url)
    try:
        connection.request("POST", PATH, image, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        responses.errors.append(f"{type(error).__name__}: {error}")
        return 1.0
    finally:
        connection.close()
    if response.status == http.client.SERVICE_UNAVAILABLE:
        responses.waits.append(float(response.headers["Retry-After"]))
        return responses.waits[-1]
    if response.status != http.client.OK:
        responses.errors.append(f"{response.status}: {content[:200].decode(errors='replace')}")
    else:
        responses.seconds.append(time.perf_counter() - start)
    return 0.0
