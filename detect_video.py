"""Find objects in a video, a camera or a stream, and write it again with boxes, masks and labels drawn on it."""

import sys

from detect.cli.commands.detect_video import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
