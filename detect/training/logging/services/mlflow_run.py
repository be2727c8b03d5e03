"""MLflow (https://mlflow.org/docs), with the library ``mlflow``.

The library reads MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and other variables itself; by default it writes
mlflow.db and, for images, mlruns/ in the current folder.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

import numpy as np

from detect.training.logging.services.base import PROJECT, Experiment, Service, require

# A server that does not answer would otherwise stop the training for minutes.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}


def open_mlflow(experiment: Experiment) -> Service:
    """Start an MLflow run, or continue it."""
    return _MlflowRun(experiment)


class _MlflowRun:
    def __init__(self, experiment: Experiment) -> None:
        require("mlflow")
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
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

    def log_values(self, epoch: int, values: Mapping[str, float]) -> None:
        now = round(time.time() * 1000)
        metrics = [self._metric(name, value, now, epoch) for name, value in values.items()]
        self._client.log_batch(self.id, metrics=metrics)

    def log_images(self, epoch: int, images: Mapping[str, np.ndarray]) -> None:
        for title, image in images.items():
            key = re.sub(r"[^\w. -]", "_", title, flags=re.ASCII)  # all that it accepts
            self._client.log_image(self.id, image, key=key, step=epoch)

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self.id, "FINISHED" if finished else "KILLED")
