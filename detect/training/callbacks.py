"""What happens after every step: the line that tells of it, a state now and then, a failure, a wish to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from detect import distributed
from detect.errors import DiskError, TrainingError
from detect.progress import warn
from detect.text import first_few
from detect.training import debug_step
from detect.training.logging.progress import Pace, memory_bytes, step_line
from detect.training.logging.tensorboard import Board
from detect.training.loop import Progress
from detect.training.run import TrainingRun
from detect.training.signals import Stops
from detect.training.step import Batch, Step

KEEP_SECONDS = 600.0  # of work that a kill may cost
MOST_REPLAYS = 3  # files of a process from its start on: each holds the whole model


@dataclass
class Watch:
    """Called after every step of an epoch.

    files: image id -> name.  most_skipped: steps of an epoch that may fail before training stops.
    pace: of the whole run.  board: where there is one, as in the first process.  kept: when a state was last written,
        by the clock that only grows.
    """

    run: TrainingRun
    files: Mapping[int, str]
    most_skipped: int
    pace: Pace
    board: Board | None
    kept: float = field(default_factory=time.monotonic)
    replays: list[Path] = field(default_factory=list)

    def epoch(self, line: tqdm, stops: Stops) -> Callable[[Step, list[Batch], Progress], None]:
        """What is to be called after each step of an epoch."""
        within = self.run.within or Progress()
        self.pace.begin_epoch(self.run.epoch, within.steps + within.skipped)
        return partial(self, line, stops)

    def __call__(self, line: tqdm, stops: Stops, step: Step, batches: list[Batch], progress: Progress) -> None:
        """Raises TrainingError after too many failures, KeyboardInterrupt where a stop was asked for, DiskError."""
        self.pace.step()
        learner = self.run.learner
        if step.failed:
            self._tell(step, batches, progress)
        else:
            memory = memory_bytes(str(learner.device))
            line.set_postfix_str(step_line(progress.means(), learner.lr, self.pace.left(), memory), refresh=False)
            if self.board and step.taken:
                figures = {**step.losses, "gradient_norm": step.norm}
                self.board.step(learner.schedule.last_epoch, figures, learner.lr)
        overdue = time.monotonic() - self.kept >= KEEP_SECONDS
        asked, due = distributed.largest(stops.asked, int(overdue))
        if asked or due:
            self._keep(progress)
        if asked:
            stops.now(asked)

    def trained(self, progress: Progress) -> None:
        """All steps of an epoch are taken, and before its validation they are kept, if they took long."""
        if distributed.is_any(time.monotonic() - self.kept >= KEEP_SECONDS / 10):
            self._keep(progress)

    @contextmanager
    def validation(self, progress: Progress) -> Iterator[None]:
        """The validation of an epoch is the block. A stop in it costs none of the steps before."""
        try:
            with self.pace.validation():
                yield
        except KeyboardInterrupt:
            if distributed.world().size == 1:  # several may be stopped at different places
                self._keep(progress)
            raise

    def _keep(self, progress: Progress) -> None:
        self.run.keep(progress.shared())
        self.kept = time.monotonic()

    def _tell(self, step: Step, batches: list[Batch], progress: Progress) -> None:
        """Say what was not finite, in the processes where a loss was not, or else, of the gradient, in the first."""
        here, mine = distributed.world(), not math.isfinite(step.losses["loss"])
        own = None
        some = distributed.is_any(mine)
        if mine or (here.is_first and not some):
            own = not_finite(step, batches, self.files)
            if path := self._keep_replay(step, batches, progress):
                own += f"; look at it with python train.py --replay {path}"
        words = f"epoch {self.run.epoch + 1}: " + "; ".join(filter(None, distributed.gathered(own)))
        if progress.skipped > self.most_skipped:
            look = f"; python train.py --replay {self.replays[0]} looks closer" if self.replays else ""
            raise TrainingError(
                f"{words}; {progress.skipped} steps of the epoch went so: look at these images' boxes, or lower"
                f" --lr{look}"
            )
        warn(f"{words}; the step is left out")

    def _keep_replay(self, step: Step, batches: list[Batch], progress: Progress) -> Path | None:
        """The file in which the step is kept; None where enough are, or the disk is full."""
        if len(self.replays) >= MOST_REPLAYS:
            return None
        rank = distributed.world().rank
        path = self.run.folder / f"replay_{self.run.epoch + 1}_{progress.batches}_{rank}.pt"
        rows = len(self.run.class_names) + 1
        keep = partial(debug_step.keep, path, self.run.learner, batches, step.seeds)
        try:
            keep(architecture=self.run.architecture, num_rows=rows, files=self.files)
        except DiskError as error:  # it would help, but training can do without
            warn(str(error))
            return None
        self.replays.append(path)
        return path


def not_finite(step: Step, batches: list[Batch], files: Mapping[int, str]) -> str:
    """Words for a step that failed: what was not finite, and on which images."""
    pairs = [pair for pair in zip(step.each, batches, strict=True) if not math.isfinite(pair[0]["loss"])]
    what = "loss" if pairs else "gradient"
    losses, (_, targets) = (pairs or list(zip(step.each, batches, strict=True)))[0]
    values = ", ".join(f"{name} {value:.3g}" for name, value in losses.items() if name != "loss")
    images = first_few([files[int(target["image_id"])] for target in targets])
    return f"the {what} is not finite ({values}) on the batch of {images}"


def stop_at_failure(step: Step, batches: list[Batch], progress: Progress, files: Mapping[int, str]) -> None:
    """For trainings of a moment: TrainingError at the first step that fails."""
    if step.failed:
        raise TrainingError(f"{not_finite(step, batches, files)}; look at its boxes, or lower --lr")
