"""Detect objects in a video and save an annotated copy: ``python detect_video.py --help``."""

import sys

from detect.cli.commands.detect_video import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
