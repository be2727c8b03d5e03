"""results.csv has the numbers of metrics.jsonl, one line per epoch."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from detect.errors import DiskError
from detect.training.logging.results_csv import write_results


def row(epoch: int, **changed: Any) -> dict[str, Any]:
    losses = {"loss_classifier": 0.1 / 3, "loss_mask": 0.5, "loss": 0.1 / 3 + 0.5}
    bbox = {"AP": 1 / 7, "AP50": 0.4, "APs": None}
    val = {"bbox": bbox, "segm": {"AP": 0.25}, "classes": {"kite": {"bbox": bbox}}, "evaluator": {"name": "x"}}
    usual = {"epoch": epoch, "lr": 1e-05, "seconds": 5.2, "memory_bytes": None, "losses": losses, "val_losses": losses}
    return usual | {"val": val} | changed


def table(rows: list[dict[str, Any]], path: Path) -> list[dict[str, str]]:
    write_results(rows, path)
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_numbers_are_those_of_the_log_to_the_last_digit(tmp_path):
    (line,) = table([row(1)], tmp_path / "results.csv")
    assert {name: float(value) for name, value in line.items() if value} == {
        "epoch": 1, "lr": 1e-05, "seconds": 5.2,
        "train_loss": 0.1 / 3 + 0.5, "train_loss_classifier": 0.1 / 3, "train_loss_mask": 0.5,
        "val_loss": 0.1 / 3 + 0.5, "val_loss_classifier": 0.1 / 3, "val_loss_mask": 0.5,
        "bbox_AP": 1 / 7, "bbox_AP50": 0.4, "segm_AP": 0.25,
    }  # fmt: skip
    assert line["bbox_APs"] == line["memory_bytes"] == ""  # no ground truth of that size, no figure of the system
    assert list(line)[:4] == ["epoch", "seconds", "lr", "memory_bytes"]
    losses = [name for name in line if "loss" in name]
    assert losses[0] == "train_loss" and losses.index("val_loss") == len(losses) // 2


@pytest.mark.parametrize(("older", "column"), [({"val_losses": None}, "val_loss"), ({"val": {}}, "bbox_AP")])
def test_columns_that_only_later_epochs_have_are_empty_before(tmp_path, older, column):
    first, second = table([row(1, **older), row(2)], tmp_path / "results.csv")
    assert first[column] == "" and float(second[column]) > 0 and list(first)[:2] == ["epoch", "seconds"]
    assert list(first) == list(table([row(1)], tmp_path / "one.csv")[0])


def test_pandas_reads_numbers(tmp_path):
    pandas = pytest.importorskip("pandas")
    write_results([row(1), row(2, losses={"loss": float("nan")})], tmp_path / "results.csv")
    frame = pandas.read_csv(tmp_path / "results.csv")
    assert frame["epoch"].tolist() == [1, 2] and frame["bbox_AP"].tolist() == [1 / 7, 1 / 7]
    assert frame["train_loss"].isna().tolist() == [False, True]
    assert all(dtype.kind in "if" for dtype in frame.dtypes)


def test_a_run_without_epochs_has_an_empty_table(tmp_path):
    assert table([], tmp_path / "results.csv") == []


def test_the_former_table_remains_if_the_disk_is_full(tmp_path, monkeypatch):
    table([row(1)], path := tmp_path / "results.csv")
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(DiskError, match=r"results\.csv"):
            write_results([row(1), row(2)], path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["results.csv"]
