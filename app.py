"""Detect objects in images and short videos, on a web page made with Streamlit.

    streamlit run app.py --server.address 127.0.0.1

opens the page in a browser. It needs requirements-app.txt. Without ``--server.address`` Streamlit listens on all
networks of this machine.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from detect.cli.startup import start_program
from detect.errors import DetectError, MediaError, UsageError
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.inference.writers.annotated_video import frames_ahead, write_annotated_video
from detect.io.links import is_link
from detect.media import formats
from detect.media.drawing import draw, gray_around
from detect.media.encoding import Encoded, encode
from detect.media.images import read_header, read_image
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.models.zoo import BUNDLED, DETECTORS
from detect.serving.batching import Batcher
from detect.serving.errors import ServerBusyError
from detect.serving.responses import ImageResult, mask_files, to_json, zip_archive
from detect.structures.detections import Detections
from detect.text import counted, thresholds_in_words

ROOT = Path(__file__).parent
MIN_SCORE = 0.05  # lower end of the threshold slider
MAX_PIXELS = 16_000_000  # of an image or a video frame; more would take over half a gigabyte of memory
QUEUE_SIZE = 64  # images of all visitors that may wait for a model
QUEUE_TIMEOUT = 300.0  # seconds after which a waiting image is dropped
URL_OPTION = "URL ..."
EXAMPLES = ("balloons_1.jpg", "balloons_2.jpg", "image_1.jpg", "image_2.jpg", "video_1.mp4")
MODELS_FILE = ROOT / "docs" / "models.json"  # written by benchmark.py inference --json docs/models.json


@dataclass(frozen=True)
class Selection:
    """The visitor's settings.

    model: name, path or URL of the model, as for ``load_model``.
    modified: modification time of the model's file, so that a model that is trained again is loaded again.
    threshold: minimum score of the detections that are shown; None for the thresholds of the model.
    labels: labels of the classes that are shown, None for all.
    gray: whether everything outside the objects loses its color.
    tiles: whether the model also runs on tiles of large images.
    """

    model: str
    modified: float
    threshold: float | None
    labels: tuple[int, ...] | None
    gray: bool
    tiles: bool

    @property
    def predictor(self) -> Predictor:
        return predictor_of(self.model, self.modified, self.tiles)


def main() -> None:
    st.set_page_config(page_title="Object detection", layout="wide")
    pages = [
        st.Page(detection_page, title="Detect objects", default=True),
        st.Page(comparison_page, title="Compare models", url_path="models"),
    ]
    st.navigation(pages).run()


def detection_page() -> None:
    """Show an image or a video with its detections."""
    st.title("Object detection")
    try:
        file = choose_file()  # before anything that can fail, since Streamlit forgets widgets that are not drawn
        selection = choose_settings()
        if selection is None:
            return
        if file is None:
            st.info("Upload an image or a short video, take a photo, or choose an example.")
        elif is_image(*file):
            show_image(*file, selection)
        else:
            show_video(*file, selection)
    except (DetectError, ServerBusyError, TimeoutError) as error:
        st.error(str(error))


def choose_settings() -> Selection | None:
    """Draw the sidebar and return its settings, or None until a model has been chosen."""
    with st.sidebar:
        trained = trained_models()
        names = [*BUNDLED, *trained, *DETECTORS, URL_OPTION]
        name = st.selectbox("Model", names, help="models such as v1 and v2 detect the 80 classes of COCO") or names[0]
        model = trained.get(name, name)
        if model == URL_OPTION:
            model = st.text_input("URL of a checkpoint", placeholder="https://example.org/best.safetensors")
            if model and not is_link(model):
                raise UsageError(f"'{model}' is not a URL; expected https://...")
        if not model:
            return None
        # os.path, since Path raises an error for URLs that are too long for a path.
        modified = os.path.getmtime(model) if os.path.isfile(model) else 0.0  # noqa: PTH113, PTH204
        predictor = predictor_of(model, modified)
        class_names = predictor.class_names
        threshold = choose_threshold(model, predictor)
        classes = st.multiselect("Classes", class_names.names, placeholder="all", key=f"classes {model}")
        gray = st.toggle("Remove colors around the objects")
        tiles = st.toggle("Tiles", help="find small objects in images much larger than the training images; slow")
    return Selection(model, modified, threshold, tuple(class_names.labels(classes)) if classes else None, gray, tiles)


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


def choose_file() -> tuple[str, bytes] | None:
    """Return the name and content of the image or video that the visitor has chosen, or None."""
    sources = ["Upload", "Camera", "Example"]
    source = st.segmented_control("Source", sources, default="Upload", label_visibility="collapsed")
    if source == "Example":
        name = st.selectbox("Example", EXAMPLES) or EXAMPLES[0]
        return name, (ROOT / "input" / name).read_bytes()
    file = st.camera_input("Take a photo") if source == "Camera" else st.file_uploader("An image or a short video")
    return (file.name, file.getvalue()) if file else None


def is_image(name: str, content: bytes) -> bool:
    """Return whether ``content`` is an image, False for a video.

    Raises MediaError for any other content and for an image with too many pixels.
    """
    file = Encoded(content, name)
    if formats.begins_as_video(file):
        return False
    height, width = read_header(file, MAX_PIXELS).image_hw
    if height * width > MAX_PIXELS:
        raise MediaError(f"{name} has {width}x{height} pixels; at most {MAX_PIXELS:,} are allowed")
    return True


def show_image(name: str, content: bytes, selection: Selection) -> None:
    """Show the image without and with detections, a table of the detections, and download buttons."""
    predictor, class_names = selection.predictor, selection.predictor.class_names
    image = read_image(Encoded(content, name))
    detections = detections_of(selection.model, selection.modified, selection.tiles, content)
    threshold = predictor.class_thresholds if selection.threshold is None else selection.threshold
    detections = detections.filter(threshold, selection.labels)
    background = gray_around(image, detections) if selection.gray else image
    drawn = draw(background, detections, class_names, tint=not selection.gray)
    before, after = st.columns(2)
    before.image(image, caption=name, width="stretch", alt="the original image")
    caption = counted(len(detections), "object") + " (the maximum of the model)" * detections.limit_reached
    after.image(drawn, caption=caption, width="stretch", alt="the image with detections")
    if len(detections):
        columns = {"score": st.column_config.NumberColumn(format="%.3f")}
        st.dataframe(table_columns(detections), hide_index=True, column_config=columns)
    document = to_json([ImageResult(name, image, detections)], class_names, selection.model, 0.0)["images"]
    files: dict[str, tuple[Any, str, str]] = {
        "Image": (lambda: encode(drawn, "PNG"), "_detections.png", "image/png"),
        "JSON": (json.dumps(document, indent=1), ".json", "application/json"),
    }
    if detections.masks:
        files["Masks"] = (lambda: zip_archive(mask_files(detections, class_names)), "_masks.zip", "application/zip")
    download_buttons(name, files)


def show_video(name: str, content: bytes, selection: Selection) -> None:
    """Process the video when the visitor asks for it, and show the result until a setting changes."""
    max_frames = st.number_input("Frames", 1, 3000, 150, help="number of frames to process; a second has 25 to 30")
    stride = st.number_input("Stride", 1, 30, 3, help="run the model on every Nth frame; others repeat its detections")
    key = (name, hash(content), selection, max_frames, stride)
    if st.button("Detect objects", type="primary"):
        st.session_state.video = key, *annotate_video(name, content, selection, max_frames, stride)
    if st.session_state.get("video", [None])[0] == key:
        _, video, lines, caption = st.session_state.video
        st.video(video)
        st.caption(caption)
        files = {
            "Video": (video, "_detections.mp4", "video/mp4"),
            "JSON of each frame": (lines, ".jsonl", "application/jsonl"),
        }
        download_buttons(name, files)


def download_buttons(name: str, files: dict[str, tuple[Any, str, str]]) -> None:
    """Draw a button per file. files: label -> (content or a function that returns it, end of the name, media type)."""
    stem = Path(name).stem
    for column, (label, (content, suffix, media_type)) in zip(st.columns(len(files)), files.items(), strict=True):
        column.download_button(label, content, f"{stem}{suffix}", media_type, on_click="ignore")


def annotate_video(
    name: str, content: bytes, selection: Selection, max_frames: int, stride: int
) -> tuple[bytes, bytes, str]:
    """Return the annotated video (MP4), its detections (JSON Lines) and a caption, while a progress bar is shown."""
    predictor = selection.predictor
    bar = st.progress(0.0, "reading the video")
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "upload", Path(folder) / "annotated.mp4"
        path.write_bytes(content)

        def without_paths(text: str) -> str:
            return text.replace(str(path), name).replace(f"{folder}{os.sep}", "")

        def detect(frames: Sequence[Frame]) -> list[Detections]:
            return [predict(predictor, frame.image, selection.threshold, selection.labels) for frame in frames]

        def frames(decoded: Iterable[Frame], total: int) -> Iterator[Frame]:
            for number, frame in enumerate(islice(decoded, max_frames), start=1):
                yield frame
                bar.progress(min(1.0, number / total), f"{number} of {total} frames")

        try:
            with VideoReader(path, contained=True, max_pixels=MAX_PIXELS) as video, frames_ahead(video) as decoded:
                shown = frames(decoded, min(max_frames, video.frame_count or max_frames))
                options: Any = {"stride": stride, "formats": ["json"], "gray": selection.gray}
                done = write_annotated_video(video, shown, detect, predictor.class_names, out, **options)
                warning = f"; {without_paths(video.warning)}" if video.warning else ""
        except DetectError as error:
            raise MediaError(without_paths(str(error))) from None
        finally:
            bar.empty()
        caption = counted(done.frames, "frame") + warning
        return out.read_bytes(), out.with_suffix(".jsonl").read_bytes(), caption


def comparison_page() -> None:
    """Show the metrics of the visitor's own models, and the benchmark results of all models."""
    st.title("Models compared")
    st.subheader("Evaluated after fine-tuning")
    st.caption(
        "Results of evaluate.py in outputs/ (--intervals adds 95 % confidence intervals), and of the measured runs in"
        " docs/results.md. AP in percent."
    )
    st.dataframe(evaluated_rows(), hide_index=True, placeholder="–")
    benchmark = json.loads(MODELS_FILE.read_text(encoding="utf-8"))
    st.subheader("Size, computation and speed")
    height, width = benchmark["image_hw"]
    st.caption(f"On {benchmark['machine']}, for an image of {width}x{height} pixels; docs/models.md has the details.")
    rows = [model_row(model) for model in benchmark["models"]]
    st.dataframe(rows, hide_index=True, placeholder="–")
    st.bar_chart(rows, x="model", y="ms per image", horizontal=True, sort="ms per image")


def model_row(model: dict[str, Any]) -> dict[str, str | float | None]:
    """Return the table row of one entry of MODELS_FILE."""
    ap = model["ap"]
    return {
        "model": model["name"],
        "head": model["head"],
        "ms per image": round(1000 * statistics.median(model["seconds"])),
        "GFLOP": round(model["multiply_adds"] / 1e9, 1),
        "parameters (millions)": round(model["parameters"] / 1e6, 1),
        "proposals": model["proposals"],
        "COCO box AP": ap.get("box_map"),
        "COCO mask AP": ap.get("mask_map"),
        "COCO keypoint AP": ap.get("kp_map"),
        "ImageNet top-1": model["top1"],
    }


def evaluated_rows() -> list[dict[str, str | float]]:
    """Return one row per evaluation: those in outputs/, newest first, then those in docs/results/.

    A file that holds no metrics is skipped, with a warning on the page.
    """
    rows = []
    for path in [*newest_first("metrics.json"), *sorted((ROOT / "docs" / "results").glob("*_default_0.json"))]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if path.name == "metrics.json":
                rows.append(metrics_row(run_of(path), content))
            else:  # a record of benchmark.py results
                rows += [metrics_row(f"{path.stem}, {split}", part) for split, part in content["metrics"].items()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            st.warning(f"{path.relative_to(ROOT)} holds no metrics: {error}")
    return rows


def metrics_row(name: str, metrics: dict[str, Any]) -> dict[str, str | float]:
    """Return the table row of one evaluation: AP and AP50 of boxes and masks, with their intervals if known."""
    row: dict[str, str | float] = {"evaluation": name}
    for (kind, title), metric in product((("bbox", "box"), ("segm", "mask")), ("AP", "AP50")):
        if (value := metrics.get(kind, {}).get(metric)) is not None:
            row[f"{title} {metric}"] = round(100 * value, 1)
        if interval := metrics.get("intervals", {}).get(kind, {}).get(metric):
            row[f"{title} {metric}, 95 %"] = "{:.1f} to {:.1f}".format(*(100 * end for end in interval))
    return row


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


@st.cache_data(max_entries=32, show_spinner="processing the image")
def detections_of(model: str, modified: float, tiles: bool, content: bytes) -> Detections:
    """Return all detections of an image that the page can show, so that moving the threshold runs no model."""
    predictor = predictor_of(model, modified, tiles)
    return predict(predictor, read_image(Encoded(content)), min(MIN_SCORE, predictor.threshold))


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


def table_columns(detections: Detections) -> dict[str, Any]:
    """Return the columns of a table of detections; positions and sizes are whole pixels."""
    left, top, right, bottom = detections.boxes.round().astype(int).T
    position = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return {"class": detections.names, "score": detections.scores, **position}


if __name__ == "__main__":
    if not st.runtime.exists():
        print("streamlit run app.py --server.address 127.0.0.1", file=sys.stderr)
        sys.exit(2)
    main()
