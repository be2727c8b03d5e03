"""ClearML (https://clear.ml/docs), with the library ``clearml``.

The library reads clearml.conf, CLEARML_API_HOST, CLEARML_OFFLINE_MODE=1 and other variables itself.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import numpy as np

from detect.training.logging.services.base import PROJECT, Experiment, Service, require

_ANSWER_TIMEOUT = 10  # seconds


def open_clearml(experiment: Experiment) -> Service:
    """Start a ClearML task, or continue it."""
    return _ClearmlTask(experiment)


class _ClearmlTask:
    def __init__(self, experiment: Experiment) -> None:
        require("clearml")
        from clearml import Task

        if not Task.is_offline():
            _require_answer()
        self._task: Any = Task.init(
            project_name=PROJECT,
            task_name=experiment.name,
            continue_last_task=experiment.id or False,
            reuse_last_task_id=False,
            auto_connect_arg_parser=False,
            auto_connect_frameworks=False,
            auto_connect_streams=False,
            auto_resource_monitoring=False,
        )
        self._task.set_initial_iteration(0)  # a continued task would otherwise count on from its last epoch
        self._task.connect(dict(experiment.settings))
        self.id = str(self._task.id)
        self.where = "" if Task.is_offline() else str(self._task.get_output_log_web_page())

    def log_values(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            title, _, series = name.partition("_")
            self._task.get_logger().report_scalar(title, series or title, value, epoch)

    def log_images(self, epoch: int, images: Mapping[str, np.ndarray]) -> None:
        for title, image in images.items():
            self._task.get_logger().report_image("images", title, epoch, image=image)

    def close(self, *, finished: bool) -> None:
        if not finished:
            self._task.mark_stopped()
        self._task.close()


def _require_answer() -> None:
    """Raise OSError if the server does not answer at all; the library itself would try for hours."""
    from clearml.backend_api import Session

    host = Session.get_api_server_host()
    try:
        urllib.request.urlopen(f"{host}/debug.ping", timeout=_ANSWER_TIMEOUT).close()
    except urllib.error.HTTPError:
        pass  # an answer
    except OSError as error:
        raise ConnectionError(f"{host} does not answer: {getattr(error, 'reason', error)}") from None
