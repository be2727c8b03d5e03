"""Experiment trackers get the figures and images of each epoch, and training goes on without one that fails."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace

import numpy as np
import pytest

from detect.training.config import TRACKERS
from detect.training.logging import tracking
from detect.training.logging.services import SERVICES
from detect.training.logging.services.mlflow_run import open_mlflow

ROW = {
    "epoch": 2, "lr": 0.01, "seconds": 3.0, "memory_bytes": None, "losses": {"loss": 1.5}, "val_losses": None,
    "val": {"bbox": {"AP": 0.25, "APl": None}, "classes": {}},
}  # fmt: skip
IMAGES = {"1 \u00fcn\u00ef.jpg": np.zeros((8, 8, 3), np.uint8)}


class FakeService:
    """A tracker that remembers its calls, and raises ``error`` in each if there is one."""

    id, where = "7", "https://tracker/7"

    def __init__(self, experiment: tracking.Experiment) -> None:
        self.experiment = experiment
        self.calls: list[tuple] = []
        self.error: Exception | None = None

    def _call(self, *call: object) -> None:
        self.calls.append(call)
        if self.error:
            raise self.error

    def log_values(self, epoch: int, values: Mapping[str, float]) -> None:
        self._call("values", epoch, dict(values))

    def log_images(self, epoch: int, images: Mapping[str, np.ndarray]) -> None:
        self._call("images", epoch, list(images))

    def close(self, *, finished: bool) -> None:
        self._call("close", finished)


@pytest.fixture
def opened(monkeypatch) -> list[FakeService]:
    """The experiments that the tracker "wandb" has opened."""
    services: list[FakeService] = []

    def open_fake(experiment: tracking.Experiment) -> FakeService:
        services.append(FakeService(experiment))
        return services[-1]

    monkeypatch.setitem(SERVICES, "wandb", open_fake)
    return services


def test_the_setting_names_every_tracker():
    assert set(TRACKERS) == {"none", *SERVICES}


def test_an_epoch_is_logged_by_the_names_of_results_csv(opened, tmp_path):
    with tracking.tracker("wandb", tmp_path, {"lr": 0.01}, "x") as tracker:
        tracker.log_epoch(ROW, IMAGES)
    (service,) = opened
    values = {"lr": 0.01, "seconds": 3.0, "train_loss": 1.5, "bbox_AP": 0.25}
    assert service.calls == [("values", 2, values), ("images", 2, list(IMAGES)), ("close", True)]
    assert (service.experiment.name, service.experiment.settings) == ("x", {"lr": 0.01})


def test_a_resumed_run_continues_its_experiment(opened, tmp_path, monkeypatch):
    monkeypatch.setitem(SERVICES, "mlflow", SERVICES["wandb"])
    for name in ("wandb", "wandb", "mlflow"):
        with tracking.tracker(name, tmp_path, {}, "x"):
            pass
    assert [service.experiment.id for service in opened] == [None, "7", None]  # the id of another tracker says nothing
    assert json.loads((tmp_path / "experiment.json").read_text()) == {"log": "mlflow", "id": "7"}


def test_an_interrupted_run_is_not_logged_as_finished(opened, tmp_path):
    with pytest.raises(KeyboardInterrupt), tracking.tracker("wandb", tmp_path, {}, "x"):
        raise KeyboardInterrupt
    assert opened[0].calls == [("close", False)]


def test_the_first_error_of_a_tracker_is_one_warning_and_the_last_call(opened, tmp_path, capsys):
    with tracking.tracker("wandb", tmp_path, {}, "x") as tracker:
        opened[0].error = ValueError("the server\nis away")
        tracker.log_epoch(ROW, IMAGES)
        tracker.log_epoch(ROW, IMAGES)
    assert [call[0] for call in opened[0].calls] == ["values"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "the server is away; training goes on without it" in line


def test_a_tracker_that_cannot_be_opened_is_one_warning(tmp_path, monkeypatch, capsys):
    def fail(_: object) -> None:
        raise ConnectionError("no answer")

    monkeypatch.setitem(SERVICES, "wandb", fail)
    with tracking.tracker("wandb", tmp_path, {}, "x") as tracker:
        assert tracker is None
    assert capsys.readouterr().err.count("no answer; training goes on without it") == 1


def test_a_run_ends_although_a_server_takes_forever(opened, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 0.05)
    released = threading.Event()
    with tracking.tracker("wandb", tmp_path, {}, "x"):
        monkeypatch.setattr(opened[0], "close", lambda **_: released.wait(10))
    released.set()
    assert "not everything was sent" in capsys.readouterr().err


@pytest.fixture
def library(tmp_path, monkeypatch) -> Iterator[Callable[..., None]]:
    """Install a module with this source code as the library of a tracker, or an empty folder without code."""

    def install(name: str, code: str = "") -> None:
        monkeypatch.syspath_prepend(str(tmp_path / "libraries"))
        (tmp_path / "libraries" / name).mkdir(parents=True)
        if code:
            (tmp_path / "libraries" / name / "__init__.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)

    yield install
    for name, module in [*sys.modules.items()]:
        if str(tmp_path) in str(getattr(module, "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_missing_library_is_one_warning_that_names_its_extra(tmp_path, capsys, library, name):
    if importlib.util.find_spec(name):
        pytest.skip("it is installed")
    for _ in range(2):
        with tracking.tracker(name, tmp_path, {}, "x") as tracker:
            assert tracker is None
        (line,) = capsys.readouterr().err.splitlines()
        assert f"the extra [{name}]" in line and f"pip install {name}; training goes on" in line
        if not (tmp_path / "libraries").exists():
            library(name)  # a folder of this name is not the library


WANDB = """
import sys
Image = None
def Settings(**_): pass
def init(**_): raise OSError(sys.stdin.isatty())
"""


def test_wandb_cannot_ask_for_a_key(tmp_path, monkeypatch, capsys, library):
    library("wandb", WANDB)
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    with tracking.tracker("wandb", tmp_path, {}, "x") as tracker:
        assert tracker is None and sys.stdin is terminal
    assert "False; training goes on without it" in capsys.readouterr().err


MLFLOW = """
import os
def get_tracking_uri(): return ""
class MlflowClient:
    keys, timeouts = [], []
    def update_run(self, *_, **__): self.timeouts.append(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    def log_image(self, run, image, key, step): self.keys.append(key)
"""


def test_mlflow_gets_titles_of_ascii_characters_and_keeps_no_variables(tmp_path, monkeypatch, library):
    """It refuses others."""
    library("mlflow", MLFLOW)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")  # stays as it is
    before = dict(os.environ)
    (tmp_path / "libraries" / "mlflow" / "entities.py").write_text("Metric = Param = None")
    service = open_mlflow(tracking.Experiment("x", tmp_path, {}, "7"))
    service.log_images(1, IMAGES)
    client = sys.modules["mlflow"].MlflowClient
    assert (client.keys, client.timeouts, dict(os.environ)) == (["1 _n_.jpg"], ["7"], before)
