"""Downloads: they arrive whole, go on where they stopped, and give up in time with words that help."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from web_server import BODY, Server

from detect import downloads
from detect.downloads import checkpoints_folder, fetch
from detect.errors import FetchError

DIGEST = hashlib.sha256(BODY).hexdigest()
REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().running() as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.0)


def files(folder: Path) -> list[Path]:
    """All that is there but for the empty files of locks."""
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def only_file(folder: Path) -> Path:
    """Nothing but the file is left: no partial and no origin."""
    (path,) = files(folder)
    return path


def left_behind(folder: Path, name: str, content: bytes, url: str, validator: str) -> None:
    """What an interrupted download leaves."""
    digest = hashlib.sha256(url.encode()).hexdigest()
    (folder / f"{name}.partial").write_bytes(content)
    (folder / f"{name}.partial.json").write_text(json.dumps({"url_sha256": digest, "validator": validator}))


def test_a_fresh_download_arrives_whole_and_alone(server, tmp_path):
    folder = tmp_path / "new" / "folder"
    path = fetch(server.url("model.bin") + "?download=true", folder)
    assert path == folder / "model.bin" == only_file(folder)
    assert path.read_bytes() == BODY
    assert server.ranges == [None]


def test_a_file_that_is_there_is_used_without_a_request(server, tmp_path):
    (tmp_path / f"model-{DIGEST[:8]}.pth").write_bytes(BODY)
    fetch(server.url(f"model-{DIGEST[:8]}.pth"), tmp_path)
    assert server.ranges == []


def test_a_damaged_file_that_is_there_is_named_and_left_alone(server, tmp_path):
    kept = tmp_path / f"model-{DIGEST[:8]}.pth"
    kept.write_bytes(b"half a mod")
    with pytest.raises(FetchError, match=f"{kept} is damaged.*expected was {DIGEST[:8]}.*delete it"):
        fetch(server.url(kept.name), tmp_path)
    assert kept.read_bytes() == b"half a mod"
    assert server.ranges == []


def test_a_cut_is_continued_where_it_happened(server, tmp_path):
    server.cuts = [200_000, 100_000]
    path = fetch(server.url("model.bin"), tmp_path, sha256=DIGEST)
    assert path.read_bytes() == BODY
    assert server.ranges == [None, "bytes=200000-", "bytes=300000-"]
    assert only_file(tmp_path) == path


def test_cuts_without_end_are_given_up_and_what_came_is_kept(server, tmp_path):
    server.cuts = [1000] * 10
    with pytest.raises(FetchError, match=r"ended after 4000 of 512000 bytes; what came so far is kept"):
        fetch(server.url("model.bin"), tmp_path)
    server.cuts = []
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges[-1] == "bytes=4000-"


def test_a_server_that_knows_no_ranges_starts_again(server, tmp_path):
    server.knows_ranges = False
    server.cuts = [200_000]
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_without_a_version_nothing_is_continued(server, tmp_path):
    server.etag = None
    server.cuts = [200_000]
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges == [None, None]


@pytest.mark.parametrize("checks_if_range", [True, False])
def test_a_file_that_changed_meanwhile_starts_again(server, tmp_path, checks_if_range):
    server.checks_if_range = checks_if_range
    left_behind(tmp_path, "model.bin", b"x" * 1000, server.url("model.bin"), validator='"zero"')
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_a_partial_file_of_another_address_is_not_continued(server, tmp_path):
    left_behind(tmp_path, "model.bin", b"x" * 1000, server.url("other/model.bin"), validator='"one"')
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_a_partial_file_that_is_complete_or_too_long_starts_again(server, tmp_path):
    left_behind(tmp_path, "model.bin", BODY + b"more", server.url("model.bin"), validator='"one"')
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_a_partial_file_that_another_process_makes_too_long_starts_again(server, tmp_path, monkeypatch):
    progress_bar, others = downloads._progress_bar, iter([b"more"])

    def meddle(*arguments):
        with (tmp_path / "model.bin.partial").open("ab") as file:
            file.write(next(others, b""))
        return progress_bar(*arguments)

    monkeypatch.setattr(downloads, "_progress_bar", meddle)
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_a_killed_process_leaves_what_the_next_one_continues(server, tmp_path):
    server.cuts = [200_000]
    server.stall.set()
    code = "import sys; from pathlib import Path; from detect.downloads import fetch; "
    code += "fetch(sys.argv[1], Path(sys.argv[2]))"
    command = [sys.executable, "-c", code, server.url("model.bin"), str(tmp_path)]
    partial = tmp_path / "model.bin.partial"
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not (partial.exists() and partial.stat().st_size > 100_000) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    server.stall.clear()
    size = partial.stat().st_size
    assert 100_000 < size <= 200_000
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={size}-"]


def test_what_has_the_wrong_sha256_is_not_kept(server, tmp_path):
    with pytest.raises(FetchError, match=f"its sha256 is {DIGEST}, expected was 01234567[.][.][.]"):
        fetch(server.url("model-01234567.pth"), tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.suffix in (".pth", ".partial")]
    with pytest.raises(FetchError, match="expected was " + "0" * 64):
        fetch(server.url("model.bin"), tmp_path, sha256="0" * 64)


def test_digests_are_read_from_torchvisions_names_but_dates_are_not(server, tmp_path):
    assert downloads._digest_in("resnet50-0676ba61.pth") == "0676ba61"
    assert downloads._digest_in("shufflenetv2_x1-5666bf0f80.pth") == "5666bf0f80"
    assert downloads._digest_in("vgg13-19584684.pth") == "19584684"
    assert downloads._digest_in("model-20240131.pth") == ""
    assert downloads._digest_in("balloon_dataset.zip") == ""


def test_processes_that_want_the_same_file_download_it_once(server, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(server.url("model.bin"), tmp_path), range(4)))
    assert {path.read_bytes() for path in paths} == {BODY}
    assert server.ranges == [None]


def test_who_waits_for_a_lock_and_who_comes_after_have_the_same(tmp_path):
    lock = tmp_path / "model.bin.lock"
    with downloads.one_at_a_time(tmp_path / "model.bin"):
        waited_for = lock.stat().st_ino
    assert lock.stat().st_ino == waited_for


def test_a_failure_says_what_where_why_and_what_to_do_in_one_line(server, tmp_path):
    url = server.url("missing.pth")
    with pytest.raises(FetchError) as caught:
        fetch(url, tmp_path, hint="`--model balloon` works offline")
    assert str(caught.value) == (
        f"cannot download missing.pth from {url}: the server answers 404 Not Found; without a network, "
        f"put the file there by hand: {tmp_path / 'missing.pth'}; `--model balloon` works offline"
    )
    assert not files(tmp_path)


def test_a_refused_connection_is_told_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(FetchError, match="Connection refused"):
        fetch(f"http://127.0.0.1:{port}/model.bin", tmp_path)


def test_a_server_that_never_answers_is_given_up_at_the_deadline(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(downloads, "READ_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(FetchError, match="no answer within"):
            fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/model.bin", tmp_path)
        assert time.monotonic() - start < 0.9


def test_a_name_server_that_never_answers_is_given_up_at_the_deadline(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.2)
    resolved = Event()

    def hang(*_: object, **__: object) -> list:
        resolved.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(FetchError, match="no answer within"):
            fetch("http://weights.invalid/model.bin", tmp_path)
    finally:
        resolved.set()


def test_a_name_that_does_not_resolve_is_told(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> list:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(FetchError, match="name cannot be resolved"):
        fetch("http://weights.invalid/model.bin", tmp_path)


def test_a_stream_that_falls_silent_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "READ_SECONDS", 0.3)
    server.cuts = [200_000]
    server.stall.set()
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges == [None, "bytes=200000-"]


def test_a_folder_that_cannot_be_made_is_told(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FetchError, match=f"{tmp_path / 'file'}"):
        fetch(server.url("model.bin"), tmp_path / "file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the full disk is Linux's /dev/full")
def test_a_full_disk_is_told(server, tmp_path):
    (tmp_path / "model.bin.partial").symlink_to("/dev/full")
    words = f"No space left on device; the folder {tmp_path} must have room and let you write"
    with pytest.raises(FetchError, match=words):
        fetch(server.url("model.bin"), tmp_path)
    assert server.ranges == [None]
    assert not files(tmp_path)


@pytest.mark.parametrize(
    "url", ["file:///etc/hosts", "ftp://host/a.bin", "model.bin", "http://host/", "http://[::1/a"]
)
def test_only_web_addresses_of_files_are_fetched(url, tmp_path):
    with pytest.raises(FetchError, match="cannot download"):
        fetch(url, tmp_path)


def test_a_name_and_a_password_are_refused_and_not_shown(tmp_path):
    for url in ("http://me:secret@host/a.bin", "http://me:sec/ret@host/a.bin", "http://secret@host/a.bin"):
        with pytest.raises(FetchError, match="without a user's name and password") as caught:
            fetch(url, tmp_path)
        assert "sec" not in str(caught.value) and "host" in str(caught.value)


def test_a_query_may_be_a_key_and_is_not_shown(server, tmp_path):
    with pytest.raises(FetchError) as caught:
        fetch(server.url("missing.bin?signature=secret"), tmp_path)
    assert "missing.bin?...: the server answers 404" in str(caught.value) and "secret" not in str(caught.value)


def test_a_query_may_be_a_key_and_is_not_left_beside_an_interrupted_download(server, tmp_path):
    server.cuts = [1000] * 4
    url = server.url("model.bin?signature=secret")
    with pytest.raises(FetchError, match="what came so far is kept"):
        fetch(url, tmp_path)
    assert not [path for path in tmp_path.iterdir() if b"secret" in path.read_bytes()]
    server.cuts = []
    assert fetch(url, tmp_path).read_bytes() == BODY and server.ranges[-1] == "bytes=4000-"


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("text/html; charset=utf-8", b"\n<p>Log in", "a web page came in place of the file"),
        ("application/octet-stream", b"\n<!DOCTYPE html><html>", "a web page came in place of the file"),
        ("text/plain", b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a pointer of Git LFS"),
    ],
)
def test_what_comes_in_place_of_the_file_is_told_and_not_kept(server, tmp_path, content_type, body, words):
    left_behind(tmp_path, "model.bin", BODY[:1000], server.url("model.bin"), validator='"one"')
    server.content_type, server.body, server.etag = content_type, body, '"page"'
    with pytest.raises(FetchError, match=words):
        fetch(server.url("model.bin"), tmp_path)
    server.content_type, server.body, server.etag = "application/octet-stream", BODY, '"one"'
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", "bytes=1000-"]  # what had come before is of use yet


def test_nothing_is_left_of_what_cannot_be_continued(server, tmp_path):
    server.etag, server.cuts = None, [1000] * 10
    with pytest.raises(FetchError, match="ended after 1000 of 512000 bytes; without a network"):
        fetch(server.url("model.bin"), tmp_path)
    assert not files(tmp_path)


def test_a_name_never_leads_out_of_the_folder(server, tmp_path):
    path = fetch(server.url("..%2F..%2Fmodel.bin"), tmp_path / "weights")
    assert path == tmp_path / "weights" / "model.bin"


@pytest.mark.parametrize(
    "variables",
    [{}, {"TORCH_HOME": "~/here"}, {"XDG_CACHE_HOME": "/caches"}, {"TORCH_HOME": "", "XDG_CACHE_HOME": ""}],
)
def test_the_default_folder_is_torch_hubs(monkeypatch, variables):
    torch_hub = pytest.importorskip("torch.hub")
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert checkpoints_folder() == Path(torch_hub.get_dir()) / "checkpoints"


def test_no_torch_is_needed():
    code = "import sys, detect.downloads; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
