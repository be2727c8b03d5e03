"""Turn a training run's checkpoint into the bundled model:

    python weights/ship.py outputs/train/NAME/best.safetensors weights/balloon.safetensors

The same weights in half precision, and a header without the folders of the machine that trained it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detect.errors import UsageError, exit_status
from detect.files import replacing

LARGEST = 20_000_000  # bytes, since everyone who clones the project fetches it
LOCAL = ("data_root", "output_dir", "name", "resume", "quiet", "device", "workers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the checkpoint of a run", metavar="CHECKPOINT")
    parser.add_argument("target", type=Path, help="the file to bundle", metavar="OUT.safetensors")
    arguments = parser.parse_args()

    from detect import checkpoint

    source, target = arguments.source, arguments.target
    trained = checkpoint.load(source)
    settings = {k: v for k, v in trained.training.items() if k not in LOCAL}
    settings["pretrained"] = Path(settings["pretrained"]).name
    with replacing(target) as temporary:
        checkpoint.save(checkpoint.to_half(replace(trained, training=settings)), temporary)
        size = temporary.stat().st_size
        if size > LARGEST:
            raise UsageError(f"{source} would ship as {size / 1e6:.1f} MB; at most {LARGEST / 1e6:.0f} MB are bundled")
    print(f"{target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(exit_status(main))
