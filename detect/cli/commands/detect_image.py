"""Find objects in images, and write them again with boxes, masks and labels drawn on them."""

from __future__ import annotations

import glob
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from detect.cli.flags import parse
from detect.cli.settings import DetectImageSettings
from detect.errors import DiskError, MediaError
from detect.models.zoo import BUNDLED

if TYPE_CHECKING:
    import numpy as np

    from detect.inference.predictor import Predictor
    from detect.structures.class_names import ClassNames
    from detect.structures.detections import Detections

MOST_SCORES = 5  # shown for each class on an image's line


def main() -> None:
    settings, _ = parse(DetectImageSettings, "Find objects in images and draw them.")

    # Imported here so that --help and a mistyped flag are answered at once; below, the same for torch.
    from detect.io.files import make_folder, new_run_folder
    from detect.media.image_paths import find_images, shown

    paths = find_images(settings.input)
    make_folder(settings.output_dir)

    from detect import progress, runtime
    from detect.inference.load import load_model

    progress.hide_bars(settings.quiet)
    runtime.configure_process()
    predictor = load_model(
        settings.model, device=settings.device, imgsz=settings.imgsz, threshold=settings.threshold
    )
    class_names = predictor.class_names
    started = time.perf_counter()
    with new_run_folder(settings.output_dir, settings.name or run_name(settings.input)) as folder:
        done, objects, broken = annotate(paths, predictor, folder, settings)

    seconds = time.perf_counter() - started
    if done:
        print(f"{done} image{'s' * (done != 1)}, {objects} objects, {seconds:.1f} s -> {shown(folder)}")
    if done and not objects and settings.model in BUNDLED:
        print(
            f"--model {settings.model} knows {', '.join(class_names.names)} alone; --model v2 knows 80 everyday things"
        )
    if broken:
        if len(paths) == 1:
            raise MediaError(broken[0])
        lines = "".join(f"\n  {line}" for line in broken)
        raise MediaError(f"{len(broken)} of {len(paths)} images could not be read:{lines}")


def annotate(
    paths: Sequence[Path], predictor: Predictor, folder: Path, settings: DetectImageSettings
) -> tuple[int, int, list[str]]:
    """Detect in every image and write what is found to ``folder``.

    Returns how many images were written, the objects in them, and what is wrong with each of the others.
    """
    from detect.inference.writers import FORMATS, ImageWriter
    from detect.media.image_paths import shown

    class_names = predictor.class_names
    labels = class_names.labels(settings.classes) if settings.classes else None
    formats = [writer for name, writer in FORMATS.items() if getattr(settings, f"save_{name}")]
    done, objects, broken = 0, 0, []
    try:
        with ExitStack() as stack:
            writers = [stack.enter_context(writer(folder, class_names)) for writer in (ImageWriter, *formats)]
            for first in range(0, len(paths), settings.batch_size):
                images, unread = read(paths[first : first + settings.batch_size])
                broken += unread
                found = predictor.predict_batch([image for _, image in images], labels) if images else []
                for (path, image), detections in zip(images, found, strict=True):
                    drawn, *_ = [writer.write(path, image, detections) for writer in writers]
                    done, objects = done + 1, objects + len(detections)
                    if not settings.quiet:
                        words = in_words(detections, class_names)
                        print(f"{shown(path)}: {words} -> {shown(drawn)}", flush=True)
    except DiskError as error:
        raise DiskError(f"{error}; {done} of {len(paths)} images are done and kept") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped after {done} of {len(paths)} images, which are kept") from None
    return done, objects, broken


def run_name(source: str) -> str:
    """A run's name from its input: a file's stem, a folder's name, or that of a pattern's first folder."""
    from detect.media.image_paths import expanded

    path = expanded(source)
    if path.is_file():
        return path.stem
    while glob.has_magic(str(path)):
        path = path.parent
    return path.resolve().name or "run"


def read(paths: Sequence[Path]) -> tuple[list[tuple[Path, np.ndarray]], list[str]]:
    """The images that can be read, each with its path, and what is wrong with each of the others."""
    from detect.media.images import read_image

    images, broken = [], []
    for path in paths:
        try:
            images.append((path, read_image(path)))
        except MediaError as error:
            broken.append(str(error))
    return images, broken


def in_words(detections: Detections, class_names: ClassNames) -> str:
    """``2 balloon (0.98 0.61), 1 kite (0.77)``, best class first."""
    scores: dict[str, list[str]] = {}
    for label, score in zip(detections.labels.tolist(), detections.scores.tolist(), strict=True):
        scores.setdefault(class_names.name(label), []).append(f"{score:.2f}")
    words = []
    for name, its in scores.items():
        more = " ..." if len(its) > MOST_SCORES else ""
        words.append(f"{len(its)} {name} ({' '.join(its[:MOST_SCORES])}{more})")
    return ", ".join(words) or "nothing found"
