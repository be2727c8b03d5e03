"""Check, fix, convert or preview a dataset: ``python doctor.py --help``."""

import sys

from detect.cli.commands.doctor import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
