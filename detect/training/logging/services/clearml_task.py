"""ClearML (https://clear.ml/docs), with the library ``clearml``.

The library reads clearml.conf, CLEARML_API_HOST, CLEARML_OFFLINE_MODE=1 and other variables itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from detect.training.logging.services.base import PROJECT, Experiment, TrackerRun, require

_ANSWER_TIMEOUT = 10  # seconds


def open_clearml(experiment: Experiment) -> TrackerRun:
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
    """Raise ConnectionError if the server does not answer at all; the library itself would try for hours.

    The connection follows the settings of the library, such as ``api.verify_certificate``.
    """
    from clearml.backend_api import Session
    from clearml.backend_api.utils import get_http_session_with_retry

    host = Session.get_api_server_host()
    with get_http_session_with_retry() as session:
        try:
            session.get(f"{host}/debug.ping", timeout=_ANSWER_TIMEOUT).close()
        except OSError as error:  # as are all errors of requests
            cause = getattr(error.args[0] if error.args else error, "reason", error)  # without the connection pool
            raise ConnectionError(f"no connection to {host}: {cause}") from None
