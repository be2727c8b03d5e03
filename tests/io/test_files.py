"""Output files and folders: written completely or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from detect.errors import UsageError
from detect.io.files import atomic_replacement, filled_folder, make_folder, new_folder, write_text


def test_new_file_has_the_mode_that_the_umask_gives(tmp_path):
    (tmp_path / "plain").write_text("x")
    with atomic_replacement(tmp_path / "private.txt") as temporary:
        temporary.touch(mode=0o600)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "private.txt")}
    assert len(modes) == 1


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_disk_without_file_modes_can_be_written_to(tmp_path, monkeypatch, number):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "chmod", fail)
    write_text(tmp_path / "x.txt", "new")
    assert (tmp_path / "x.txt").read_text() == "new"


def test_write_does_not_change_the_umask_of_the_process(tmp_path, monkeypatch):
    """For as long as it were another, what other threads make would have the wrong mode."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail(f"set to {mask:o}"))
    write_text(tmp_path / "x.txt", "new")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_interrupted_write_leaves_the_former_file(tmp_path, error):
    path = tmp_path / "x.txt"
    write_text(path, "old")
    with pytest.raises(type(error)), atomic_replacement(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_folder_gets_a_number_when_its_name_is_taken(tmp_path):
    assert [new_folder(tmp_path, "run").name for _ in range(3)] == ["run", "run_2", "run_3"]


@pytest.mark.parametrize("make", [make_folder, lambda parent: new_folder(parent, "run")])
def test_folder_that_cannot_be_created_is_an_error(tmp_path, make):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to the folder"):
        make(tmp_path / "file" / "x")
    with pytest.raises(UsageError, match="file: it is a file, not a folder"):
        make_folder(tmp_path / "file")


def test_filled_folder_appears_complete_and_others_can_read_it(tmp_path):
    (tmp_path / "existing").mkdir()
    for name in ("new", "existing"):
        with filled_folder(tmp_path / name) as temporary:
            (temporary / "a.txt").write_text("x")
            assert not (tmp_path / name / "a.txt").exists()
        assert [path.name for path in (tmp_path / name).iterdir()] == ["a.txt"]
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o755


def test_filled_folder_is_unchanged_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), filled_folder(tmp_path / "new") as temporary:
        (temporary / "a.txt").write_text("x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
