"""The libraries of the experiment trackers themselves, without a server. ``make test-trackers`` installs them.

They keep much in the process, so each part of a run is a process of its own, as it is for a user.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
OFFLINE = {
    "wandb": {"WANDB_MODE": "offline"},
    "mlflow": {"MLFLOW_TRACKING_URI": "sqlite:///runs.db"},
    "clearml": {"CLEARML_OFFLINE_MODE": "1"},
}
NO_SERVER = "http://127.0.0.1:9"
AWAY = {
    "wandb": {"WANDB_BASE_URL": NO_SERVER, "WANDB_API_KEY": "0" * 40},
    "mlflow": {"MLFLOW_TRACKING_URI": NO_SERVER},
    "clearml": {
        **{f"CLEARML_{part}_HOST": NO_SERVER for part in ("API", "WEB", "FILES")},
        "CLEARML_API_ACCESS_KEY": "key",
        "CLEARML_API_SECRET_KEY": "secret",
    },
}
# Logs an epoch, with an image of a name that is not ASCII.
PART_OF_A_RUN = """
import sys
from pathlib import Path
import numpy as np
from detect.training.logging.tracking import tracker

def log(name, epoch):
    row = {"epoch": epoch, "lr": 0.01, "seconds": 3.0, "memory_bytes": None, "losses": {"loss": 1.5},
           "val_losses": None, "val": {"bbox": {"AP": epoch / 10, "APl": None}, "classes": {}}}
    with tracker(name, Path.cwd(), {"lr": 0.01, "freeze": None}, "x") as opened:
        if opened:
            opened.log_epoch(row, {"1 \\u00fcn\\u00ef \\u56fe.jpg": np.zeros((8, 8, 3), np.uint8)})
"""


def python(code: str, folder: Path, name: str, variables: dict[str, str]) -> subprocess.CompletedProcess:
    """Run code after PART_OF_A_RUN in ``folder``, if the library ``name`` is installed."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MLFLOW_", "CLEARML_"))}
    own |= {"PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1", "CLEARML_CACHE_DIR": str(folder / "cache")} | variables
    done = subprocess.run(
        [sys.executable, "-c", PART_OF_A_RUN + code],
        check=False,
        cwd=folder,
        env=own,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("name", sorted(OFFLINE))
def test_a_run_and_its_second_part_are_logged_to_one_experiment(tmp_path, name):
    experiments = []
    for epoch in (2, 3):
        done = python(f"log({name!r}, {epoch})", tmp_path, name, OFFLINE[name])
        assert "training goes on without it" not in done.stderr
        experiments.append(json.loads((tmp_path / "experiment.json").read_text()))
    assert experiments[0] == experiments[1] and experiments[0]["id"]
    images = [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpeg")]
    assert len(images) == (1 if name == "clearml" else 2)  # ClearML replaces older images of a title


@pytest.mark.parametrize("name", sorted(AWAY))
def test_a_server_that_is_away_is_one_warning(tmp_path, name):
    done = python(f"log({name!r}, 2)", tmp_path, name, AWAY[name])
    assert done.stderr.count("training goes on without it") == 1


def test_mlflow_has_all_epochs_and_the_end_and_leaves_the_environment_as_it_was(tmp_path):
    code = """
import os
before = dict(os.environ)
log("mlflow", 2)
assert dict(os.environ) == before
log("mlflow", 3)
import mlflow
(run,) = mlflow.search_runs(experiment_names=["detect"], output_format="list")
history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "bbox_AP")
assert [(metric.step, metric.value) for metric in history] == [(2, 0.2), (3, 0.3)], history
assert (run.info.status, run.data.params["lr"]) == ("FINISHED", "0.01"), run
"""
    python(code, tmp_path, "mlflow", OFFLINE["mlflow"])


def test_wandb_leaves_a_run_of_the_caller_open(tmp_path):
    code = """
import json
import wandb
with wandb.init() as own:
    log("wandb", 2)
    own.log({"value": 1.0})
    assert wandb.run is own and own.summary["value"] == 1.0
    assert json.loads(Path("experiment.json").read_text())["id"] != own.id
"""
    python(code, tmp_path, "wandb", OFFLINE["wandb"])
