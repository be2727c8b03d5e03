"""The visitor's settings: which model, which of its detections, and how they are drawn."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import streamlit as st

from app_pages.downloads import in_markdown
from app_pages.models import classes_in_words, description, predictor_of, trained_models
from detect.errors import UsageError
from detect.inference.predictor import Predictor
from detect.io.links import is_link
from detect.media.drawing_style import DrawingStyle
from detect.models import zoo
from detect.models.default_model import default_model
from detect.text import thresholds_in_words

MIN_SCORE = 0.05  # lower end of the threshold slider
URL_OPTION = "URL ..."
AUTO_NAME = "name of auto"  # key of the session: the model that zoo.AUTO stands for, once it is loaded


@dataclass(frozen=True)
class DetectionSettings:
    """Which detections are shown.

    model: name, path or URL of the model, as for ``load_model``.
    modified: modification time of the model's file, so that a model that is trained again is loaded again.
    threshold: minimum score of the detections that are shown; None for the thresholds of the model.
    labels: labels of the classes that are shown, None for all.
    tiles: whether the model also runs on tiles of large images.
    """

    model: str
    modified: float
    threshold: float | None
    labels: tuple[int, ...] | None
    tiles: bool

    @property
    def predictor(self) -> Predictor:
        return predictor_of(self.model, self.modified, self.tiles)


@dataclass(frozen=True)
class Drawing:
    """How detections are drawn.

    boxes, masks, labels: whether these are drawn.
    gray: whether everything outside the objects loses its color.
    """

    boxes: bool
    masks: bool
    labels: bool
    gray: bool

    @property
    def style(self) -> DrawingStyle:
        return DrawingStyle(hide_boxes=not self.boxes, hide_masks=not self.masks, hide_labels=not self.labels)


def choose_settings() -> DetectionSettings | None:
    """Draw the sidebar and return its settings, or None until a model has been chosen."""
    with st.sidebar:
        model = choose_model()
        if not model:
            return None
        modified = modified_at(model)
        predictor = predictor_of(model, modified)
        if model == zoo.AUTO and st.session_state.get(AUTO_NAME) != predictor.name:
            st.session_state[AUTO_NAME] = predictor.name
            st.rerun()  # the selector, which is above, shows the name
        st.caption(in_markdown(classes_in_words(predictor)))
        class_names = predictor.class_names
        threshold = choose_threshold(model, predictor)
        classes = st.multiselect("Classes", class_names.names, placeholder="all", key=f"classes {model}")
        tiles = st.toggle("Tiles", help="find small objects in images much larger than the training images; slow")
    return DetectionSettings(
        model, modified, threshold, tuple(class_names.labels(classes)) if classes else None, tiles
    )


def warn_of_fallback(settings: DetectionSettings) -> None:
    """Show why the default model is the bundled one, if it is."""
    predictor = settings.predictor
    if settings.model == zoo.AUTO and (chosen := default_model(predictor.device.type)).failure:
        names = " and ".join(PurePosixPath(path).name for path in zoo.AUTO_EXAMPLES)
        examples = f"for example in {names} of the tab Example"
        st.warning(in_markdown(chosen.notice(predictor.class_names.names, examples)))


def choose_model() -> str:
    """Draw the selector of models; return the name, path or URL of one, "" until a URL has been entered."""
    trained = trained_models()
    names = [zoo.AUTO, *zoo.BUNDLED, *trained, *zoo.DETECTORS, URL_OPTION]
    captions = [in_one_sentence(name, trained.get(name)) for name in names]
    chosen = st.session_state.get("model", names[0])
    known = f" ({st.session_state[AUTO_NAME]})" if chosen == zoo.AUTO and AUTO_NAME in st.session_state else ""
    with st.popover(f"Model: {in_markdown(chosen + known)}", width="stretch"):
        options: Any = {"format_func": in_markdown, "captions": captions, "label_visibility": "collapsed"}
        name = st.radio("Model", names, key="model", **options) or names[0]
    if name != URL_OPTION:
        return trained.get(name, name)
    model = st.text_input("URL of a checkpoint", placeholder="https://example.org/best.safetensors")
    if model and not is_link(model):
        raise UsageError(f"'{model}' is not a URL; expected https://...")
    return model


def in_one_sentence(name: str, path: str | None) -> str:
    """Return the description of an option of the selector.  path: checkpoint of a model that was trained here."""
    if name == zoo.AUTO:
        return f"Suited to this machine: {zoo.AUTO_DETECTORS['cpu']} on a CPU, {zoo.AUTO_DETECTORS['cuda']} on a GPU."
    if name == URL_OPTION:
        return "A checkpoint from the internet."
    if path is not None:
        return f"Trained here, finished on {datetime.fromtimestamp(modified_at(path)):%Y-%m-%d at %H:%M}."
    return description(name) or "Bundled with the toolkit; needs no download."


def modified_at(model: str) -> float:
    """Return the modification time of a model's file in seconds, 0.0 for a model that is not a file."""
    # os.path, since Path raises an error for URLs that are too long for a path.
    return os.path.getmtime(model) if os.path.isfile(model) else 0.0  # noqa: PTH113, PTH204


def choose_threshold(model: str, predictor: Predictor) -> float | None:
    """Draw a slider and a checkbox; return the minimum score for all classes, None for the thresholds of the model."""
    slider, own = f"threshold {model}", f"own thresholds {model}"
    default = max(predictor.threshold, MIN_SCORE)
    st.session_state.setdefault(slider, default)
    st.session_state.setdefault(own, True)

    def slider_moved() -> None:
        st.session_state[own] = False

    def own_changed() -> None:
        if st.session_state[own]:
            st.session_state[slider] = default

    threshold = st.slider("Minimum score", MIN_SCORE, 1.0, step=0.01, key=slider, on_change=slider_moved)
    words = thresholds_in_words(predictor.class_thresholds)
    st.checkbox("Thresholds of the model", key=own, on_change=own_changed, help=words)
    return None if st.session_state[own] else threshold


def choose_drawing(has_masks: bool) -> tuple[Drawing, bool]:
    """Draw a row of switches; return how detections are drawn, and whether the result is as wide as the page.

    has_masks: whether the model predicts masks.
    """
    with st.container(horizontal=True):
        boxes = st.toggle("Boxes", value=True)
        masks = has_masks and st.toggle("Masks", value=True)
        labels = st.toggle("Labels", value=True)
        gray = st.toggle("Gray background", help="remove the colors around the objects")
        wide = st.toggle("As wide as the page")
    return Drawing(boxes, masks, labels, gray), wide
