"""Fine-tune a Faster R-CNN or Mask R-CNN on a dataset: ``python train.py --help``."""

import sys

from detect.cli.commands.train import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
