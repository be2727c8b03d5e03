"""Check, fix, convert or preview a dataset before training on it.

    python doctor.py check DATA                                       report statistics and all problems
    python doctor.py fix DATA --output-dir NEW                        write a repaired copy and a ledger of all changes
    python doctor.py convert DATA --to coco|voc|yolo|via --output-dir NEW
    python doctor.py preview DATA                                     draw images with their boxes and masks

check exits with status 3 if the dataset has errors or warnings, and with 0 otherwise.
"""

import sys

from detect.cli.commands.doctor import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
