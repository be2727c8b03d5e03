"""A training run with a linear model; as a program, killed at each of its disk accesses and resumed.

    python tests/helpers/tiny_run.py FOLDER

writes FOLDER/whole, an undisturbed run, and FOLDER/1, FOLDER/2, ..., each killed one disk access later than the one
before and then resumed. It prints for each the number of finished epochs in the state after the kill.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path

import torch
from torch import nn

from detect.errors import CheckpointError
from detect.models.architecture import backbone_architecture
from detect.runtime import seed_all
from detect.structures.class_names import ClassNames
from detect.training.loop import EpochProgress
from detect.training.optimizer import build_ema
from detect.training.run import RunMetadata, TrainingRun
from detect.training.step import StepResult, TrainStep

SCORES = (0.1, 0.3, 0.2)  # of the epochs; the first two are the best so far


def tiny_run(folder: Path, *, decay: float = 0.0) -> TrainingRun:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    train_step = TrainStep(model, optimizer, schedule, build_ema(model, decay) if decay else None)
    architecture = backbone_architecture("mobilenet_v2", "fasterrcnn", 64)
    metadata = RunMetadata(training={}, data={"train_digest": "0"})
    return TrainingRun(folder, train_step, architecture, ClassNames(("kite",)), metadata)


def train(run: TrainingRun) -> None:
    """Train one epoch of two steps for each of SCORES; the state is saved after the first step of each."""
    train_step = run.train_step
    while run.epoch < len(SCORES):
        progress = run.epoch_progress or EpochProgress()
        for number in range(progress.batches, 2):
            seed_all(run.epoch, number)
            train_step.optimizer.zero_grad()
            loss = train_step.model(torch.rand(8, 4)).square().mean()
            loss.backward()
            train_step.optimizer.step()
            train_step.schedule.step()
            if train_step.ema:
                train_step.ema.update_parameters(train_step.model)
            progress.add(StepResult({"loss": loss.item()}, 1.0, [], [], taken=True, failed=False), 1)
            if number == 0:
                run.save_progress(progress)
        run.finish_epoch(progress.means(), {"bbox": {"AP": SCORES[run.epoch]}})


def resume(folder: Path) -> int:
    """Continue from the state in ``folder``, or start again without one; return its number of finished epochs."""
    run = tiny_run(folder)
    try:
        state = TrainingRun.load_state(folder)
    except CheckpointError:
        for path in folder.iterdir():  # a user would start again in another folder
            path.unlink()
    else:
        run.restore(state)
    epoch = run.epoch
    train(run)
    return epoch


def killed_at(access: int, folder: Path) -> bool:
    """Train in a forked process that is killed before disk access number ``access``; return whether it was killed."""
    process = os.fork()
    if process == 0:
        left = iter(range(access - 1))

        def watch(event: str, arguments: tuple) -> None:
            ours = event in ("open", "os.rename", "os.remove") and str(arguments[0]).startswith(str(folder))
            if ours and next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        train(tiny_run(folder))
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def main() -> None:
    torch.set_num_threads(1)
    os.fsync = lambda _: None  # takes most of the time, and matters for power cuts only
    root = Path(sys.argv[1])
    (root / "whole").mkdir()
    train(tiny_run(root / "whole"))
    for access in count(1):
        folder = root / str(access)
        folder.mkdir()
        if not killed_at(access, folder):
            return
        print(resume(folder))


if __name__ == "__main__":
    main()
