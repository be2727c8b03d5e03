"""Detect objects in images and short videos, on a web page made with Streamlit.

    streamlit run app.py --server.address 127.0.0.1

opens the page in a browser. It needs requirements-app.txt. Without ``--server.address`` Streamlit listens on all
networks of this machine. The folder app_pages/ holds the pages.
"""

from __future__ import annotations

import sys

import streamlit as st


def main() -> None:
    st.set_page_config(page_title="Object detection", layout="wide")
    with st.spinner("starting"):  # the first import of PyTorch takes seconds, in which the page would be blank
        from app_pages.comparison import comparison_page
        from app_pages.detection import detection_page
    pages = [
        st.Page(detection_page, title="Detect objects", default=True),
        st.Page(comparison_page, title="Compare models", url_path="models"),
    ]
    st.navigation(pages).run()


if __name__ == "__main__":
    if not st.runtime.exists():
        print("streamlit run app.py --server.address 127.0.0.1", file=sys.stderr)
        sys.exit(2)
    main()
