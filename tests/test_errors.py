"""Errors: what the user can mend is one clear line and status 2; our own bugs show themselves."""

from __future__ import annotations

import pytest
from torch.utils.data import DataLoader, Dataset

from detect import errors
from detect.errors import DataError, DetectError, UsageError, exit_status, first_few, unknown, warn


def raises(error: BaseException):
    def main() -> None:
        raise error

    return main


class Broken(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        raise DataError(f"a.json: annotation 7 of image {index}: its box has no area")


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("resnet5", "did you mean resnet50"),
        ("RESNET50", "did you mean resnet50"),
        ("zebra", "known are resnet50, vov"),
    ],
)
def test_an_unknown_name_brings_its_neighbours(typed, near):
    said = unknown("backbone", typed, ["resnet50", "vovnet19"])
    assert said.startswith(f"unknown backbone '{typed}': ") and near in said
    assert "known are resnet50, vovnet19" in said


def test_a_name_without_neighbours_gets_no_guess():
    assert "did you mean" not in unknown("backbone", "zebra", ["resnet50"])


def test_long_lists_are_cut():
    assert "c29, ..." in unknown("class", "zebra", [f"c{i}" for i in range(80)])
    assert first_few(range(12)) == "0, 1, 2, 3, 4 and 7 more"
    assert first_few(["a", "b"]) == "a, b"


def test_done_is_0_and_says_nothing(capsys):
    assert exit_status(lambda: None) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "kind", [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, DetectError)]
)
def test_the_users_mistake_is_2_and_one_line(kind, capsys):
    assert exit_status(raises(kind("no such file: a.jpg"))) == 2
    assert capsys.readouterr() == ("", "error: no such file: a.jpg\n")


def test_a_stop_is_130(capsys):
    assert exit_status(raises(KeyboardInterrupt("stopped after 3 epochs"))) == 130
    assert exit_status(raises(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "stopped after 3 epochs\nstopped\n"


def test_our_bug_goes_on_its_way():
    with pytest.raises(ZeroDivisionError):
        exit_status(raises(ZeroDivisionError()))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_loader_process_reads_as_it_was_written(workers, capsys):
    assert exit_status(lambda: list(DataLoader(Broken(), batch_size=1, num_workers=workers))) == 2
    assert capsys.readouterr().err == "error: a.json: annotation 7 of image 0: its box has no area\n"


def test_a_message_of_several_lines_stays_whole(capsys):
    exit_status(raises(UsageError("2 of 3 pictures:\na.jpg\nb.jpg")))
    assert capsys.readouterr().err == "error: 2 of 3 pictures:\na.jpg\nb.jpg\n"


def test_a_warning_goes_to_stderr(capsys):
    warn("3 objects are left out")
    assert capsys.readouterr() == ("", "warning: 3 objects are left out\n")
