"""metrics.jsonl: rows are read as they were written, and a resumed run drops the rows that it writes again."""

from __future__ import annotations

import pytest

from detect.errors import DataError
from detect.training.logging.jsonl import MetricsLog


@pytest.fixture
def log(tmp_path) -> MetricsLog:
    return MetricsLog(tmp_path / "metrics.jsonl")


def rows(*epochs: int) -> list[dict]:
    return [{"epoch": epoch, "val": {"bbox": {"AP": None, "AP50": 0.1 + 0.2}}} for epoch in epochs]


def test_rows_are_read_exactly_as_written(log):
    assert log.rows() == []
    for row in rows(1, 2):
        log.write(row)
    assert log.rows() == rows(1, 2)


def test_keys_of_earlier_versions_are_translated(log):
    log.path.write_text('{"epoch": 1, "memory": 7}\n')
    assert log.rows() == [{"epoch": 1, "memory_bytes": 7}]
    log.truncate_after(1)
    assert log.path.read_text() == '{"epoch": 1, "memory_bytes": 7}\n'


def test_an_incomplete_last_line_is_not_a_row(log):
    log.write(rows(1)[0])
    with log.path.open("a") as file:
        file.write('{"epoch": 2, "lo')
    assert log.rows() == rows(1)


def test_truncation_keeps_finished_epochs_only(log):
    assert log.truncate_after(0) == [] and not log.path.exists()
    for row in rows(1, 2, 3):
        log.write(row)
    with log.path.open("a") as file:
        file.write('{"epoch": 4')
    assert log.truncate_after(2) == []
    assert log.rows() == rows(1, 2)
    log.write(rows(3)[0])
    assert log.rows() == rows(1, 2, 3)


def test_truncation_returns_missing_epochs(log):
    for row in rows(2, 4):
        log.write(row)
    assert log.truncate_after(5) == [1, 3, 5]


@pytest.mark.parametrize("line", [b"{", b"[1]", b"{}", b'{"epoch": null}', b"\xff\xfe\x80", b'{"epoch": 1}'])
def test_an_invalid_or_second_row_is_an_error_with_its_line_and_stays_in_the_file(log, line):
    log.path.write_bytes(b'{"epoch": 1}\n' + line + b'\n\n{"epoch": 3}\n')
    for use in (log.rows, lambda: log.truncate_after(3)):
        with pytest.raises(DataError, match=r"metrics\.jsonl, line 2: .*; delete"):
            use()
    assert line in log.path.read_bytes()


def test_empty_lines_are_ignored(log):
    log.path.write_text('{"epoch": 1}\n\n{"epoch": 2}\n')
    assert [row["epoch"] for row in log.rows()] == [1, 2]
