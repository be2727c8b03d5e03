"""Logging of a run to an experiment tracker.

After the tracker's first error, one warning is printed and training continues without the tracker.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from detect.io.files import write_text
from detect.progress import report, warn
from detect.text import one_line
from detect.training.logging.results_csv import flat_row
from detect.training.logging.services import SERVICES, Experiment, TrackerRun
from detect.training.optional_files import optional_file
from detect.training.run import ID_FILE

NO_TRACKER = "none"
CLOSE_SECONDS = 60.0  # maximum time for sending the remaining data at the end of a run


class Tracker:
    """Logs a run to an open experiment, until the first error. Images have the same titles as in TensorBoard.

    name: one of SERVICES.
    """

    def __init__(self, name: str, run: TrackerRun) -> None:
        self._name, self._run = name, run
        self._is_open = True

    def log_epoch(self, row: Mapping[str, Any], images: Mapping[str, np.ndarray]) -> None:
        """Log an epoch, given its row of metrics.jsonl, and example images (title -> uint8 RGB [H, W, 3])."""
        values = {name: float(value) for name, value in flat_row(row).items() if value is not None and name != "epoch"}
        self._try(lambda: self._run.log_values(row["epoch"], values))
        self._try(lambda: self._run.log_images(row["epoch"], images))

    def close(self, *, finished: bool) -> None:
        """End the experiment. If the remaining data cannot be sent within a minute, a warning is printed."""
        call = threading.Thread(
            target=lambda: self._try(lambda: self._run.close(finished=finished)), daemon=True, name="close tracker"
        )
        call.start()
        call.join(CLOSE_SECONDS)
        if call.is_alive():
            warn(f"`log={self._name!r}`: not everything was sent within {CLOSE_SECONDS:g} s")

    def _try(self, call: Callable[[], None]) -> None:
        if not self._is_open:
            return
        try:
            call()
        except Exception as error:  # each library has many kinds, and training must go on
            self._is_open = False
            warn_of_failure(self._name, error)


def warn_of_failure(name: str, error: Exception) -> None:
    """Warn that a tracker cannot be used any more."""
    reason = one_line(" ".join(str(error).split()), 200) or type(error).__name__
    warn(f"`log={name!r}`: {reason}; training goes on without it")


@contextmanager
def tracker(name: str, folder: Path, settings: Mapping[str, Any], run_name: str) -> Iterator[Tracker | None]:
    """Yield a Tracker for the run in ``folder``, and close it after the block. None for "none" and after a failure.

    A resumed run continues the experiment of its first part.
    """
    opened = None if name == NO_TRACKER else _open(name, folder, settings, run_name)
    finished = False
    try:
        yield opened
        finished = True
    finally:
        if opened:
            opened.close(finished=finished)


def _open(name: str, folder: Path, settings: Mapping[str, Any], run_name: str) -> Tracker | None:
    try:
        run = SERVICES[name](Experiment(run_name, folder, settings, _saved_id(folder, name)))
    except Exception as error:  # no library, the server is away, there is no key, ...
        warn_of_failure(name, error)
        return None
    with optional_file(folder / ID_FILE):
        write_text(folder / ID_FILE, json.dumps({"log": name, "id": run.id}) + "\n")
    report(f"log: {name}{f', {run.where}' if run.where else ''}")
    return Tracker(name, run)


def _saved_id(folder: Path, name: str) -> str | None:
    """Return the id of the experiment of a resumed run; None for a new run and for one that was logged elsewhere."""
    try:
        saved = json.loads((folder / ID_FILE).read_text(encoding="utf-8"))
        return str(saved["id"]) if saved["log"] == name else None
    except (OSError, ValueError, LookupError, TypeError):
        return None
