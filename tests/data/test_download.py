"""Download of datasets: unpacking is safe, and a dataset appears only when it is complete and verified."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.folders import ROOT

from detect.data.download import fetch_archive, verify_files
from detect.errors import DataError, FetchError
from detect.io import archives

REPOSITORY = ROOT
SHARED_BALLOON = REPOSITORY.parent / "shared" / "data" / "balloon"
IMAGES = {"train/a.jpg": b"a" * 10, "train/b.PNG": b"b" * 20, "val/c.jpg": b"c" * 30}


def via(folder: str) -> bytes:
    names = [Path(name) for name in IMAGES if name.startswith(folder)]
    entries = {
        f"{name.name}{len(IMAGES[str(name)])}": {"filename": name.name, "size": len(IMAGES[str(name)])}
        for name in names
    }
    return json.dumps(entries).encode()


FILES = IMAGES | {"train/via.json": via("train"), "val/via.json": via("val")}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, dict[str, Any]]]:
    """An empty folder that a local server serves, and the ``download`` section of a set.zip in it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        download = {
            "url": f"http://127.0.0.1:{server.server_port}/set.zip",
            "sha256": {n: hashlib.sha256(FILES[n]).hexdigest() for n in ("train/via.json", "val/via.json")},
            "images": {"train": 2, "val": 1},
            "via_sizes": ["train/via.json", "val/via.json"],
        }
        yield folder, download
        server.shutdown()
        thread.join()


def write_zip(folder: Path, files: dict[str, bytes], top: str = "balloon/") -> None:
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(top + name, content)


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def read_files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("top", ["balloon/", ""])
def test_unpacked_dataset_has_no_wrapping_folder_and_no_macos_files(served, tmp_path, capsys, top):
    folder, download = served
    with_litter = FILES | {"__MACOSX/train/._a.jpg": b"litter", "train/.DS_Store": b"litter"}
    write_zip(folder, with_litter, top)
    root = tmp_path / "datasets" / "fake"
    fetch_archive(download, root)
    assert read_files(root) == FILES
    assert sorted(p.name for p in root.parent.iterdir()) == ["fake", "set.zip", "set.zip.lock"]
    assert hashlib.sha256((folder / "set.zip").read_bytes()).hexdigest() in capsys.readouterr().err


def test_archive_put_there_by_hand_is_used_without_a_request(served, tmp_path):
    folder, download = served
    write_zip(folder, FILES)
    (tmp_path / "datasets").mkdir()
    (folder / "set.zip").rename(tmp_path / "datasets" / "set.zip")
    fetch_archive(download, tmp_path / "datasets" / "fake")
    assert read_files(tmp_path / "datasets" / "fake") == FILES


def test_failed_download_names_where_to_put_archive_or_files(served, tmp_path):
    _, download = served
    root = tmp_path / "datasets" / "fake"
    with pytest.raises(FetchError, match=f"{root.parent / 'set.zip'}; or put the unpacked dataset there: {root}"):
        fetch_archive(download, root)


def test_existing_files_are_verified_and_never_overwritten(served, tmp_path):
    _, download = served
    root = write_files(tmp_path / "fake", FILES)
    fetch_archive(download, root)
    (root / "val" / "c.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"val/c\.jpg has 4 bytes, expected 30"):
        fetch_archive(download, root)
    assert (root / "val" / "c.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../outside.txt", "leads out"),
        ("train/../../../outside.txt", "leads out"),
        ("..\\..\\outside.txt", "leads out"),
        ("/tmp/outside.txt", "absolute"),
        ("C:\\outside.txt", "absolute"),
    ],
)
def test_path_that_leaves_the_folder_is_refused(served, tmp_path, name, reason):
    folder, download = served
    write_zip(folder, FILES | {name: b"evil"}, top="")
    root = tmp_path / "datasets" / "fake"
    with pytest.raises(DataError, match=f"not safe to unpack: .*{reason}"):
        fetch_archive(download, root)
    assert sorted(p.name for p in root.parent.iterdir()) == ["set.zip", "set.zip.lock"]
    assert not list(tmp_path.rglob("outside.txt"))


def test_link_in_an_archive_is_refused(served, tmp_path):
    folder, download = served
    write_zip(folder, FILES)
    link = zipfile.ZipInfo("balloon/train/d.jpg")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(folder / "set.zip", "a") as target:
        target.writestr(link, "/etc/hosts")
    with pytest.raises(DataError, match=r"'balloon/train/d\.jpg' is a link"):
        fetch_archive(download, tmp_path / "datasets" / "fake")


def test_zip_bomb_is_refused_before_it_is_unpacked(served, tmp_path, monkeypatch):
    folder, download = served
    write_zip(folder, FILES | {"train/huge.bin": b"\0" * 100_000})
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 50_000)
    with pytest.raises(DataError, match=r"would unpack to \d+ bytes, the limit is 50000"):
        fetch_archive(download, tmp_path / "datasets" / "fake")


def test_file_that_is_not_an_archive_is_an_error(served, tmp_path):
    folder, download = served
    (folder / "set.zip").write_bytes(b"<html>please log in</html>")
    with pytest.raises(FetchError, match=r"a web page instead of the file"):
        fetch_archive(download, tmp_path / "datasets" / "fake")
    (folder / "set.zip").write_bytes(b"neither a page nor an archive")
    with pytest.raises(DataError, match=r"not a zip file.*delete it"):
        fetch_archive(download, tmp_path / "datasets" / "fake")


def test_damaged_archive_is_an_error(served, tmp_path):
    folder, download = served
    write_zip(folder, FILES)
    content = (folder / "set.zip").read_bytes()
    start = content.index(b"train/via.json") + len("train/via.json")
    (folder / "set.zip").write_bytes(content[:start] + b"\xff" * 8 + content[start + 8 :])
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch_archive(download, tmp_path / "datasets" / "fake")


WRONG = {
    "digest": ({"val/via.json": b"{}"}, r"val/via\.json has the sha256 44136fa.*, expected"),
    "count": ({"train/extra.jpg": b"x"}, "train has 3 images, expected 2"),
    "size": ({"train/a.jpg": b"a" * 11}, r"train/a\.jpg has 11 bytes, expected 10"),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_archive_of_another_dataset_is_refused(served, tmp_path, change, words):
    folder, download = served
    write_zip(folder, FILES | change)
    root = tmp_path / "datasets" / "fake"
    with pytest.raises(DataError, match=f"set.zip is damaged or another dataset: {words}.*delete it"):
        fetch_archive(download, root)
    assert sorted(p.name for p in root.parent.iterdir()) == ["set.zip", "set.zip.lock"]


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_files_in_another_folder_are_verified_too(served, tmp_path, change, words):
    _, download = served
    root = write_files(tmp_path / "mine", FILES | change)
    before = read_files(root)
    with pytest.raises(DataError, match=f"{root} does not hold the dataset of .*{words}"):
        verify_files(download, root)
    assert read_files(root) == before


def test_error_names_the_subfolder_with_the_dataset(served, tmp_path):
    _, download = served
    write_files(tmp_path / "fake", FILES)
    with pytest.raises(DataError, match=f"does not hold .*; it may be in {tmp_path / 'fake'}$"):
        verify_files(download, tmp_path)


def test_error_lists_the_first_five_problems_in_one_line(served, tmp_path):
    _, download = served
    noted = {str(i): {"filename": f"{i}.jpg", "size": 1} for i in range(8)}
    write_files(tmp_path, {"train/via.json": json.dumps(noted).encode()})
    download = {"url": download["url"], "via_sizes": ["train/via.json"]}
    with pytest.raises(DataError) as caught:
        verify_files(download, tmp_path)
    assert "train/4.jpg is missing and 3 more" in str(caught.value)
    assert "5.jpg" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_annotations_are_a_problem(served, tmp_path):
    _, download = served
    write_files(tmp_path, {"train/via.json": b"[1"})
    with pytest.raises(DataError, match=r"via\.json cannot be read as VIA annotations"):
        verify_files({"url": download["url"], "via_sizes": ["train/via.json"]}, tmp_path)


@pytest.fixture(scope="module")
def balloon() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "datasets" / "balloon.yaml").read_text())


def test_splits_of_balloon_share_no_image(balloon):
    splits = balloon["splits"]
    assert set(splits) == {"train", "val", "test"}
    assert splits["train"]["without"] == splits["val"]["files"]
    assert len(set(splits["val"]["files"])) == 13
    assert splits["train"]["images"] == splits["val"]["images"] == "train"
    assert splits["test"] == {"images": "val", "annotations": "val/via_region_data.json"}


@pytest.mark.skipif(not SHARED_BALLOON.is_dir(), reason="the balloon dataset is not at ../shared/data/balloon")
def test_val_split_of_balloon_is_drawn_as_its_description_says(balloon):
    names = sorted(path.name for path in (SHARED_BALLOON / "train").glob("*.jpg"))
    drawn = np.random.RandomState(1997).permutation(61)[:13]
    assert sorted(balloon["splits"]["val"]["files"]) == sorted(names[i] for i in drawn)


@pytest.mark.skipif(not SHARED_BALLOON.is_dir(), reason="the balloon dataset is not at ../shared/data/balloon")
def test_balloon_files_match_their_description(balloon):
    verify_files(balloon["download"], SHARED_BALLOON)
