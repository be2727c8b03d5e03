"""Entry point of app.py for Streamlit Community Cloud, which installs the requirements.txt of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[1])
if ROOT not in sys.path:  # Streamlit runs this file again after every interaction
    sys.path.insert(0, ROOT)

import app  # noqa: E402

app.main()
