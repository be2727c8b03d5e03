"""Program that torchrun starts in two processes; each writes what it received from the other to FOLDER/RANK."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from detect import distributed
from detect.errors import UsageError
from detect.training.loop import EpochProgress


def error_of_first() -> str:
    """Return the error that ``compute_on_first`` raises here."""

    def fail() -> None:
        raise UsageError(f"of process {distributed.world().rank}")

    try:
        distributed.compute_on_first(fail)
    except UsageError as error:
        return str(error)
    return ""


def main() -> None:
    folder = Path(sys.argv[1])
    with distributed.process_group(torch.device("cpu")) as here:
        norm = nn.BatchNorm2d(1)
        norm.running_mean.fill_(5 + here.rank)
        distributed.broadcast_buffers(norm)
        arrays = distributed.compute_on_first(lambda: {"a": np.arange(3), "empty": np.zeros((0, 4)), "b": "x"})
        assert arrays["a"].tolist() == [0, 1, 2] and arrays["empty"].shape == (0, 4) and arrays["b"] == "x"
        received = [
            distributed.all_gather({"rank": here.rank}),
            distributed.compute_on_first(lambda: f"made by {here.rank}"),
            distributed.any_process(here.rank == 1),
            distributed.any_process(False),
            norm.running_mean.item(),
            EpochProgress(sums={"loss": 1.0 + here.rank}).averaged_over_processes().sums,
            error_of_first(),
        ]
        print("only the first process prints")
        (folder / str(here.rank)).write_text(str(received))


if __name__ == "__main__":
    main()
