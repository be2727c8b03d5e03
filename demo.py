"""What ``make demo`` shows: images, a video and a short fine-tune, all without a network.

Every step is a command that you can run yourself; it is printed before it runs. Ends with what was found against
the known ground truth of a rendered image, and fails where that is fewer than 8 of 10 balloons.
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
from detect.structures import masks

OUT = Path("outputs/demo")
GROUND_TRUTH = Path("input/balloons_1.json")
ENOUGH = 8

STEPS = {
    "Find balloons in images with the bundled model": [
        "detect_image.py --input input --save-json --output-dir outputs/demo --name images",
    ],
    "Find balloons in the first 3 seconds of a video": [
        "detect_video.py --input input/video_1.mp4 --max-frames 72 --stride 2 --imgsz 360"
        " --output-dir outputs/demo --name video",
    ],
    "Fine-tune it for 2 epochs on rendered images, and score the result on others": [
        "train.py --backbone mobilenet_v2 --data sample --pretrained balloon --epochs 2"
        " --imgsz 320 --batch-size 4 --output-dir outputs/demo --name train",
        "evaluate.py --model outputs/demo/train/best.safetensors --data sample --split test"
        " --output-dir outputs/demo --name evaluate",
    ],
}


def main() -> None:
    argparse.ArgumentParser(description="Show what the toolkit does, in three steps.").parse_args()
    shutil.rmtree(OUT, ignore_errors=True)  # its own folder, so that a second demo looks like the first
    started = time.monotonic()
    for number, (title, commands) in enumerate(STEPS.items(), start=1):
        print(f"\n[{number}/{len(STEPS)}] {title}")
        for command in commands:
            print(f"$ python {command}", flush=True)
            status = subprocess.run([sys.executable, *shlex.split(command)], check=False).returncode
            if status:
                sys.exit(status)

    found, there, extra = compare(GROUND_TRUTH, OUT / "images" / "detections.json")
    minutes = (time.monotonic() - started) / 60
    print(f"\nIn {GROUND_TRUTH.with_suffix('.jpg')} the bundled model found {found} of {there} balloons", end="")
    print(f", and {extra} that are none. The demo took {minutes:.1f} minutes. It wrote")
    print(f"  {OUT}/images/                 the images of input/ with what was found, and detections.json")
    print(f"  {OUT}/video/video_1.mp4         the video")
    print(f"  {OUT}/train/best.safetensors    your first fine-tuned model")
    print(f"  {OUT}/evaluate/metrics.json     its COCO metrics on images that it had not seen")
    print("Next: python detect_image.py --input YOUR_IMAGE.jpg")
    print("      python train.py --backbone mobilenet_v2        (a longer training, from ImageNet weights)")
    if found < ENOUGH:
        sys.exit(f"fewer than {ENOUGH} balloons were found: something is wrong with this installation")


def compare(ground_truth: Path, detections: Path, iou: float = 0.5) -> tuple[int, int, int]:
    """How many objects of a COCO file were found (mask IoU at least ``iou``), how many there are, and how many
    detections of its image match none."""
    content = json.loads(ground_truth.read_text())
    name = Path(content["images"][0]["file_name"]).name
    wanted = [annotation["segmentation"] for annotation in content["annotations"]]
    images = json.loads(detections.read_text())
    (found,) = (p["detections"] for p in images if Path(p["source"]).name == name)
    overlaps = masks.iou([d["segmentation"] for d in found], wanted)
    free = set(range(len(wanted)))
    for row in overlaps:  # best score first, as COCO matches
        best = max(free, key=lambda i: row[i], default=None)
        if best is not None and row[best] >= iou:
            free.remove(best)
    hits = len(wanted) - len(free)
    return hits, len(wanted), len(found) - hits


if __name__ == "__main__":
    sys.exit(exit_status(main))
