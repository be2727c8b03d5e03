"""Buttons that download results."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from detect.text import one_line


@dataclass(frozen=True)
class Download:
    """A file to download.

    title: what the file is, for the button.
    ending: end of its name, behind the name of the input without suffix, such as ``_detections.png``.
    media_type: its media type.
    content: its content, or a function that returns it when the visitor clicks.
    """

    title: str
    ending: str
    media_type: str
    content: bytes | str | Callable[[], bytes]


def download_buttons(name: str, files: list[Download]) -> None:
    """Draw a button per file that shows what it is and its name.  name: name of the input."""
    stem = Path(name).stem
    with st.container(horizontal=True):
        for file in files:
            label = f"{file.title}: {in_markdown(one_line(stem, 30) + file.ending)}"
            icon, file_name = ":material/download:", f"{stem}{file.ending}"
            st.download_button(label, file.content, file_name, file.media_type, icon=icon, on_click="ignore")


def in_markdown(text: str) -> str:
    """Return Markdown that shows ``text`` as it is; labels and messages of Streamlit are Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~$<>:-])", r"\\\1", text)
