"""app.py for Streamlit's Community Cloud, which installs the requirements.txt that lies beside the file it runs."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[1])
if ROOT not in sys.path:  # this runs anew with every click
    sys.path.insert(0, ROOT)

import app  # noqa: E402

app.main()
