"""Files of results appear whole, readable by others, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from detect.errors import UsageError
from detect.io.files import atomic_replacement, make_folder, new_folder, write_text


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path):
    (tmp_path / "plain").write_text("x")
    with atomic_replacement(tmp_path / "private.txt") as temporary:
        temporary.touch(mode=0o600)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "private.txt")}
    assert len(modes) == 1


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_a_disk_without_modes_takes_files_too(tmp_path, monkeypatch, number):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "chmod", fail)
    write_text(tmp_path / "x.txt", "new")
    assert (tmp_path / "x.txt").read_text() == "new"


def test_a_write_leaves_the_umask_of_the_process_alone(tmp_path, monkeypatch):
    """For as long as it were another, what other threads make would have the wrong mode."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail(f"set to {mask:o}"))
    write_text(tmp_path / "x.txt", "new")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_breaks_off_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "x.txt"
    write_text(path, "old")
    with pytest.raises(type(error)), atomic_replacement(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_folders_are_numbered_when_taken(tmp_path):
    assert [new_folder(tmp_path, "run").name for _ in range(3)] == ["run", "run_2", "run_3"]


@pytest.mark.parametrize("make", [make_folder, lambda parent: new_folder(parent, "run")])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, make):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to the folder"):
        make(tmp_path / "file" / "x")
