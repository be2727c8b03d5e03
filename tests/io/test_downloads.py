"""Downloads are complete, continue after an interruption, time out, and report what to do."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.folders import ROOT
from helpers.web_server import BODY, files, only_file

from detect.errors import FetchError
from detect.io import downloads
from detect.io.downloads import checkpoints_folder, fetch

DIGEST = hashlib.sha256(BODY).hexdigest()
REPOSITORY = ROOT


def test_new_download_is_complete_and_leaves_no_other_file(server, tmp_path):
    folder = tmp_path / "new" / "folder"
    path = fetch(server.url("model.bin") + "?download=true", folder)
    assert path == folder / "model.bin" == only_file(folder)
    assert path.read_bytes() == BODY
    assert server.ranges == [None]


def test_response_without_a_length_is_downloaded(server, tmp_path):
    server.states_length = False
    assert fetch(server.url("model.bin"), tmp_path).read_bytes() == BODY


def test_existing_file_is_used_without_a_request(server, tmp_path):
    (tmp_path / f"model-{DIGEST[:8]}.pth").write_bytes(BODY)
    fetch(server.url(f"model-{DIGEST[:8]}.pth"), tmp_path)
    assert server.ranges == []


def test_damaged_existing_file_is_named_and_not_changed(server, tmp_path):
    kept = tmp_path / f"model-{DIGEST[:8]}.pth"
    kept.write_bytes(b"half a mod")
    with pytest.raises(FetchError, match=f"{kept} is damaged.*expected was {DIGEST[:8]}.*delete it"):
        fetch(server.url(kept.name), tmp_path)
    assert kept.read_bytes() == b"half a mod"
    assert server.ranges == []


def test_download_with_wrong_sha256_is_deleted(server, tmp_path):
    with pytest.raises(FetchError, match=f"its sha256 is {DIGEST}, expected was 01234567[.][.][.]"):
        fetch(server.url("model-01234567.pth"), tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.suffix in (".pth", ".partial")]
    with pytest.raises(FetchError, match="expected was " + "0" * 64):
        fetch(server.url("model.bin"), tmp_path, sha256="0" * 64)


def test_digest_is_read_from_torchvisions_file_names_and_a_date_is_not(server, tmp_path):
    assert downloads._digest_in("resnet50-0676ba61.pth") == "0676ba61"
    assert downloads._digest_in("shufflenetv2_x1-5666bf0f80.pth") == "5666bf0f80"
    assert downloads._digest_in("vgg13-19584684.pth") == "19584684"
    assert downloads._digest_in("model-20240131.pth") == ""
    assert downloads._digest_in("balloon_dataset.zip") == ""


def test_concurrent_requests_for_a_file_download_it_once(server, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(server.url("model.bin"), tmp_path), range(4)))
    assert {path.read_bytes() for path in paths} == {BODY}
    assert server.ranges == [None]


def test_lock_file_is_never_deleted(tmp_path):
    lock = tmp_path / "model.bin.lock"
    with downloads.download_lock(tmp_path / "model.bin"):
        waited_for = lock.stat().st_ino
    assert lock.stat().st_ino == waited_for


def test_failed_download_names_url_reason_and_where_to_put_the_file(server, tmp_path):
    url = server.url("missing.pth")
    with pytest.raises(FetchError) as caught:
        fetch(url, tmp_path, hint="`--model balloon` works offline")
    assert str(caught.value) == (
        f"cannot download missing.pth from {url}: the server responds with 404 Not Found; without a network, "
        f"put the file there by hand: {tmp_path / 'missing.pth'}; `--model balloon` works offline"
    )
    assert not files(tmp_path)


def test_folder_that_cannot_be_created_is_an_error(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FetchError, match=f"{tmp_path / 'file'}"):
        fetch(server.url("model.bin"), tmp_path / "file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the full disk is Linux's /dev/full")
def test_full_disk_is_an_error(server, tmp_path):
    (tmp_path / "model.bin.partial").symlink_to("/dev/full")
    text = f"No space left on device; the folder {tmp_path} must be writable and have free space"
    with pytest.raises(FetchError, match=text):
        fetch(server.url("model.bin"), tmp_path)
    assert server.ranges == [None]
    assert not files(tmp_path)


@pytest.mark.parametrize(
    "url", ["file:///etc/hosts", "ftp://host/a.bin", "model.bin", "http://host/", "http://[::1/a"]
)
def test_only_http_urls_of_files_are_downloaded(url, tmp_path):
    with pytest.raises(FetchError, match="cannot download"):
        fetch(url, tmp_path)


def test_user_name_and_password_in_a_url_are_refused_and_not_shown(tmp_path):
    for url in ("http://me:secret@host/a.bin", "http://me:sec/ret@host/a.bin", "http://secret@host/a.bin"):
        with pytest.raises(FetchError, match="without user name and password") as caught:
            fetch(url, tmp_path)
        assert "sec" not in str(caught.value) and "host" in str(caught.value)


def test_query_of_a_url_is_not_shown(server, tmp_path):
    with pytest.raises(FetchError) as caught:
        fetch(server.url("missing.bin?signature=secret"), tmp_path)
    assert "missing.bin?...: the server responds with 404" in str(caught.value) and "secret" not in str(caught.value)


def test_file_name_in_a_url_cannot_leave_the_folder(server, tmp_path):
    path = fetch(server.url("..%2F..%2Fmodel.bin"), tmp_path / "weights")
    assert path == tmp_path / "weights" / "model.bin"


@pytest.mark.parametrize(
    "variables",
    [{}, {"TORCH_HOME": "~/here"}, {"XDG_CACHE_HOME": "/caches"}, {"TORCH_HOME": "", "XDG_CACHE_HOME": ""}],
)
def test_default_folder_is_that_of_torch_hub(monkeypatch, variables):
    torch_hub = pytest.importorskip("torch.hub")
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert checkpoints_folder() == Path(torch_hub.get_dir()) / "checkpoints"


def test_downloads_do_not_import_torch():
    code = "import sys, detect.io.downloads; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
