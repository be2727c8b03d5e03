"""The page that detects objects in an image or a video."""

from __future__ import annotations

import streamlit as st

from app_pages.downloads import in_markdown
from app_pages.images import is_image, show_image
from app_pages.models import ROOT
from app_pages.settings import choose_drawing, choose_settings, warn_of_fallback
from app_pages.videos import show_video
from detect.errors import DetectError
from detect.serving.errors import ServerBusyError

EXAMPLE_SUFFIXES = (".jpg", ".mp4")


def detection_page() -> None:
    """Show an image or a video with its detections."""
    st.title("Object detection")
    try:
        file = choose_file()  # before anything that can fail, since Streamlit forgets widgets that are not drawn
        settings = choose_settings()
        if settings is None:
            return
        warn_of_fallback(settings)
        if file is None:
            st.info("Upload an image or a short video, take a photo, or choose an example.")
            return
        show = show_image if is_image(*file) else show_video
        drawing, wide = choose_drawing(settings.predictor.has_masks)
        show(*file, settings, drawing, wide)
    except (DetectError, ServerBusyError, TimeoutError) as error:
        st.error(in_markdown(str(error)))


def choose_file() -> tuple[str, bytes] | None:
    """Return the name and content of the image or video that the visitor has chosen, or None."""
    sources = ["Upload", "Camera", "Example"]
    source = st.segmented_control("Source", sources, default="Upload", label_visibility="collapsed")
    if source == "Example":
        examples = [path.name for end in EXAMPLE_SUFFIXES for path in sorted((ROOT / "input").glob(f"*{end}"))]
        name = st.selectbox("Example", examples) or examples[0]
        return name, (ROOT / "input" / name).read_bytes()
    if source == "Camera":
        photo = st.camera_input("Take a photo")
        return ("photo.jpg", photo.getvalue()) if photo else None
    file = st.file_uploader("An image of up to 50 megapixels, or a short video")
    return (file.name, file.getvalue()) if file else None
