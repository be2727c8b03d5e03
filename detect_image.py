"""Find objects in images, and write them again with boxes, masks and labels drawn on them."""

import sys

from detect.cli.commands.detect_image import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
