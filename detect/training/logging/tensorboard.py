"""TensorBoard event files of a run: losses, learning rate, AP and example images.

View them with ``tensorboard --logdir outputs/train``. The events are written with TensorBoard's own record format but
without torch's SummaryWriter: its thread prints a traceback on a full disk, and it stores images as PNG, which takes
eight times the space.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from detect.errors import DiskError
from detect.io.files import append_all_or_nothing, disk_errors_naming
from detect.media.image_paths import shown
from detect.progress import warn

STEPS_PER_POINT = 20  # steps whose mean becomes one point of a curve
MAX_CLASSES = 30  # with more classes there are no curves per class
METRICS = ("AP", "AP50", "AP75", "AR100")
_JPEG_QUALITY = 80


class TensorBoardLogger:
    """Writes the three TensorBoard runs ``train``, ``val`` (one point per epoch) and ``steps`` (one per 20 steps).

    Losses have the same tag in ``train`` and ``val`` and share one chart. On a full disk, logging stops with a warning
    and training continues.

    folder: parent of the three folders.
    epoch, steps: numbers of finished epochs and steps. TensorBoard hides later points that an earlier process wrote,
        since a resumed run writes them again.
    """

    def __init__(self, folder: Path, *, epoch: int = 0, steps: int = 0) -> None:
        finished = {"train": epoch, "val": epoch, "steps": steps}
        self._files = {name: _EventFile(folder / name, done + 1) for name, done in finished.items()}
        self._sums: dict[str, float] = {}
        self._count = 0
        self._is_open = True

    def log_step(self, step: int, values: Mapping[str, float], lr: float) -> None:
        """Log one step: its number in the run, from 1, its losses and other values to average, its learning rate."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if step % STEPS_PER_POINT == 0:
            means = {f"steps/{name}": total / self._count for name, total in self._sums.items()}
            self._write("steps", step, _scalars(means | {"steps/learning_rate": lr}))
            self._sums, self._count = {}, 0

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """Log one epoch, given its row of metrics.jsonl."""
        train = {"epoch/learning_rate": row["lr"], "epoch/seconds": row["seconds"]}
        if row.get("memory_bytes") is not None:
            train["epoch/memory_GB"] = row["memory_bytes"] / 1e9
        self._write("train", row["epoch"], _scalars(train | _losses(row["losses"])))
        self._write("val", row["epoch"], _scalars(_losses(row.get("val_losses") or {}) | _metrics(row["val"])))

    def log_images(self, epoch: int, images: Mapping[str, np.ndarray]) -> None:
        """Log images (title -> uint8 RGB [H, W, 3]); a title that recurs in later epochs gets a slider of epochs."""
        values = []
        for title, image in images.items():
            content = BytesIO()
            Image.fromarray(image).save(content, "JPEG", quality=_JPEG_QUALITY)
            height, width = image.shape[:2]
            summary = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content.getvalue())
            values.append(Summary.Value(tag=shown(f"images/{title}"), image=summary))
        self._write("val", epoch, values)

    def _write(self, run: str, step: int, values: list[Summary.Value]) -> None:
        if self._is_open and values:
            try:
                self._files[run].append(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
            except DiskError as error:
                warn(f"{error}; training continues without TensorBoard")
                self._is_open = False


class _EventFile:
    """Event file of one TensorBoard run, created with its first event.

    first_step: TensorBoard ignores points from this step on in the event files of earlier processes.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self._folder, self._first_step = folder, first_step
        self._path: Path | None = None

    def append(self, event: Event) -> None:
        """Write ``event`` completely or not at all. Raises DiskError."""
        content = BytesIO()
        records = RecordWriter(content)
        with disk_errors_naming(self._folder):
            if self._path is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                records.write(Event(wall_time=event.wall_time, file_version="brain.Event:2").SerializeToString())
                start = Event(wall_time=event.wall_time, step=self._first_step)
                start.session_log.status = SessionLog.START
                records.write(start.SerializeToString())
                # TensorBoard reads the files of a folder in alphabetical order.
                self._path = self._folder / f"events.out.tfevents.{len(list(self._folder.iterdir())) + 1:06d}"
            records.write(event.SerializeToString())
            with self._path.open("ab", buffering=0) as file:
                append_all_or_nothing(file, content.getvalue())


def _losses(losses: Mapping[str, float]) -> dict[str, float]:
    return {f"loss/{name.removeprefix('loss_') if name != 'loss' else 'sum'}": v for name, v in losses.items()}


def _metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return tag -> value for TensorBoard. Metrics without ground truth, which are None, are left out."""
    kinds = [kind for kind in ("bbox", "segm") if kind in metrics]
    values = {f"{kind}/{name}": metrics[kind].get(name) for kind in kinds for name in METRICS}
    classes = metrics.get("classes", {})
    if 1 < len(classes) <= MAX_CLASSES:
        values |= {f"{kind}_AP_of/{name}": classes[name][kind].get("AP") for kind in kinds for name in classes}
    return {tag: value for tag, value in values.items() if value is not None}


def _scalars(values: Mapping[str, float]) -> list[Summary.Value]:
    return [Summary.Value(tag=shown(tag), simple_value=value) for tag, value in values.items()]
