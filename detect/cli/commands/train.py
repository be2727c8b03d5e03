"""Fine-tune a Faster R-CNN or Mask R-CNN on a dataset.

Writes outputs/train/NAME/: best.safetensors (the epoch with the best metric on val), last.safetensors, last_state.pt
(for --resume), settings.yaml, metrics.jsonl, curves.png and tensorboard/.

    torchrun --nproc_per_node=2 train.py ...

trains in two processes, each with half of every step's batches.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detect.cli.flags import parse
from detect.options import option
from detect.progress import report
from detect.training.config import TrainConfig, complete_config

if TYPE_CHECKING:
    from detect.training.trainer import TrainResult

NOT_OVERFITTED = 3  # exit status if the overfit test fails


@dataclass
class TrainSettings(TrainConfig):
    """train.py"""

    overfit: int | None = option(
        None,
        "instead of training, test whether the model can overfit this number of images, and print possible causes if"
        " it cannot",
        low=1,
        metavar="N",
    )
    debug_step: Path | None = option(
        None, "instead of training, repeat the failed step in this file and print a report", metavar="FILE"
    )


def main() -> int:
    settings, given = parse(TrainSettings, "Fine-tune a Faster R-CNN or Mask R-CNN on a dataset.")
    config = complete_config(settings, given - {"debug_step"})

    # Imported here because torch takes seconds, and --help does not need it.
    from detect.distributed import require_single_process, world_from_environment
    from detect.training import api, overfit, trainer

    if settings.debug_step:
        require_single_process("the analysis of a failed step")
        print(api.debug_step(settings.debug_step, settings.device))
    elif settings.overfit:
        return 0 if overfit.overfit_test(config, settings.overfit).passed else NOT_OVERFITTED
    else:
        result = trainer.train(config)
        if world_from_environment().is_first:
            report(f"next: {evaluation_command(result)}")
    return 0


def evaluation_command(result: TrainResult) -> str:
    """Return the command that evaluates the best checkpoint of a run."""
    config = result.config
    words = ["python", "evaluate.py", "--model", str(result.best), "--data", config.data]
    words += ["--data-root", str(config.data_root)] if config.data_root else []
    words += ["--format", config.format] if config.format != "auto" else []
    return shlex.join([*words, "--split", result.evaluation_split])
