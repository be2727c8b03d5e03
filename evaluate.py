"""Score a checkpoint on a split of a dataset, by the COCO protocol, on the original pixels.

Writes outputs/evaluate/NAME/metrics.json.
"""

import sys

from detect.cli.commands.evaluate import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
