"""MLflow (https://mlflow.org/docs), with the library ``mlflow``.

The library reads MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and other variables itself; by default it writes
mlflow.db and, for images, mlruns/ in the current folder.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from detect.training.logging.services.base import PROJECT, Experiment, TrackerRun, require

_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}


def open_mlflow(experiment: Experiment) -> TrackerRun:
    """Start an MLflow run, or continue it."""
    return _MlflowRun(experiment)


@contextmanager
def _little_patience() -> Iterator[None]:
    """Wait for less than a minute within the block: a server that does not answer would stop training for several.

    The library reads the environment in each call. Variables of the caller stay as they are.
    """
    added = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


class _MlflowRun:
    @_little_patience()
    def __init__(self, experiment: Experiment) -> None:
        require("mlflow")
        import mlflow
        from mlflow.entities import Metric, Param

        self._metric = Metric
        self._client = mlflow.MlflowClient()  # unlike mlflow.start_run, it leaves a run of the caller alone
        self.where = str(mlflow.get_tracking_uri())
        if experiment.id is None:
            params = [Param(name, str(value)) for name, value in experiment.settings.items()]
            self.id = self._client.create_run(self._experiment_id(), run_name=experiment.name).info.run_id
            self._client.log_batch(self.id, params=params)
        else:
            self.id = experiment.id
            self._client.update_run(self.id, status="RUNNING")

    def _experiment_id(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    @_little_patience()
    def log_values(self, epoch: int, values: Mapping[str, float]) -> None:
        now = round(time.time() * 1000)
        metrics = [self._metric(name, value, now, epoch) for name, value in values.items()]
        self._client.log_batch(self.id, metrics=metrics)

    @_little_patience()
    def log_images(self, epoch: int, images: Mapping[str, np.ndarray]) -> None:
        for title, image in images.items():
            key = re.sub(r"[^\w. -]", "_", title, flags=re.ASCII)  # all that it accepts
            self._client.log_image(self.id, image, key=key, step=epoch)

    @_little_patience()
    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self.id, "FINISHED" if finished else "KILLED")
