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
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from detect.cli.flags import parse
from detect.cli.startup import report_thresholds, start_program
from detect.errors import UsageError
from detect.progress import report, warn
from detect.serving.config import ServeConfig

REQUIRED = ("fastapi", "fastapi_offline", "uvicorn", "python_multipart", "prometheus_client")
SHUTDOWN_MARGIN = 10  # seconds added to the time that a request can take, before a stopping server drops connections
UNREAD_TIMEOUT = 30  # seconds without acknowledgement of sent data, after which the system closes a connection


def main() -> None:
    """Run serve.py until it is stopped."""
    settings, _ = parse(ServeConfig, "Serve models over HTTP.")
    if missing := [name for name in REQUIRED if importlib.util.find_spec(name) is None]:
        packages = " ".join(name.replace("_", "-") for name in REQUIRED)
        raise UsageError(f"{', '.join(missing)} not installed: python -m pip install {packages}")

    models = settings.models_by_name()
    key = settings.api_key()

    import uvicorn

    # A copy of stderr for the log: image decoders redirect the original for moments, to silence libtiff.
    sys.stderr = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, errors="backslashreplace")
    from detect.serving.app import create_app
    from detect.serving.model_registry import load_models

    start_program(settings.quiet)
    load = partial(load_models, models, **settings.model_settings())
    with listen(settings.host, settings.port) as listener:
        with stopping_at_once():
            app = create_app(load, settings, key)
        if key is None and not is_loopback(settings.host):
            warn(
                f"with `host={settings.host}` everyone who reaches this machine can use the server; `api_key_file`"
                " makes it require a key"
            )
        if settings.threshold is None:
            for name, model in app.state.service.models.items():
                report_thresholds(model.predictor, name)
        host, port = listener.getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        names = ", ".join(app.state.service.models)
        report(f"serving {names} on http://{address}:{port}/, API described at /docs")
        config = uvicorn.Config(
            app,
            access_log=not settings.quiet,
            log_level="warning" if settings.quiet else "info",
            server_header=False,
            timeout_graceful_shutdown=math.ceil(settings.upload_timeout + settings.timeout + SHUTDOWN_MARGIN),
        )
        try:
            with suppress(KeyboardInterrupt):  # uvicorn raises it again after a regular stop
                uvicorn.Server(config).run([listener])
        finally:
            app.state.service.close()  # a second Ctrl-C makes uvicorn skip its own shutdown


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the process during the block, without waiting for the thread that loads a model."""

    def stop(number: int, _: object) -> None:
        os.write(2, b"stopped\n")  # print() raises an error if the signal interrupts another print()
        os._exit(128 + number)

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    former = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


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


def is_loopback(host: str) -> bool:
    """Return whether ``host`` can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
