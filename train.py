"""Fine-tune a Faster R-CNN or Mask R-CNN on a dataset.

Writes outputs/train/NAME/: best.safetensors (the epoch that did best on val), last.safetensors, last_state.pt (for
--resume), settings.yaml, metrics.jsonl, curves.png and tensorboard/.

    torchrun --nproc_per_node=2 train.py ...

trains in two processes at once, each on a part of the images of every step.
"""

import sys

from detect.cli.commands.train import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
