"""Evaluate a model on a split of a dataset with COCO's metrics: ``python evaluate.py --help``."""

import sys

from detect.cli.commands.evaluate import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
