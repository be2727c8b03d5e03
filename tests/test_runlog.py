"""metrics.jsonl: what was written is read, and a run that goes on drops what it writes anew."""

from __future__ import annotations

import pytest

from detect.runlog import MetricsLog


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
    log.keep_until(0)
    assert not log.path.exists()
    for row in rows(1, 2, 3):
        log.write(row)
    with log.path.open("a") as file:
        file.write('{"epoch": 4')
    log.keep_until(2)
    assert log.rows() == rows(1, 2)
    log.write(rows(3)[0])
    assert log.rows() == rows(1, 2, 3)
