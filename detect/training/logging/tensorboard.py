"""TensorBoard's files of a run: losses, learning rate, AP and images, for ``tensorboard --logdir outputs/train``.

They are written by TensorBoard's own parts but not through torch's SummaryWriter, whose thread would print a traceback
where the disk is full, and which keeps images as PNG, at eight times the size.
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

EVERY = 20  # steps that have one point together
MOST_CLASSES = 30  # that have charts of their own
SCORES = ("AP", "AP50", "AP75", "AR100")
_JPEG_QUALITY = 80


class Board:
    """The folder ``tensorboard/`` of a run, and in it a folder for each of its lines.

    ``train`` and ``val`` have a point an epoch, and a loss of the same name in one chart; ``steps`` has one every
    20 steps of training. A disk that takes nothing costs the board, with a warning, and not the run.

    epoch, steps: how many epochs and steps the run has behind it; TensorBoard shows nothing past them that a former
        process wrote, which is trained anew.
    """

    def __init__(self, folder: Path, *, epoch: int = 0, steps: int = 0) -> None:
        after = {"train": epoch, "val": epoch, "steps": steps}
        self._lines = {name: _EventFile(folder / name, done + 1) for name, done in after.items()}
        self._sums: dict[str, float] = {}
        self._summed = 0
        self._is_open = True

    def step(self, step: int, figures: Mapping[str, float], rate: float) -> None:
        """One step of training, number ``step`` from 1 of the run: its losses and whatever else has a mean, and its
        learning rate."""
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._summed += 1
        if step % EVERY == 0:
            values = {f"steps/{name}": total / self._summed for name, total in self._sums.items()}
            self._write("steps", step, _scalars(values | {"steps/learning_rate": rate}))
            self._sums, self._summed = {}, 0

    def epoch(self, row: Mapping[str, Any]) -> None:
        """One epoch: its row of metrics.jsonl."""
        train = {"epoch/learning_rate": row["lr"], "epoch/seconds": row["seconds"]}
        if row.get("memory") is not None:
            train["epoch/memory_GB"] = row["memory"] / 1e9
        self._write("train", row["epoch"], _scalars(train | _losses(row["losses"])))
        self._write("val", row["epoch"], _scalars(_losses(row.get("val_losses") or {}) | _scores(row["val"])))

    def images(self, epoch: int, images: Mapping[str, np.ndarray]) -> None:
        """Images of an epoch by their titles, each uint8 RGB [H, W, 3]; equal titles share a slider of epochs."""
        values = []
        for title, picture in images.items():
            content = BytesIO()
            Image.fromarray(picture).save(content, "JPEG", quality=_JPEG_QUALITY)
            height, width = picture.shape[:2]
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content.getvalue())
            values.append(Summary.Value(tag=shown(f"images/{title}"), image=image))
        self._write("val", epoch, values)

    def _write(self, line: str, step: int, values: list[Summary.Value]) -> None:
        if self._is_open and values:
            try:
                self._lines[line].append(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
            except DiskError as error:
                warn(f"{error}; training goes on without TensorBoard")
                self._is_open = False


class _EventFile:
    """One process's events of a line; the file is made with the first of them.

    first: the step from which on TensorBoard passes over what the files of former processes hold.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self._folder, self._first = folder, first
        self._path: Path | None = None

    def append(self, event: Event) -> None:
        """Write ``event`` to the disk, all of it or nothing; DiskError where that fails."""
        content = BytesIO()
        records = RecordWriter(content)
        with disk_errors_naming(self._folder):
            if self._path is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                records.write(Event(wall_time=event.wall_time, file_version="brain.Event:2").SerializeToString())
                start = Event(wall_time=event.wall_time, step=self._first)
                start.session_log.status = SessionLog.START
                records.write(start.SerializeToString())
                # TensorBoard reads the files of a folder in the order of their names.
                self._path = self._folder / f"events.out.tfevents.{len(list(self._folder.iterdir())) + 1:06d}"
            records.write(event.SerializeToString())
            with self._path.open("ab", buffering=0) as file:
                append_all_or_nothing(file, content.getvalue())


def _losses(losses: Mapping[str, float]) -> dict[str, float]:
    return {f"loss/{name.removeprefix('loss_') if name != 'loss' else 'sum'}": v for name, v in losses.items()}


def _scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """What there is ground truth to score for."""
    kinds = [kind for kind in ("bbox", "segm") if kind in metrics]
    found = {f"{kind}/{name}": metrics[kind].get(name) for kind in kinds for name in SCORES}
    classes = metrics.get("classes", {})
    if 1 < len(classes) <= MOST_CLASSES:
        found |= {f"{kind}_AP_of/{name}": classes[name][kind].get("AP") for kind in kinds for name in classes}
    return {tag: value for tag, value in found.items() if value is not None}


def _scalars(values: Mapping[str, float]) -> list[Summary.Value]:
    return [Summary.Value(tag=shown(tag), simple_value=value) for tag, value in values.items()]
