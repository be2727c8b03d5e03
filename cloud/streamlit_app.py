"""app.py for Streamlit's Community Cloud, which installs the requirements.txt that lies beside the file it runs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import app

app.main()
