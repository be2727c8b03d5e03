"""Time and memory of detect_image.py without the model, which is replaced by fixed results.

    python -m benchmarks.many_images [NUMBER]

NUMBER: of images, 320 x 240 JPEG; 10,000 by default, which takes a few minutes and 1 GB of the disk.

Prints a Markdown table: for each output the images per second, and the memory of the process (resident set size) after
a tenth of the images and after all of them. Linux only.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.processes import in_new_process
from benchmarks.report import machine, table
from detect.inference.annotate_images import annotate_images
from detect.inference.tiling import Tiling
from detect.runtime import configure_process
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_size import InputSize

HW = (240, 320)
VARIANTS = {
    "none (`.detections.jsonl` only)": ([], False),
    "annotated copies": ([], True),
    "annotated copies, JSON, CSV, COCO": (["json", "csv", "coco"], True),
    "crops": (["crops"], False),
    "labels for YOLO": (["labels_yolo"], False),
}


class FixedPredictor:
    """Returns the same two detections with masks for every image."""

    class_names = ClassNames(("balloon",))
    class_thresholds = {"balloon": 0.5}  # noqa: RUF012 - like an attribute of Predictor
    imgsz, max_detections, proposals, nms, one_label_per_object, tile = 240, 100, None, 0.5, False, None
    training_shrink, training_object_side, precision, name, path = 1.0, None, "fp32", "fixed", None
    tiling = Tiling(tile, InputSize(imgsz, 2 * imgsz), training_shrink)

    def __init__(self) -> None:
        y, x = np.mgrid[: HW[0], : HW[1]]
        rles = [masks.from_bitmap(((x - cx) / 40) ** 2 + ((y - 120) / 60) ** 2 < 1) for cx in (90, 220)]
        boxes = np.array([masks.box(rle) for rle in rles])
        scores, labels = np.array([0.9, 0.8], np.float32), np.ones(2, np.int64)
        self._found = Detections(HW, boxes, scores, labels, rles, class_names=self.class_names)

    def predict_batch(self, images: Sequence[np.ndarray], labels: Sequence[int] | None = None) -> list[Detections]:
        return [self._found for _ in images]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rows = []
    with tempfile.TemporaryDirectory(prefix="many_images") as folder:
        paths = write_images(Path(folder, "in"), count)
        for name, (formats, annotated) in VARIANTS.items():
            values = in_new_process(measure, paths, formats, annotated, task="the measurement", lower="NUMBER")
            rows.append([name, *(f"{value:.0f}" for value in values)])
    print(machine(torch.device("cpu")))
    print(table(["outputs", "images/s", f"MB after {count // 10:,}", f"MB after {count:,}"], rows))


def write_images(folder: Path, count: int) -> list[Path]:
    """Write ``count`` JPEG files, of which every hundredth is equal, and return their paths."""
    folder.mkdir()
    sources = [Image.open(path).convert("RGB").resize(HW[::-1]) for path in sorted(Path("input").glob("*.jpg"))]
    paths = [folder / f"{number:06}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if number < 100:
            sources[number % len(sources)].rotate(number).save(path, quality=90)
        else:
            os.link(paths[number % 100], path)
    return paths


def measure(paths: list[Path], formats: list[str], annotated: bool) -> tuple[float, float, float]:
    """Return images per second, and the memory in MB after a tenth of the images and after all."""
    configure_process()
    memory = []
    with tempfile.TemporaryDirectory(prefix="many_images", dir=paths[0].parent.parent) as folder:
        start = time.perf_counter()
        results = annotate_images(FixedPredictor(), paths, Path(folder), formats=formats, annotated=annotated)  # type: ignore[arg-type]
        for number, _ in enumerate(results, start=1):
            if number in (len(paths) // 10, len(paths)):
                memory.append(resident_megabytes())
        seconds = time.perf_counter() - start
        memory[-1] = max(memory[-1], resident_megabytes())  # also after the files about all images are written
    return len(paths) / seconds, memory[0], memory[-1]


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
