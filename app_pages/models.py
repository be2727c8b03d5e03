"""The models that the page offers, and running them for all visitors."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from detect.cli.startup import start_program
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.models import zoo
from detect.serving.batching import Batcher
from detect.structures.detections import Detections
from detect.text import counted, first_few

ROOT = Path(__file__).parents[1]
MODELS_FILE = ROOT / "docs" / "models.json"  # written by benchmark.py models --json docs/models.json
QUEUE_SIZE = 64  # images of all visitors that may wait for a model
QUEUE_TIMEOUT = 300.0  # seconds after which a waiting image is dropped
_EVERYDAY = "everyday objects (80 classes of COCO)"
# Head of a published detector -> what it finds, if not only the boxes of everyday objects.
_FINDS = {"maskrcnn": f"{_EVERYDAY} with masks", "keypointrcnn": "people and their joints"}


def predictor_of(model: str, modified: float, tiles: bool = False) -> Predictor:
    """Return a model that runs on tiles of large images too if ``tiles`` is set."""
    predictor = loaded_model(model, modified)
    return predictor.with_settings(tile="auto") if tiles else predictor


@st.cache_resource(max_entries=4, show_spinner="loading the model")
def loaded_model(model: str, modified: float) -> Predictor:
    """Return a model, loaded once for all visitors and again when its file is modified."""
    # Not in the thread of the queue, where other visitors would wait for a download. A new thread, because the team of
    # OpenMP threads that loading starts ends with it; see Batcher.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(load_model, model).result()


@st.cache_resource
def queue() -> Batcher:
    """Return the queue of images, which all visitors share."""
    start_program()
    return Batcher(QUEUE_SIZE, 1)


def predict(
    predictor: Predictor, image: np.ndarray, threshold: float | None, labels: Sequence[int] | None = None
) -> Detections:
    """Return the detections of ``image`` (uint8 RGB [H, W, 3]) after waiting in the queue.

    threshold: minimum score for all classes; None for those of the model.  labels: labels to return, None for all.
    Raises ServerBusyError.
    """
    (result,) = queue().submit(predictor, [image], threshold, QUEUE_TIMEOUT, labels)
    return result.result()


def trained_models() -> dict[str, str]:
    """Return the checkpoints of runs in outputs/, newest first, by their folder such as ``train/mine/``."""
    return {f"{run_of(path)}/": str(path) for path in newest_first("best.safetensors")}


def newest_first(name: str) -> list[Path]:
    """Return the files called ``name`` in all folders below outputs/, newest first."""
    return sorted((ROOT / "outputs").glob(f"*/**/{name}"), key=lambda path: -path.stat().st_mtime)


def run_of(path: Path) -> str:
    """Return the folder of a file below outputs/, such as ``train/mine``."""
    return path.parent.relative_to(ROOT / "outputs").as_posix()


@cache
def benchmark() -> dict[str, Any]:
    """Return the measured figures of all models, as benchmark.py wrote them: AP in percent. Raises OSError."""
    return json.loads(MODELS_FILE.read_text(encoding="utf-8"))


def description(model: str) -> str:
    """Return what a published detector finds, how well and how fast, in one sentence; "" for any other model.

    The time is that of the machine of the benchmark. A detector that was not measured has no figures.
    """
    if model not in zoo.DETECTORS:
        return ""
    finds = _FINDS.get(zoo.DETECTORS[model].head, _EVERYDAY)
    try:
        measured = next((one for one in benchmark()["models"] if one["name"] == model), None)
    except OSError:
        measured = None
    if measured is None:
        return f"Finds {finds}."
    seconds = statistics.median(measured["seconds"])
    return f"Finds {finds}; AP {measured['ap']['box_map'] / 100:.3f}, about {seconds:.1g} s per image on a CPU."


def classes_in_words(predictor: Predictor) -> str:
    """Return what a loaded model finds, in one sentence."""
    names = predictor.class_names.names
    return f"Finds {counted(len(names), 'class', 'classes')}{' with masks' * predictor.has_masks}: {first_few(names)}."
