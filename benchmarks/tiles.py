"""Small objects in a large image, with and without tiles (docs/inference.md).

    python -m benchmarks.tiles [MODEL]

MODEL: "balloon" by default.

Renders an image of 4000 x 3000 pixels with 300 balloons, 20 to 60 pixels wide, and prints a Markdown table: recall and
precision of the boxes at IoU 0.5 and at the model's score threshold, and the time of one call.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torchvision.ops import box_iou

from benchmarks.report import machine, table
from detect.data.synthetic.canvas import Image
from detect.data.synthetic.scene_backgrounds import meadow
from detect.data.synthetic.scenes import Placement, compose, light_for, make_balloons
from detect.inference.load import load_model
from detect.runtime import configure_process
from detect.structures import masks

HW = (3000, 4000)
COUNT = 300
RADII = (10, 30)  # pixels
MARGIN = 40  # pixels between the center of a balloon and the border of the image
VARIANTS = (None, "auto", 640, 960)


def main() -> None:
    configure_process()
    image = render()
    ground_truth = np.array([masks.box(one) for one in image.masks])
    name = sys.argv[1] if len(sys.argv) > 1 else "balloon"
    rows = []
    for tile in VARIANTS:
        predictor = load_model(name, device="cpu", tile=tile)
        predictor.predict_batch([image.image[:480, :480]])  # the first call is slower
        started = time.perf_counter()
        (found,) = predictor.predict_batch([image.image])
        seconds = time.perf_counter() - started
        recall, precision = recall_and_precision(found.boxes, ground_truth)
        passes = len(predictor.tiling.tiles(HW))
        rows.append(
            [str(tile or "none"), str(passes), str(len(found)), f"{recall:.3f}", f"{precision:.3f}", f"{seconds:.1f}"]
        )
    print(f"{len(ground_truth)} balloons; {machine(torch.device('cpu'))}\n")
    print(table(["tile", "forward passes", "detections", "recall", "precision", "s"], rows))


def render(seed: int = 0) -> Image:
    """Return the image. No balloon covers more than a corner of another one."""
    rng = np.random.default_rng(seed)
    canvas = meadow(rng, HW)
    placements: list[Placement] = []
    while len(placements) < COUNT:
        radius = float(rng.uniform(*RADII))
        x, y = rng.uniform(MARGIN, HW[1] - MARGIN), rng.uniform(MARGIN, HW[0] - MARGIN)
        if all(np.hypot(x - other.x, y - other.y) > 1.2 * (radius + other.radius) for other in placements):
            placements.append(Placement(float(x), float(y), radius, float(rng.normal(0, 0.25))))
    balloons = make_balloons(placements, rng, shadow=0.0)
    return compose(canvas, balloons, light_for(canvas, rng), rng)


def recall_and_precision(boxes: np.ndarray, ground_truth: np.ndarray, min_iou: float = 0.5) -> tuple[float, float]:
    """Return recall and precision. ``boxes``, float32 [N, 4] by descending score, choose an object in that order."""
    free = np.ones(len(ground_truth), bool)
    for ious in box_iou(torch.from_numpy(boxes), torch.from_numpy(ground_truth)).numpy():
        best = np.argmax(np.where(free, ious, 0))
        free[best] &= ious[best] < min_iou
    correct = int((~free).sum())
    return correct / len(ground_truth), correct / max(len(boxes), 1)


if __name__ == "__main__":
    main()
