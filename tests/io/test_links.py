"""Weights given by URL: downloaded once, verified, and kept apart from those of other URLs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from helpers.folders import ROOT
from helpers.tiny_models import as_checkpoint, make_image, random_model
from helpers.web_server import BODY, Server

from detect.errors import CheckpointError, FetchError, UsageError
from detect.inference.load import load_model
from detect.io import downloads
from detect.io.links import fetch_link, is_link, publishable_link
from detect.media.images import write_image
from detect.models import checkpoint, pretrained

DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that is torch.hub's in these tests."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def files(folder: Path) -> list[Path]:
    """All that is there but for the empty files of locks."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


@pytest.mark.parametrize(
    "text",
    ["https://host/a.pth", "HTTP://host/a.pth", "http:/host/a.pth", "ftp://host/a.pth", "s3://bucket/a.pth"],
)
def test_url_is_recognized(text):
    assert is_link(text)


@pytest.mark.parametrize("text", ["balloon", "a.pth", "a/b.pth", "/a/b.pth", "C:/a.pth", "c:\\a.pth", "auto", ""])
def test_names_and_paths_are_not_urls(text):
    assert not is_link(text)


def test_url_is_downloaded_once_and_then_works_offline(server, cache):
    url = server.url("model.safetensors")
    path = fetch_link(url)
    assert path.name == "model.safetensors" and path.read_bytes() == BODY
    assert files(cache) == [path] and path.parent.parent == cache / "links"
    server.shutdown()
    assert fetch_link(url) == fetch_link(f"{url}#sha256={DIGEST}") == path
    assert len(server.ranges) == 1


def test_each_url_has_its_own_file(server, cache):
    contents = {}
    for i, name in enumerate(("a/model.pth", "b/model.pth", "a/model.pth?v=1", "a/model.pth?v=2")):
        server.body = bytes([i]) * 100
        contents[fetch_link(server.url(name))] = server.body
    assert len(contents) == 4 and all(path.read_bytes() == content for path, content in contents.items())
    assert {path.name for path in contents} == {"model.pth"}
    assert server.paths[-1] == "/files/a/model.pth?v=2"


def test_interrupted_download_continues_in_the_next_call(server):
    server.cuts = [1000] * 4
    url = server.url("model.pt")
    with pytest.raises(FetchError, match="the next try continues this download"):
        fetch_link(url)
    server.cuts = []
    assert fetch_link(url).read_bytes() == BODY
    assert server.ranges[-1] == "bytes=4000-"


@pytest.mark.parametrize("digest", [DIGEST, DIGEST[:8], DIGEST.upper()])
def test_correct_digest_is_accepted(server, digest):
    assert fetch_link(f"{server.url('model.pth')}#sha256={digest}").read_bytes() == BODY


def test_file_with_another_digest_is_not_kept(server, cache):
    with pytest.raises(FetchError, match=f"its sha256 is {DIGEST}, expected was 00000000[.][.][.]"):
        fetch_link(f"{server.url('model.pth')}#sha256=00000000")
    assert not files(cache)


def test_digits_in_a_file_name_are_not_a_digest(server):
    assert fetch_link(server.url("model-01234567.pth")).read_bytes() == BODY


def test_cached_file_is_replaced_only_by_one_with_the_right_digest(server, cache):
    url = server.url("model.pth")
    path = fetch_link(url)
    server.body, server.etag = b"newer", '"two"'
    with pytest.raises(FetchError, match=r"expected was 0{8}.*the expected digest is wrong"):
        fetch_link(f"{url}#sha256=00000000")
    assert path.read_bytes() == BODY and files(cache) == [path]
    newer = hashlib.sha256(b"newer").hexdigest()
    assert fetch_link(f"{url}#sha256={newer}") == path
    assert path.read_bytes() == b"newer" and files(cache) == [path]
    assert len(server.ranges) == 3


def test_concurrent_requests_replace_a_wrong_file_once(server, monkeypatch):
    """All of them see the old file before the first of them asks for the new one."""
    url = server.url("model.pth")
    path = fetch_link(url)
    server.body, server.etag = b"newer", '"two"'
    mismatch, barrier, local = downloads._mismatch, Barrier(3), threading.local()

    def look_together(*arguments):
        found = mismatch(*arguments)
        if not hasattr(local, "looked"):
            local.looked = True
            barrier.wait(10)
        return found

    monkeypatch.setattr(downloads, "_mismatch", look_together)
    link = f"{url}#sha256={hashlib.sha256(b'newer').hexdigest()}"
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(fetch_link, [link] * 3)) == [path] * 3
    assert path.read_bytes() == b"newer" and len(server.ranges) == 2


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("https://h/x.pth?token=secret", "https://h/x.pth?..."),
        ("https://h/x.pth?token=secret#sha256=0123ABCD", "https://h/x.pth?...#sha256=0123ABCD"),
        ("https://h/x.pth?...#sha256=0123abcd", "https://h/x.pth?...#sha256=0123abcd"),
        ("https://me:secret@h/x.pth#secret", "https://h/x.pth"),
        ("https://h/x.pth", "https://h/x.pth"),
        ("a/x?y.pth", "a/x?y.pth"),
        ("auto", "auto"),
    ],
)
def test_publishable_link_has_no_secrets(text, rest):
    assert publishable_link(text) == rest


@pytest.mark.parametrize(
    "fragment", ["sha256=0123456", f"sha256={'0' * 65}", "sha256=0123456g", "sha256=", "sha265=01234567", "readme"]
)
def test_malformed_digest_is_an_error_before_any_request(server, fragment):
    with pytest.raises(UsageError, match=f"#{fragment}: after # must follow sha256= and the digest"):
        fetch_link(f"{server.url('model.pth')}#{fragment}")
    assert not server.ranges


@pytest.mark.parametrize("name", ["model.zip", "model.pth.html", "model.pkl", "model", "get?file=model.pth"])
def test_file_of_another_type_is_refused_before_any_request(server, name):
    with pytest.raises(UsageError, match=r"must end in \.safetensors, \.pth, \.pt"):
        fetch_link(server.url(name))
    assert not server.ranges


@pytest.mark.parametrize(
    "url", ["ftp://host/a.pth", "file:///a.pth", "https:/host/a.pth", "https:///a.pth", "https://host:x/a.pth"]
)
def test_only_http_and_https_are_requested(url):
    with pytest.raises(FetchError, match=r"must be http\(s\)://HOST/\.\.\./FILE"):
        fetch_link(url)


@pytest.mark.parametrize("user", ["me:secret@", "secret@", "me:sec/ret@", "me:sec?ret@", "me:sec@ret@"])
def test_password_is_refused_and_never_shown(server, user):
    url = server.url("model.pth").replace("//", f"//{user}")
    with pytest.raises(FetchError, match="without user name and password") as caught:
        fetch_link(url)
    assert "sec" not in str(caught.value)
    assert not server.ranges


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("https://github.com/o/r/blob/main/a/x.pth", "https://github.com/o/r/raw/main/a/x.pth"),
        ("https://www.github.com/o/r/blob/main/x.pth", "https://www.github.com/o/r/raw/main/x.pth"),
        (
            "https://huggingface.co/o/r/blob/main/x.safetensors#sha256=01234567",
            "https://huggingface.co/o/r/resolve/main/x.safetensors#sha256=01234567",
        ),
    ],
)
def test_url_of_a_page_about_a_file_is_answered_with_the_files_url(page, file):
    with pytest.raises(UsageError) as caught:
        fetch_link(page)
    assert str(caught.value).endswith(f"is a web page about the file; the file itself is {file}")


def test_web_page_is_an_error_and_not_kept(server, cache):
    server.content_type, server.body = "text/html", b"<p>Log in"
    with pytest.raises(FetchError, match="a web page instead of the file"):
        fetch_link(server.url("model.safetensors"))
    assert not files(cache)


def test_spaces_and_umlauts_in_a_url_are_encoded(server):
    path = fetch_link(server.url("mein schönes.pth"))
    assert server.paths == ["/files/mein%20sch%C3%B6nes.pth"] and path.name == "mein schönes.pth"
    assert fetch_link(server.url("mein%20schönes.pth")) == path and len(server.paths) == 1


def test_without_a_network_the_error_names_the_path_for_the_file(server, cache):
    url = server.url("model.pth")
    server.shutdown()
    server.server_close()
    with pytest.raises(FetchError) as caught:
        fetch_link(url, hint="`--model balloon` works offline")
    said = str(caught.value)
    assert "refused" in said and said.endswith("model.pth; `--model balloon` works offline")
    assert str(cache / "links") in said and "\n" not in said


# --model


@pytest.mark.parametrize("model", ["weights.pth", "folder/last_state.pt", "https://host/resnet50.pth#sha256=01234567"])
def test_weights_without_description_are_refused_with_a_hint_to_pretrained(model):
    with pytest.raises(UsageError, match=r"holds bare weights.*`pretrained`") as caught:
        load_model(model, device="cpu")
    assert "\n" not in str(caught.value)


def test_downloaded_file_that_is_not_a_checkpoint_is_named(server, cache):
    url = server.url("model.safetensors")
    kept = f"{cache / 'links'}.*model.safetensors is not a checkpoint"
    with pytest.raises(
        CheckpointError, match=rf"{kept}.* It was downloaded from {url}; delete it to download it again"
    ):
        load_model(url, device="cpu")
    with pytest.raises(CheckpointError, match=f"It was downloaded from {url}"):
        pretrained.choose_weights("mobilenet_v2", url)


@pytest.mark.slow
def test_script_uses_a_downloaded_model_offline(cache, tmp_path):
    checkpoint.save(as_checkpoint(random_model()), tmp_path / "x.safetensors")
    write_image(tmp_path / "x.jpg", make_image((64, 80), 1))
    server = Server()
    server.body = (tmp_path / "x.safetensors").read_bytes()
    url = f"{server.url('x.safetensors')}#sha256={hashlib.sha256(server.body).hexdigest()[:12]}"

    def call(model: str) -> subprocess.CompletedProcess:
        flags = ["--input", tmp_path / "x.jpg", "--output-dir", tmp_path / "out", "--threshold", "0.9", "--quiet"]
        command = [sys.executable, "detect_image.py", "--model", model, *flags, "--device", "cpu"]
        return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)

    with server.running():
        online = call(url)
    offline = call(url)
    assert online.returncode == offline.returncode == 0, online.stderr + offline.stderr
    assert len(server.ranges) == 1 and not offline.stderr
    drawn = [path.read_bytes() for path in (tmp_path / "out").rglob("*.jpg")]
    assert len(drawn) == 2 and drawn[0] == drawn[1]
    assert [path.name for path in files(cache)] == ["x.safetensors"]
