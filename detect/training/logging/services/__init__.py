"""Experiment trackers that a run can be logged to, each through its own library: the setting ``log``.

How to add one: a file with a function that opens an experiment and returns a TrackerRun, and a line each in SERVICES,
requirements-trackers.txt and docs/training.md.
"""

from __future__ import annotations

from detect.training.logging.services.base import Experiment, TrackerRun
from detect.training.logging.services.clearml_task import open_clearml
from detect.training.logging.services.mlflow_run import open_mlflow
from detect.training.logging.services.wandb_run import open_wandb

__all__ = ["SERVICES", "Experiment", "TrackerRun"]

# Value of the setting ``log``, also the name of the library and of the extra -> function that opens an experiment.
SERVICES = {"wandb": open_wandb, "mlflow": open_mlflow, "clearml": open_clearml}
