"""Find objects in images and short videos, on a page in the browser.

    streamlit run app.py --server.address 127.0.0.1

opens it, once requirements-app.txt is installed; without the address, on every network of this machine.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import streamlit as st

from benchmarks import markdown
from detect import runtime
from detect.errors import DetectError, MediaError, UsageError
from detect.inference.predictor import Predictor, load_predictor
from detect.inference.writers import annotated_video
from detect.io.links import is_link
from detect.media import formats
from detect.media.drawing import draw, gray_around
from detect.media.encoding import Encoded, encode
from detect.media.images import read_header, read_image
from detect.media.video_reader import VideoReader
from detect.models.zoo import BUNDLED, DETECTORS
from detect.serving.batching import Batcher, BusyError
from detect.serving.responses import Answered, as_json, mask_files, zipped
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

ROOT = Path(__file__).parent
LOWEST = 0.05  # what scores less is never shown
MOST_PIXELS = 16_000_000  # of an image or a frame: a larger one would take more than half a GB
WAITING, PATIENCE = 64, 300.0  # images of all visitors that wait, and seconds until one is given up
LINK = "a link ..."
COMPARED = (  # title, page in docs/, part of it, what an empty cell is, columns that come first
    ("Fine-tuned on balloons", "results.md", "benchmark results", "not measured", ()),
    ("Size, work and time", "models.md", "benchmark inference", "–", ("model", "head", "ms", "GFLOP")),
)
EXAMPLES = ("balloons_1.jpg", "balloons_2.jpg", "image_1.jpg", "image_2.jpg", "video_1.mp4")


@dataclass(frozen=True)
class Wanted:
    """What the visitor has chosen.

    model: for ``load_predictor``, and stamp: of its file, which changes when it is trained again.
    labels: of the classes to show, None for all.  gray: colors are taken away around the objects.
    """

    model: str
    stamp: float
    threshold: float
    labels: tuple[int, ...] | None
    gray: bool


def main() -> None:
    st.set_page_config(page_title="Find objects", layout="wide")
    pages = [
        st.Page(look_page, title="Find objects", default=True),
        st.Page(compare_page, title="Backbones compared", url_path="backbones"),
    ]
    st.navigation(pages).run()


def look_page() -> None:
    """An image or a video, and what is found in it."""
    st.title("Find objects in images and videos")
    try:
        given = upload()  # before whatever may fail, since Streamlit forgets what is not drawn
        wanted = controls()
        if wanted is None:
            return
        if given is None:
            st.info("Upload an image or a short video, take a photograph, or try an example.")
        elif is_image(*given):
            show_image(*given, wanted)
        else:
            show_video(*given, wanted)
    except (DetectError, BusyError, TimeoutError) as error:
        st.error(str(error))


def controls() -> Wanted | None:
    """What is chosen in the column at the side; None while no model is."""
    with st.sidebar:
        trained = checkpoints()
        models = [*BUNDLED, *trained, *DETECTORS, LINK]
        name = st.selectbox("Model", models, help="v1 and later know COCO's things") or models[0]
        model = trained.get(name, name)
        if model == LINK:
            model = st.text_input("Link to a checkpoint", placeholder="https://example.org/best.safetensors")
            if model and not is_link(model):
                raise UsageError("a link begins with https://")
        if not model:
            return None
        # os.path, since Path raises for links that are too long.
        stamp = os.path.getmtime(model) if os.path.isfile(model) else 0.0  # noqa: PTH113, PTH204
        predictor = predictor_of(model, stamp)
        names = predictor.class_names
        usual = max(predictor.threshold, LOWEST)
        threshold = st.slider(
            "Threshold", LOWEST, 1.0, usual, 0.01, help="leave out what scores less", key=f"least {model}"
        )
        classes = st.multiselect("Classes", names.names, placeholder="all", key=f"classes {model}")
        gray = st.toggle("Remove colors around the objects")
    return Wanted(model, stamp, threshold, tuple(names.labels(classes)) if classes else None, gray)


def upload() -> tuple[str, bytes] | None:
    """The name and bytes of what is to be looked at, wherever it comes from."""
    source = st.segmented_control(
        "From", ["Upload", "Camera", "Example"], default="Upload", label_visibility="collapsed"
    )
    if source == "Example":
        name = st.selectbox("Example", EXAMPLES) or EXAMPLES[0]
        return name, (ROOT / "input" / name).read_bytes()
    given = (
        st.camera_input("Take a photograph") if source == "Camera" else st.file_uploader("An image or a short video")
    )
    return (given.name, given.getvalue()) if given else None


def is_image(name: str, content: bytes) -> bool:
    """Whether these are the bytes of an image, and not those of a video, whatever their name says. MediaError for
    what is neither, or too large."""
    file = Encoded(content, name)
    if formats.begins_as_video(file):
        return False
    height, width = read_header(file, MOST_PIXELS).image_hw
    if height * width > MOST_PIXELS:
        raise MediaError(f"{name} has {width}x{height} pixels; at most {MOST_PIXELS:,} are taken")
    return True


def show_image(name: str, content: bytes, wanted: Wanted) -> None:
    """Before and after, a table of what was found, and files to take away."""
    names = predictor_of(wanted.model, wanted.stamp).class_names
    image = read_image(Encoded(content, name))
    found = found_in(wanted.model, wanted.stamp, content).filter(wanted.threshold, wanted.labels)
    drawn = draw(gray_around(image, found) if wanted.gray else image, found, names, tint=not wanted.gray)
    before, after = st.columns(2)
    before.image(image, caption=name, width="stretch", alt="the image as it came")
    after.image(drawn, caption=in_words(len(found)), width="stretch", alt="with what was found drawn on it")
    if len(found):
        scores = {"score": st.column_config.NumberColumn(format="%.3f")}
        st.dataframe(rows(found, names), hide_index=True, column_config=scores)
    stem = Path(name).stem
    picture, objects, masks = st.columns(3)
    picture.download_button("Image", lambda: encode(drawn, "PNG"), f"{stem}_found.png", "image/png", on_click="ignore")
    answer = as_json([Answered(name, image, found)], names, wanted.model, 0.0)["images"]
    objects.download_button(
        "JSON", json.dumps(answer, indent=1), f"{stem}.json", "application/json", on_click="ignore"
    )
    if found.masks:
        masks.download_button(
            "Masks",
            lambda: zipped(mask_files(found, names)),
            f"{stem}_masks.zip",
            "application/zip",
            on_click="ignore",
        )


def show_video(name: str, content: bytes, wanted: Wanted) -> None:
    """Look at it when asked to, and show the result as long as nothing else is chosen."""
    most = st.number_input("Frames", 1, 3000, 150, help="so many from the beginning; 25 or 30 are a second")
    stride = st.number_input("Look at every n-th", 1, 30, 3, help="and show the same on those between, to be faster")
    key = (name, hash(content), wanted, most, stride)
    if st.button("Find objects", type="primary"):
        st.session_state.video = key, *annotate(name, content, wanted, most, stride)
    if st.session_state.get("video", [None])[0] == key:
        _, video, lines, words = st.session_state.video
        st.video(video)
        st.caption(words)
        stem = Path(name).stem
        left, right = st.columns(2)
        left.download_button("Video", video, f"{stem}_found.mp4", "video/mp4", on_click="ignore")
        right.download_button("JSON of each frame", lines, f"{stem}.jsonl", "application/jsonl", on_click="ignore")


def annotate(name: str, content: bytes, wanted: Wanted, most: int, stride: int) -> tuple[bytes, bytes, str]:
    """The MP4, its lines of JSON, and a word about it, with a bar while it is made."""
    predictor = predictor_of(wanted.model, wanted.stamp)
    bar = st.progress(0.0, "reading the video")
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "sent", Path(folder) / "found.mp4"
        path.write_bytes(content)

        def told(words: str) -> str:
            return words.replace(str(path), name).replace(f"{folder}{os.sep}", "")

        try:
            with VideoReader(path, contained=True, most_pixels=MOST_PIXELS) as video:
                total = min(most, video.frame_count or most)
                names, gray = predictor.class_names, wanted.gray
                with annotated_video(video, names, out, stride=stride, save_json=True, gray=gray) as annotated:
                    for frame in islice(video, most):
                        annotated.write(frame, lambda image: look(predictor, image, wanted.threshold, wanted.labels))
                        bar.progress(min(1.0, annotated.frames / total), f"{annotated.frames} of {total} frames")
                words = f"{annotated.frames} frames" + (f"; {told(video.trouble)}" if video.trouble else "")
        except DetectError as error:
            raise MediaError(told(str(error))) from None
        finally:
            bar.empty()
        return out.read_bytes(), out.with_suffix(".jsonl").read_bytes(), words


def compare_page() -> None:
    """The figures of docs/results.md and docs/models.md, as they were measured."""
    st.title("Backbones compared")
    times: list[dict[str, str | float | None]] = []
    for title, file, name, empty, first in COMPARED:
        text = markdown.part(ROOT / "docs" / file, name)
        st.subheader(title)
        st.caption(text.partition("\n\n")[0])
        table = numbers(markdown.rows(text))
        order = [*first, *(column for column in table[0] if column not in first)]
        st.dataframe(table, hide_index=True, placeholder=empty, column_order=order)
        times += [row for row in table if row.get("ms") is not None]
    st.bar_chart(times, x="model", y="ms", horizontal=True, sort="ms")


@st.cache_resource(max_entries=4, show_spinner="loading the model")
def predictor_of(model: str, stamp: float) -> Predictor:
    """Loaded once for all visitors. stamp: of the model's file, so that it is loaded again when that has changed."""
    # Not in the queue's thread, where others would wait for a download. This one's team ends with it; see Batcher.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(load_predictor, model).result()


@st.cache_resource
def queue() -> Batcher:
    """In which the images of all visitors wait for the models."""
    runtime.set_up()
    return Batcher(WAITING, 1)


@st.cache_data(max_entries=32, show_spinner="looking at the image")
def found_in(model: str, stamp: float, content: bytes) -> Detections:
    """All that scores LOWEST, so that moving the threshold looks at nothing anew."""
    return look(predictor_of(model, stamp), read_image(Encoded(content)), LOWEST)


def look(predictor: Predictor, image: np.ndarray, threshold: float, labels: Sequence[int] | None = None) -> Detections:
    """What is found in ``image`` (uint8 RGB [H, W, 3]), when it is its turn. Raises BusyError."""
    (answer,) = queue().submit(predictor, [image], threshold, PATIENCE)
    return answer.result().filter(labels=labels)


def checkpoints() -> dict[str, str]:
    """Of the runs of train.py in outputs/, by their folders there, such as ``train/mine/``, newest first."""
    folder = ROOT / "outputs"
    found = sorted(folder.glob("*/**/best.safetensors"), key=lambda path: -path.stat().st_mtime)
    return {f"{path.parent.relative_to(folder).as_posix()}/": str(path) for path in found}


def rows(found: Detections, names: ClassNames) -> list[dict[str, str | float | int]]:
    """A line for each object, best first; places in pixels."""
    lines: list[dict[str, str | float | int]] = []
    for label, score, box in zip(found.labels.tolist(), found.scores.tolist(), found.boxes.round(), strict=True):
        left, top, right, bottom = box.astype(int).tolist()
        place = {"left": left, "top": top, "width": right - left, "height": bottom - top}
        lines.append({"object": names.name(label), "score": round(score, 3), **place})
    return lines


def numbers(table: list[dict[str, str]]) -> list[dict[str, str | float | None]]:
    """A table of Markdown whose figures can be sorted; what was not measured is none, and an interval behind a figure,
    such as ``65.7 [60.8, 73.5]``, has a column of its own."""

    def values(name: str, cell: str) -> dict[str, str | float | None]:
        figure, bracket, interval = cell.partition(" [")
        try:
            found = {name: float(figure)}
        except ValueError:
            words = cell.replace("`", "").removeprefix("--backbone ").removeprefix("--model ")
            return {name: None if words in ("–", "not measured", "") else words}
        return found | ({f"{name}, 95 %": interval.rstrip("]").replace(", ", " to ")} if bracket else {})

    return [{k: v for name, cell in row.items() for k, v in values(name, cell).items()} for row in table]


def in_words(count: int) -> str:
    return f"{count or 'no'} object{'s' * (count != 1)}"


if __name__ == "__main__":
    if not st.runtime.exists():
        print("streamlit run app.py --server.address 127.0.0.1", file=sys.stderr)
        sys.exit(2)
    main()
