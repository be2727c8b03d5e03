"""A training run whose model is a few numbers: as a program, killed at each of its touches of the disk and resumed.

    python tests/helpers/tiny_run.py FOLDER

leaves FOLDER/whole, which nothing disturbs, and FOLDER/1, FOLDER/2 ..., each killed one touch later than the one
before and then resumed; prints for each how many epochs its state told of after the kill.
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
from detect.training.loop import Progress
from detect.training.run import TrainingRun
from detect.training.step import Learner, Step

SCORES = (0.1, 0.3, 0.2)  # of each epoch: the first two are the best so far


def tiny_run(folder: Path) -> TrainingRun:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    architecture = backbone_architecture("mobilenet_v2", "fasterrcnn", 64)
    facts = {"training": {}, "data": {"train_sha256": ["0"]}}
    return TrainingRun(folder, Learner(model, optimizer, schedule), architecture, ClassNames(("kite",)), facts=facts)


def train(run: TrainingRun) -> None:
    """Until every one of SCORES was had, two steps an epoch; the state is kept after the first."""
    learner = run.learner
    while run.epoch < len(SCORES):
        progress = run.within or Progress()
        for number in range(progress.batches, 2):
            seed_all(run.epoch, number)
            learner.optimizer.zero_grad()
            loss = learner.model(torch.rand(8, 4)).square().mean()
            loss.backward()
            learner.optimizer.step()
            learner.schedule.step()
            progress.add(Step({"loss": loss.item()}, 1.0, [], [], taken=True, failed=False), 1)
            if number == 0:
                run.keep(progress)
        run.finish_epoch(progress.means(), {"bbox": {"AP": SCORES[run.epoch]}})


def resume(folder: Path) -> int:
    """Train on from the state in ``folder``, or from the beginning where there is none; the epochs it told of."""
    run = tiny_run(folder)
    try:
        state = TrainingRun.saved_state(folder)
    except CheckpointError:
        for path in folder.iterdir():  # a user begins anew in another folder
            path.unlink()
    else:
        run.restore(state)
    epoch = run.epoch
    train(run)
    return epoch


def killed_at(touch: int, folder: Path) -> bool:
    """Whether training in a process of its own was killed just before it touched ``folder`` that often."""
    process = os.fork()
    if process == 0:
        left = iter(range(touch - 1))

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
    os.fsync = lambda _: None  # a killed process is no power cut, and waiting for the disk takes most of the time
    root = Path(sys.argv[1])
    (root / "whole").mkdir()
    train(tiny_run(root / "whole"))
    for touch in count(1):
        folder = root / str(touch)
        folder.mkdir()
        if not killed_at(touch, folder):
            return
        print(resume(folder))


if __name__ == "__main__":
    main()
