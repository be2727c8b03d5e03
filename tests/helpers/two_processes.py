"""What the processes of one training tell each other, as a program that torchrun starts twice: FOLDER/RANK has it."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from detect import distributed
from detect.training.loop import Progress


def main() -> None:
    folder = Path(sys.argv[1])
    with distributed.process_group(torch.device("cpu")) as here:
        with distributed.first_process_first():
            before = sorted(path.name for path in folder.iterdir())
            (folder / f"ahead_{here.rank}").touch()
        norm = nn.BatchNorm2d(1)
        norm.running_mean.fill_(5 + here.rank)
        distributed.broadcast_buffers(norm)
        told = [
            before,
            distributed.all_gather({"rank": here.rank}),
            distributed.compute_on_first(lambda: f"made by {here.rank}"),
            distributed.any_process(here.rank == 1),
            distributed.any_process(False),
            norm.running_mean.item(),
            Progress(sums={"loss": 1.0 + here.rank}).shared().sums,
        ]
        print("only the first speaks")
        (folder / str(here.rank)).write_text(str(told))


if __name__ == "__main__":
    main()
