"""Look after a dataset before it is trained on: check it, fix it, convert it, look at it.

    python doctor.py check DATA                                       what is wrong, and how bad it is
    python doctor.py fix DATA --output-dir NEW                        a repaired copy, and a ledger of every change
    python doctor.py convert DATA --to coco|voc|yolo|via --output-dir NEW
    python doctor.py preview DATA                                     a sheet of images with their boxes and masks

Exit status of check: 3 where something is broken or hurts, else 0.
"""

import sys

from detect.cli.commands.doctor import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
