"""Export a model to ONNX or OpenVINO: ``python export.py --help``."""

import sys

from detect.cli.commands.export import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
