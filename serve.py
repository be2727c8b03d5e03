"""Serve models over HTTP: ``python serve.py --help``."""

import sys

from detect.cli.commands.serve import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
