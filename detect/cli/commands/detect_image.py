"""Detect objects in images and save annotated copies."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from detect.cli.flags import parse
from detect.cli.settings.detection import DetectImageSettings
from detect.cli.startup import start_program
from detect.errors import DiskError, MediaError
from detect.models.zoo import BUNDLED
from detect.text import counted


def main() -> None:
    settings, _ = parse(DetectImageSettings, "Detect objects in images and save annotated copies.")

    # Imported late so that --help and errors in flags and paths come before the seconds that torch takes to load.
    from detect.io.files import make_folder, new_run_folder
    from detect.media.image_paths import find_all_images, shown

    paths = find_all_images(settings.input)
    make_folder(settings.output_dir)

    from detect.inference.annotate import UnreadableImage, annotate_images
    from detect.inference.load import load_model

    start_program(settings.quiet)
    predictor = load_model(settings.model, **settings.model_settings())
    images, objects, unreadable = 0, 0, []
    started = time.perf_counter()
    with new_run_folder(settings.output_dir, settings.name or run_name(settings.input, paths)) as folder:
        try:
            annotated = annotate_images(
                predictor,
                paths,
                folder,
                classes=settings.classes,
                batch_size=settings.batch_size,
                formats=settings.formats,
                rescale_16bit=settings.gray_range,
            )
            with closing(annotated) as results:
                for result in results:
                    if isinstance(result, UnreadableImage):
                        unreadable.append(result.reason)
                        continue
                    images, objects = images + 1, objects + len(result.detections)
                    if not settings.quiet:
                        print(
                            f"{shown(result.path)}: {result.detections.summary()} -> {shown(result.output)}",
                            flush=True,
                        )
        except DiskError as error:
            raise DiskError(f"{error}; {images} of {len(paths)} images are finished and kept") from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped after {images} of {len(paths)} images, which are kept") from None

    seconds = time.perf_counter() - started
    if images:
        print(f"{counted(images, 'image')}, {counted(objects, 'object')}, {seconds:.1f} s -> {shown(folder)}")
    if images and not objects and settings.model in BUNDLED:
        names = ", ".join(predictor.class_names.names)
        print(f"--model {settings.model} only detects {names}; --model v2 detects the 80 classes of COCO")
    if unreadable:
        if len(paths) == 1:
            raise MediaError(unreadable[0])
        lines = "".join(f"\n  {line}" for line in unreadable)
        raise MediaError(f"{len(unreadable)} of {len(paths)} images could not be read:{lines}")


def run_name(sources: Sequence[str], paths: Sequence[Path]) -> str:
    """Return the default name of a run: the stem of a single input file, else the name of the folder of all images."""
    if len(sources) == len(paths) == 1 and paths[0].name in sources[0]:  # not in a folder or a pattern
        return paths[0].stem
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths]  # noqa: PTH100, PTH120 - keeps links
    return Path(os.path.commonpath(folders)).name or "run"
