"""Program that runs train.py with a fault in the middle of its second epoch: FAULT, then the arguments of train.py.

disk: the first process cannot write its state.  image: an image of the second process disappears.
loader: a loader process of the second process is killed.  process: the second process is killed.
bug: the second process raises an error that nothing expects.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys

from detect.data.dataset import DetectionDataset
from detect.errors import DiskError
from detect.models import checkpoint
from detect.training import callbacks
from detect.training.step import TrainStep

fault, *arguments = sys.argv[1:]
is_second = os.environ.get("RANK") == "1"
callbacks.SAVE_SECONDS = 0.0
saved, item, step = checkpoint.save_training_state, DetectionDataset.item, TrainStep.__call__


def save_training_state(state: dict, path: object) -> None:
    if fault == "disk" and state.get("epoch_progress") and state["epoch"] == 1:
        raise DiskError(f"cannot write {path}: No space left on device")
    saved(state, path)


def read(self: DetectionDataset, index: int, epoch: int, repetition: int = 0) -> tuple:
    if epoch == 1 and is_second and fault == "loader":
        os.kill(os.getpid(), signal.SIGKILL)
    if epoch == 1 and is_second and fault == "image":
        self.records[index].path.unlink(missing_ok=True)
    return item(self, index, epoch, repetition)


def take_step(self: TrainStep, *given: object) -> object:
    if is_second and fault == "process" and self.num_steps == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    if is_second and fault == "bug" and self.num_steps == 5:
        raise RuntimeError("a bug")
    return step(self, *given)


checkpoint.save_training_state, DetectionDataset.item = save_training_state, read
TrainStep.__call__ = take_step
sys.argv[:] = ["train.py", *arguments]
runpy.run_path("train.py", run_name="__main__")
