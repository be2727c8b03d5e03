"""metrics.jsonl: what was written is read, and a run that goes on drops what it writes anew."""

from __future__ import annotations

import pytest

from detect.errors import DataError
from detect.training.logging.jsonl import MetricsLog


@pytest.fixture
def log(tmp_path) -> MetricsLog:
    return MetricsLog(tmp_path / "metrics.jsonl")


def rows(*epochs: int) -> list[dict]:
    return [{"epoch": epoch, "val": {"bbox": {"AP": None, "AP50": 0.1 + 0.2}}} for epoch in epochs]


def test_what_was_written_is_read_to_the_last_digit(log):
    assert log.rows() == []
    for row in rows(1, 2):
        log.write(row)
    assert log.rows() == rows(1, 2)


def test_a_line_that_broke_off_is_no_row(log):
    log.write(rows(1)[0])
    with log.path.open("a") as file:
        file.write('{"epoch": 2, "lo')
    assert log.rows() == rows(1)


def test_a_run_that_goes_on_keeps_its_epochs_alone(log):
    assert log.keep_until(0) == [] and not log.path.exists()
    for row in rows(1, 2, 3):
        log.write(row)
    with log.path.open("a") as file:
        file.write('{"epoch": 4')
    assert log.keep_until(2) == []
    assert log.rows() == rows(1, 2)
    log.write(rows(3)[0])
    assert log.rows() == rows(1, 2, 3)


def test_epochs_that_are_missing_are_told_and_a_line_of_none_is_named(log):
    for row in rows(2, 4):
        log.write(row)
    assert log.keep_until(5) == [1, 3, 5]
    for damaged in (b"{", b"[1]", b"{}", b'{"epoch": null}', b"\xff\xfe\x80", b'{"epoch": 1}'):
        log.path.write_bytes(b'{"epoch": 1}\n' + damaged + b'\n\n{"epoch": 3}\n')
        for use in (log.rows, lambda: log.keep_until(3)):
            with pytest.raises(DataError, match=r"metrics\.jsonl, line 2: .*(is not of an epoch|once more); delete"):
                use()
        assert damaged in log.path.read_bytes(), "nothing is lost"
    log.path.write_text('{"epoch": 1}\n\n{"epoch": 2}\n')
    assert [row["epoch"] for row in log.rows()] == [1, 2]
