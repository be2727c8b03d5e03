"""Serve models over HTTP: a REST API and a web page.

    python serve.py --model balloon

listens on http://127.0.0.1:8000/ and describes its API at http://127.0.0.1:8000/docs.
"""

import sys

from detect.cli.commands.serve import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
