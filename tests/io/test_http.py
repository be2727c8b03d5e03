"""HTTP downloads continue where they ended, and time out."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from urllib.error import URLError

import pytest
from helpers.folders import ROOT
from helpers.web_server import BODY, files, only_file

from detect.errors import FetchError
from detect.io import http
from detect.io.downloads import fetch

DIGEST = hashlib.sha256(BODY).hexdigest()
REPOSITORY = ROOT


def left_behind(folder: Path, name: str, content: bytes, url: str, validator: str) -> None:
    """What an interrupted download leaves."""
    digest = hashlib.sha256(url.encode()).hexdigest()
    (folder / f"{name}.partial").write_bytes(content)
    (folder / f"{name}.partial.json").write_text(json.dumps({"url_sha256": digest, "validator": validator}))


def test_broken_download_continues_where_it_ended(server, tmp_path):
    server.cuts = [200_000, 100_000]
    path = fetch(server.url("model.bin"), tmp_path, sha256=DIGEST)
    assert path.read_bytes() == BODY
    assert server.ranges == [None, "bytes=200000-", "bytes=300000-"]
    assert only_file(tmp_path) == path


def test_repeated_breaks_end_the_download_and_keep_its_bytes(server, tmp_path):
    server.cuts = [1000] * 10
    with pytest.raises(FetchError, match=r"ended after 4000 of 512000 bytes; the next try continues this download"):
        fetch(server.url("model.bin"), tmp_path)
    server.cuts = []
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges[-1] == "bytes=4000-"


def test_server_without_range_requests_starts_again(server, tmp_path):
    server.knows_ranges = False
    server.cuts = [200_000]
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_download_without_etag_and_date_is_not_continued(server, tmp_path):
    server.etag = None
    server.cuts = [200_000]
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges == [None, None]


@pytest.mark.parametrize("checks_if_range", [True, False])
def test_changed_file_is_downloaded_from_the_start(server, tmp_path, checks_if_range):
    server.checks_if_range = checks_if_range
    left_behind(tmp_path, "model.bin", b"x" * 1000, server.url("model.bin"), validator='"zero"')
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_partial_file_of_another_url_is_not_continued(server, tmp_path):
    left_behind(tmp_path, "model.bin", b"x" * 1000, server.url("other/model.bin"), validator='"one"')
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_complete_or_too_long_partial_file_starts_again(server, tmp_path):
    left_behind(tmp_path, "model.bin", BODY + b"more", server.url("model.bin"), validator='"one"')
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_partial_file_made_too_long_by_another_process_starts_again(server, tmp_path, monkeypatch):
    progress_bar, others = http._progress_bar, iter([b"more"])

    def meddle(*arguments):
        with (tmp_path / "model.bin.partial").open("ab") as file:
            file.write(next(others, b""))
        return progress_bar(*arguments)

    monkeypatch.setattr(http, "_progress_bar", meddle)
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_download_of_a_killed_process_is_continued(server, tmp_path):
    server.cuts = [200_000]
    server.stall.set()
    code = "import sys; from pathlib import Path; from detect.io.downloads import fetch; "
    code += "fetch(sys.argv[1], Path(sys.argv[2]))"
    command = [sys.executable, "-c", code, server.url("model.bin"), str(tmp_path)]
    partial = tmp_path / "model.bin.partial"
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not (partial.exists() and partial.stat().st_size > 100_000) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    server.stall.clear()
    size = partial.stat().st_size
    assert 100_000 < size <= 200_000
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={size}-"]


def test_refused_connection_is_an_immediate_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(FetchError, match="Connection refused"):
        fetch(f"http://127.0.0.1:{port}/model.bin", tmp_path)


def test_silent_server_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(http, "READ_SECONDS", 120.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(FetchError, match="no response within"):
            fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/model.bin", tmp_path)
        assert time.monotonic() - start < 60


def test_silent_name_server_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.2)
    resolved = Event()

    def hang(*_: object, **__: object) -> list:
        resolved.wait(300)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(FetchError, match="no response within"):
            fetch("http://weights.invalid/model.bin", tmp_path)
    finally:
        resolved.set()


def test_unresolvable_host_name_is_an_error(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> list:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(FetchError, match="name cannot be resolved"):
        fetch("http://weights.invalid/model.bin", tmp_path)


def test_an_invalid_certificate_is_named_with_its_usual_causes(tmp_path, monkeypatch):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "Hostname mismatch"

    def fail(*_: object, **__: object) -> None:
        raise URLError(error)

    monkeypatch.setattr(http, "urlopen", fail)
    with pytest.raises(FetchError, match=r"certificate is invalid, as behind a login page .*\(Hostname mismatch\)"):
        fetch("https://weights.invalid/model.bin", tmp_path)


def test_stalled_download_is_requested_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "READ_SECONDS", 3.0)
    server.cuts = [200_000]
    server.stall.set()
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges == [None, "bytes=200000-"]


def test_query_of_a_url_is_not_written_beside_an_interrupted_download(server, tmp_path):
    server.cuts = [1000] * 4
    url = server.url("model.bin?signature=secret")
    with pytest.raises(FetchError, match="the next try continues this download"):
        fetch(url, tmp_path)
    assert not [path for path in tmp_path.iterdir() if b"secret" in path.read_bytes()]
    server.cuts = []
    assert fetch(url, tmp_path).read_bytes() == BODY and server.ranges[-1] == "bytes=4000-"


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("text/html; charset=utf-8", b"\n<p>Log in", "a web page instead of the file"),
        ("application/octet-stream", b"\n<!DOCTYPE html><html>", "a web page instead of the file"),
        ("text/plain", b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer"),
    ],
)
def test_web_page_instead_of_the_file_is_an_error_and_not_kept(server, tmp_path, content_type, body, words):
    left_behind(tmp_path, "model.bin", BODY[:1000], server.url("model.bin"), validator='"one"')
    server.content_type, server.body, server.etag = content_type, body, '"page"'
    with pytest.raises(FetchError, match=words):
        fetch(server.url("model.bin"), tmp_path)
    server.content_type, server.body, server.etag = "application/octet-stream", BODY, '"one"'
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", "bytes=1000-"]  # what had come before is of use yet


def test_download_that_cannot_continue_leaves_no_file(server, tmp_path):
    server.etag, server.cuts = None, [1000] * 10
    with pytest.raises(FetchError, match="ended after 1000 of 512000 bytes; without a network"):
        fetch(server.url("model.bin"), tmp_path)
    assert not files(tmp_path)
