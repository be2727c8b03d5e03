"""Detect objects in images and save annotated copies: ``python detect_image.py --help``."""

import sys

from detect.cli.commands.detect_image import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
