"""Demo of the toolkit: detection in images and a video, and a short fine-tune, all offline. ``make demo`` runs it.

Each step is a command that you can run yourself; it is printed before it runs. At the end the detections in a rendered
image are compared with its ground truth; the demo fails if fewer than 8 of its 10 balloons are detected.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from detect.cli.exit_status import exit_status
from detect.cli.version import versions
from detect.structures import masks
from detect.text import counted

OUT = Path("outputs/demo")
GROUND_TRUTH = Path("input/balloons_1.json")
MIN_DETECTED = 8

STEPS = {
    "Detect balloons in images with the bundled model": [
        "detect_image.py --model balloon --input input --save-json --output-dir outputs/demo --name images",
    ],
    "Detect balloons in the first 3 seconds of a video": [
        "detect_video.py --model balloon --input input/balloons.mp4 --max-frames 72 --stride 2 --imgsz 360"
        " --output-dir outputs/demo --name video",
    ],
    "Fine-tune the model for 2 epochs on rendered images, and evaluate it on the test split": [
        "train.py --backbone mobilenet_v2 --data sample --pretrained balloon --epochs 2"
        " --imgsz 320 --batch-size 4 --output-dir outputs/demo --name train",
        "evaluate.py --model outputs/demo/train/best.safetensors --data sample --split test"
        " --output-dir outputs/demo --name evaluate",
    ],
}


def main() -> None:
    """Run the steps and compare the detections with the ground truth."""
    parser = argparse.ArgumentParser(description="Demo of the toolkit in three steps, without a network.")
    parser.add_argument("--version", action="version", version=versions())
    parser.parse_args()
    shutil.rmtree(OUT, ignore_errors=True)  # otherwise a second demo would write into numbered folders
    started = time.monotonic()
    for number, (title, commands) in enumerate(STEPS.items(), start=1):
        print(f"\n[{number}/{len(STEPS)}] {title}")
        for command in commands:
            print(f"$ python {command}", flush=True)
            status = subprocess.run([sys.executable, *shlex.split(command)], check=False).returncode
            if status:
                sys.exit(status)

    detected, total, false_positives = compare(GROUND_TRUTH, OUT / "images" / "detections.json")
    minutes = (time.monotonic() - started) / 60
    image = GROUND_TRUTH.with_suffix(".jpg")
    print(f"\n{image}: {detected} of {total} balloons detected, {counted(false_positives, 'false positive')}.")
    print(f"The demo took {minutes:.1f} minutes. It wrote")
    print(f"  {OUT}/images/                 the images of input/ with detections drawn, and detections.json")
    print(f"  {OUT}/video/balloons.mp4        the video with detections drawn")
    print(f"  {OUT}/train/best.safetensors    your first fine-tuned model")
    print(f"  {OUT}/evaluate/metrics.json     its COCO metrics on the test split")
    print("Next: python detect_image.py --input YOUR_IMAGE.jpg")
    print("      python train.py --backbone mobilenet_v2        (a longer training, from ImageNet weights)")
    if detected < MIN_DETECTED:
        sys.exit(
            f"only {detected} of {total} balloons detected, expected at least {MIN_DETECTED}; check the installation"
        )


def compare(ground_truth: Path, detections: Path, iou: float = 0.5) -> tuple[int, int, int]:
    """Return the number of detected objects of a COCO file, of all its objects, and of false positives.

    ground_truth: COCO file of one image.  detections: detections.json of detect_image.py.
    iou: minimum mask IoU of a match; detections are matched in order of descending score, as in COCO.
    """
    content = json.loads(ground_truth.read_text())
    name = Path(content["images"][0]["file_name"]).name
    wanted = [annotation["segmentation"] for annotation in content["annotations"]]
    images = json.loads(detections.read_text())["images"]
    (detected,) = (entry["detections"] for entry in images if Path(entry["source"]).name == name)
    overlaps = masks.iou([d["segmentation"] for d in detected], wanted)
    free = set(range(len(wanted)))
    for row in overlaps:
        best = max(free, key=lambda i: row[i], default=None)
        if best is not None and row[best] >= iou:
            free.remove(best)
    hits = len(wanted) - len(free)
    return hits, len(wanted), len(detected) - hits


if __name__ == "__main__":
    sys.exit(exit_status(main))
