"""Serve models over HTTP: a REST API and a web page.

    python serve.py --model balloon

listens on http://127.0.0.1:8000/ and describes its API at http://127.0.0.1:8000/docs.
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
from detect.cli.settings.serve import ServeSettings
from detect.cli.startup import start_program
from detect.errors import UsageError
from detect.progress import report, warn
from detect.serving.model_names import models_by_name

if TYPE_CHECKING:
    from detect.serving.limits import Limits

REQUIRED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
SHUTDOWN_MARGIN = 10  # seconds added to the time that a request can take, before a stopping server drops connections
UNREAD_TIMEOUT = 30  # seconds without acknowledgement of sent data, after which the system closes a connection


def main() -> None:
    """Run serve.py until it is stopped."""
    settings, _ = parse(ServeSettings, "Serve models over HTTP.")
    if missing := [name for name in REQUIRED if importlib.util.find_spec(name) is None]:
        packages = " ".join(name.replace("_", "-") for name in REQUIRED)
        raise UsageError(f"{', '.join(missing)} not installed: python -m pip install {packages}")

    models = models_by_name(settings.model)
    key = settings.api_key()

    import uvicorn

    # A copy of stderr for the log: image decoders redirect the original for moments, to silence libtiff.
    sys.stderr = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, errors="backslashreplace")
    from detect.serving.app import create_app
    from detect.serving.model_registry import load_models

    start_program(settings.quiet)
    limits = limits_of(settings)
    load = partial(load_models, models, settings.device, settings.imgsz, settings.threshold)
    with listen(settings.host, settings.port) as listener:
        app = create_app(load, limits, api_key=key, origins=settings.origins or (), hosts=settings.hosts or ())
        if key is None and not is_loopback(settings.host):
            warn(
                f"with `host={settings.host}` everyone who reaches this machine can use the server; `api_key_file`"
                " makes it require a key"
            )
        host, port = listener.getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        names = ", ".join(app.state.service.models)
        report(f"serving {names} on http://{address}:{port}/, API described at /docs")
        config = uvicorn.Config(
            app,
            access_log=not settings.quiet,
            log_level="warning" if settings.quiet else "info",
            server_header=False,
            timeout_graceful_shutdown=math.ceil(limits.upload_timeout + limits.answer_timeout + SHUTDOWN_MARGIN),
        )
        try:
            with suppress(KeyboardInterrupt):  # uvicorn raises it again after a regular stop
                uvicorn.Server(config).run([listener])
        finally:
            app.state.service.close()  # a second Ctrl-C makes uvicorn skip its own shutdown


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises UsageError when ``host`` and ``port`` cannot be used."""
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]  # newer versions of Python append the address
        advice = "; choose another `port`" if error.errno == errno.EADDRINUSE else ""
        raise UsageError(f"cannot listen on `host={host}` `port={port}`: {reason}{advice}") from None
    with suppress(AttributeError, OSError):  # not every system has this option
        # Without it, clients that do not read their response would keep the server from ending.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * UNREAD_TIMEOUT)
    return listener


def limits_of(settings: ServeSettings) -> Limits:
    """Return the limits that the settings state, in bytes and pixels."""
    from detect.serving.limits import Limits

    return Limits(
        max_request_bytes=settings.max_megabytes * 2**20,
        max_video_bytes=settings.max_video_megabytes * 2**20,
        max_pixels=settings.max_megapixels * 1_000_000,
        max_images=settings.max_images,
        max_frames=settings.max_frames,
        queue_size=settings.queue,
        batch_size=settings.batch_size,
        answer_timeout=settings.timeout,
        max_jobs=settings.max_jobs,
        job_timeout=settings.job_timeout,
        keep_seconds=settings.keep,
    )


def is_loopback(host: str) -> bool:
    """Return whether ``host`` can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
