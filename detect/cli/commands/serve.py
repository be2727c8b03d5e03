"""Find objects in images and videos that come over HTTP: a REST API, and a page to try it.

    python serve.py --model balloon

listens on http://127.0.0.1:8000/, with the API's description at /docs.
"""

from __future__ import annotations

import errno
import importlib.util
import ipaddress
import math
import os
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from detect.cli.flags import parse
from detect.cli.settings import ServeSettings
from detect.errors import UsageError
from detect.progress import warn
from detect.serving.model_names import by_name

if TYPE_CHECKING:
    from detect.serving.limits import Limits

NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
GRACE = 10  # seconds after the last moment at which a request that has begun should be answered
UNREAD = 30  # seconds for a caller to take what was sent, after which the system hangs up


def main() -> None:
    settings, _ = parse(ServeSettings, "Serve models over HTTP.")
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UsageError(f"{', '.join(missing)} not installed: python -m pip install -r requirements-serve.txt")

    models = by_name(settings.model)
    key = settings.api_key()

    import uvicorn

    # Decoders of images close the usual one for moments, since libtiff writes what it likes to it.
    sys.stderr = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, errors="backslashreplace")
    from detect import runtime
    from detect.serving.app import create_app
    from detect.serving.model_registry import load

    runtime.set_up()
    limits = limits_of(settings)
    loading = partial(load, models, settings.device, settings.imgsz, settings.threshold)
    with listening(settings.host, settings.port) as line:
        app = create_app(loading, limits, api_key=key, origins=settings.origins or (), hosts=settings.hosts or ())
        if key is None and not is_loopback(settings.host):
            warn(f"--host {settings.host} lets in whoever reaches this machine; --api-key-file asks for a key")
        host, port = line.getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        names = ", ".join(app.state.service.served)
        print(f"serving {names} on http://{address}:{port}/, described at /docs", flush=True)
        config = uvicorn.Config(
            app,
            access_log=not settings.quiet,
            log_level="warning" if settings.quiet else "info",
            server_header=False,
            timeout_graceful_shutdown=math.ceil(limits.upload_seconds + limits.answer_seconds + GRACE),
        )
        try:
            with suppress(KeyboardInterrupt):  # a stop is no failure
                uvicorn.Server(config).run([line])
        finally:
            app.state.service.close()  # which a second Ctrl-C would leave out


def listening(host: str, port: int) -> socket.socket:
    """What the server takes callers from. UsageError where that cannot be."""
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        line = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0]  # since Python says once more on what
        advice = "; take another --port" if error.errno == errno.EADDRINUSE else ""
        raise UsageError(f"cannot listen on --host {host} --port {port}: {why}{advice}") from None
    with suppress(AttributeError, OSError):  # of systems that have no such limit
        # Without it callers who do not read would keep a server from ending.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * UNREAD)
    return line


def limits_of(settings: ServeSettings) -> Limits:
    """How much callers may ask for."""
    from detect.serving.limits import Limits

    return Limits(
        bytes_=settings.max_megabytes * 2**20,
        video_bytes=settings.max_video_megabytes * 2**20,
        pixels=settings.max_megapixels * 1_000_000,
        images=settings.max_images,
        frames=settings.max_frames,
        waiting=settings.queue,
        together=settings.batch_size,
        answer_seconds=settings.timeout,
        jobs=settings.max_jobs,
        job_seconds=settings.job_timeout,
        keep_seconds=settings.keep,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
