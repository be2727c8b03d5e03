"""Find objects in images and videos that come over HTTP: a REST API, and a page to try it.

    python serve.py --model balloon

listens on http://127.0.0.1:8000/, with the API's description at /docs.
"""

import sys

from detect.cli.commands.serve import main
from detect.cli.exit_status import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
