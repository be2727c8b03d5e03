"""Downloads: they arrive whole, go on where they stopped, and give up in time with words that help."""

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
    with downloads.download_lock(tmp_path / "model.bin"):
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
    code = "import sys, detect.io.downloads; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
