"""Turn a training run's checkpoint into the bundled model:

    python weights/ship.py outputs/train/NAME/best.safetensors weights/balloon.safetensors

The same weights in half precision, and a header without the folders of the machine that trained it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detect.cli.exit_status import exit_status
from detect.errors import UsageError
from detect.io.files import write_bytes

LARGEST = 20_000_000  # bytes, since everyone who clones the project fetches it
LOCAL = ("data", "data_root", "output_dir", "name", "resume", "quiet", "device", "workers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the checkpoint of a run", metavar="CHECKPOINT")
    parser.add_argument("target", type=Path, help="the file to bundle", metavar="OUT.safetensors")
    arguments = parser.parse_args()

    from detect.models import checkpoint

    source, target = arguments.source, arguments.target
    trained = checkpoint.load(source)
    settings = {k: v for k, v in trained.training.items() if k not in LOCAL}
    for key in ("pretrained", "backgrounds"):
        if settings.get(key):
            settings[key] = Path(urlsplit(settings[key]).path).name  # no query: it may be a key
    content = checkpoint.to_bytes(checkpoint.to_half(replace(trained, training=settings)))
    size = len(content) / 1e6
    if len(content) > LARGEST:
        raise UsageError(f"{source} would ship as {size:.1f} MB; at most {LARGEST / 1e6:.0f} MB are bundled")
    write_bytes(target, content)
    print(f"{target}: {size:.1f} MB")


if __name__ == "__main__":
    sys.exit(exit_status(main))
