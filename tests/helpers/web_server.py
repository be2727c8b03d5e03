"""An HTTP server on this machine that truncates, stalls and ignores ranges as a test demands."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

BODY = bytes(range(256)) * 2000  # 512 000 bytes


class Server(ThreadingHTTPServer):
    """Serves ``body`` under every path that does not contain 'missing', and records the requested paths and ranges."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.etag: str | None = '"one"'
        self.knows_ranges = True
        self.states_length = True
        self.checks_if_range = True
        self.cuts: list[int] = []  # numbers of bytes after which the next responses stop
        self.stall = Event()  # while set, a truncated response stays open without sending more
        self.content_type = "application/octet-stream"
        self.ranges: list[str | None] = []
        self.paths: list[str] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/{name}"

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Serve until the block ends; afterwards the port refuses connections."""
        thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.stall.clear()
            self.shutdown()
            thread.join()
            self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        self.server.paths.append(self.path)
        body, etag = self.server.body, self.server.etag
        if "missing" in self.path:
            return self.send_error(404)
        same = not self.server.checks_if_range or self.headers.get("If-Range") == etag
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.knows_ranges and same else 0
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", self.server.content_type)
        if self.server.states_length:
            self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        if not self.server.cuts:
            return self.wfile.write(body[start:])
        self.wfile.write(body[start : start + self.server.cuts.pop(0)])
        if self.server.stall.is_set():
            while self.server.stall.is_set():
                time.sleep(0.01)

    def log_message(self, *_: object) -> None:
        pass


def files(folder: Path) -> list[Path]:
    """Return the files in ``folder`` without the empty lock files of downloads."""
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def only_file(folder: Path) -> Path:
    """Return the one file in ``folder``, and fail if there are others, such as partial downloads."""
    (path,) = files(folder)
    return path
