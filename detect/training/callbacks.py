"""Work after every step: the progress line, TensorBoard, saving the state, failed steps, requests to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from detect import distributed
from detect.errors import DiskError, TrainingError
from detect.progress import warn
from detect.text import counted, first_few
from detect.training import debug_step
from detect.training.logging.progress import EtaEstimator, peak_memory_bytes, step_line
from detect.training.logging.tensorboard import TensorBoardLogger
from detect.training.loop import EpochProgress, OnStep
from detect.training.run import TrainingRun
from detect.training.signals import DeferredInterrupt
from detect.training.step import Batch, StepResult

SAVE_SECONDS = 600.0  # at most this much work is lost when the process is killed
MAX_FAILED_STEP_FILES = 3  # per process since its start; each holds the whole model


@dataclass
class StepCallback:
    """Reports, logs and saves after the steps of a run.

    run: the run whose state is saved.
    image_names: image id -> file name, for messages.
    max_skipped_steps: number of failed steps per epoch above which training stops.
    eta: estimator of the remaining time.
    tensorboard: logger in the first process; None in the others.
    saved_at: time of the monotonic clock at which the state was last saved.
    failed_step_files: files of failed steps that this process has written.
    """

    run: TrainingRun
    image_names: Mapping[int, str]
    max_skipped_steps: int
    eta: EtaEstimator
    tensorboard: TensorBoardLogger | None
    saved_at: float = field(default_factory=time.monotonic)
    failed_step_files: list[Path] = field(default_factory=list)

    def for_epoch(self, bar: tqdm, interrupt: DeferredInterrupt) -> OnStep:
        """Return the function to call after each step of the epoch that starts or continues now.

        The function raises TrainingError after too many failed steps, KeyboardInterrupt after a request to stop (the
        state is saved first), and DiskError.
        """
        resumed = self.run.epoch_progress or EpochProgress()
        self.eta.start_epoch(self.run.epoch, resumed.steps + resumed.skipped)

        def after_step(result: StepResult, batches: list[Batch], progress: EpochProgress) -> None:
            self.eta.step_done()
            if result.failed:
                self._handle_failure(result, batches, progress)
            else:
                self._report(bar, result, progress)
            overdue = time.monotonic() - self.saved_at >= SAVE_SECONDS
            requested, due = distributed.all_max(interrupt.requested, int(overdue))
            if requested or due:
                self._save(progress)
            if requested:
                interrupt.raise_now(requested)

        return after_step

    def epoch_trained(self, progress: EpochProgress) -> None:
        """Save the state between the last step of an epoch and its validation, if the epoch took a while."""
        if distributed.any_process(time.monotonic() - self.saved_at >= SAVE_SECONDS / 10):
            self._save(progress)

    @contextmanager
    def validation(self, progress: EpochProgress) -> Iterator[None]:
        """Measure the duration of the validation of an epoch, which runs inside the ``with`` block.

        When a run with one process is interrupted in the block, the state after the last step of the epoch is saved.
        """
        try:
            with self.eta.validation():
                yield
        except KeyboardInterrupt:
            if distributed.world().size == 1:  # several processes may be interrupted at different points
                self._save(progress)
            raise

    def _save(self, progress: EpochProgress) -> None:
        self.run.save_progress(progress.averaged_over_processes())
        self.saved_at = time.monotonic()

    def _report(self, bar: tqdm, result: StepResult, progress: EpochProgress) -> None:
        train_step = self.run.train_step
        memory = peak_memory_bytes(str(train_step.device))
        bar.set_postfix_str(step_line(progress.means(), train_step.lr, self.eta.left(), memory), refresh=False)
        if self.tensorboard and result.taken:
            values = {**result.losses, "gradient_norm": result.gradient_norm}
            self.tensorboard.log_step(train_step.num_steps, values, train_step.lr)

    def _handle_failure(self, result: StepResult, batches: list[Batch], progress: EpochProgress) -> None:
        """Report a failed step from each process with a loss that is not finite, or else from the first process."""
        mine = not math.isfinite(result.losses["loss"])
        any_loss = distributed.any_process(mine)
        message = None
        if mine or (distributed.world().is_first and not any_loss):
            message = describe_failure(result, batches, self.image_names)
            if path := self._save_failed_step(result, batches, progress):
                message += f"; analyze it with `debug_step='{path}'`"
        text = f"epoch {self.run.epoch + 1}: " + "; ".join(filter(None, distributed.all_gather(message)))
        if progress.skipped > self.max_skipped_steps:
            files = self.failed_step_files
            hint = f"; analyze the first one with `debug_step='{files[0]}'`" if files else ""
            raise TrainingError(
                f"{text}; {counted(progress.skipped, 'step')} of this epoch failed, more than "
                f"`max_skipped_steps={self.max_skipped_steps}`: check the boxes of these images, or lower `lr`{hint}"
            )
        warn(f"{text}; the step was skipped")

    def _save_failed_step(self, result: StepResult, batches: list[Batch], progress: EpochProgress) -> Path | None:
        """Save the step and return its file; None if there are enough files or the disk is full."""
        if len(self.failed_step_files) >= MAX_FAILED_STEP_FILES:
            return None
        run, rank = self.run, distributed.world().rank
        path = debug_step.failed_step_path(run.folder, run.epoch + 1, progress.batches, rank)
        try:
            debug_step.save_failed_step(path, run, batches, result.seeds, self.image_names)
        except DiskError as error:  # training does not depend on this file
            warn(str(error))
            return None
        self.failed_step_files.append(path)
        return path


def describe_failure(result: StepResult, batches: list[Batch], image_names: Mapping[int, str]) -> str:
    """Return in words what was not finite in a failed step, and on which images."""
    pairs = list(zip(result.batch_losses, batches, strict=True))
    failed = [pair for pair in pairs if not math.isfinite(pair[0]["loss"])]
    what = "loss" if failed else "gradient"
    losses, (_, targets) = (failed or pairs)[0]
    values = ", ".join(f"{name} {value:.3g}" for name, value in losses.items() if name != "loss")
    images = first_few([image_names[int(target["image_id"])] for target in targets])
    return f"the {what} is not finite ({values}) on the batch of {images}"
