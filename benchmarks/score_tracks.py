"""Score tracks against ground truth with trackeval, which is no dependency: HOTA, IDF1, MOTA and identity switches.

    python -m venv env && env/bin/pip install trackeval
    env/bin/python benchmarks/score_tracks.py GROUND_TRUTH.json VIDEO.jsonl

GROUND_TRUTH.json: COCO file with a ``frame`` for each image and a ``track_id`` for each annotation, such as
    input/balloons.json.
VIDEO.jsonl: what ``detect_video.py --track --save-json`` writes.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from trackeval import metrics

Frames = list[list[tuple[int, list[float]]]]  # for each frame the objects: number, box xyxy


def main() -> None:
    ground_truth, tracks = read_ground_truth(Path(sys.argv[1])), read_tracks(Path(sys.argv[2]))
    data = prepared(ground_truth, tracks)
    with contextlib.redirect_stdout(io.StringIO()):  # trackeval prints its settings
        hota, clear, identity = (one().eval_sequence(data) for one in (metrics.HOTA, metrics.CLEAR, metrics.Identity))
    print(f"HOTA {100 * hota['HOTA'].mean():.1f}, of detection {100 * hota['DetA'].mean():.1f},"
          f" of association {100 * hota['AssA'].mean():.1f}; IDF1 {100 * identity['IDF1']:.1f};"
          f" MOTA {100 * clear['MOTA']:.1f}; {clear['IDSW']:.0f} identity switches;"
          f" {data['num_tracker_ids']} tracks of {data['num_gt_ids']} objects;"
          f" {clear['CLR_FP']:.0f} false positives, {clear['CLR_FN']:.0f} false negatives")  # fmt: skip


def read_ground_truth(path: Path) -> Frames:
    document = json.loads(path.read_text(encoding="utf-8"))
    frame_of = {image["id"]: image["frame"] for image in document["images"]}
    frames: Frames = [[] for _ in frame_of]
    for one in document["annotations"]:
        x, y, width, height = one["bbox"]
        frames[frame_of[one["image_id"]]].append((one["track_id"], [x, y, x + width, y + height]))
    return frames


def read_tracks(path: Path) -> Frames:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [[(one["track_id"], one["box_xyxy"]) for one in row["detections"]] for row in rows]


def prepared(ground_truth: Frames, tracks: Frames) -> dict[str, Any]:
    """Return the input of trackeval's metrics: numbers from 0 without gaps, and the IoU of all pairs in each frame."""
    assert len(ground_truth) == len(tracks), "the video and its ground truth have different lengths"
    data: dict[str, Any] = {"num_timesteps": len(tracks), "similarity_scores": []}
    for name, frames in (("gt", ground_truth), ("tracker", tracks)):
        index = {number: i for i, number in enumerate(sorted({number for frame in frames for number, _ in frame}))}
        data[f"{name}_ids"] = [np.array([index[number] for number, _ in frame], int) for frame in frames]
        data[f"num_{name}_ids"], data[f"num_{name}_dets"] = len(index), sum(map(len, frames))
    for a, b in zip(ground_truth, tracks, strict=True):
        data["similarity_scores"].append(
            overlaps(*(np.array([box for _, box in one]).reshape(-1, 4) for one in (a, b)))
        )
    return data


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU of each box of ``a`` [A, 4] with each of ``b`` [B, 4], xyxy."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    intersection = sides.clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    return intersection / (np.add.outer(*areas) - intersection)


if __name__ == "__main__":
    main()
