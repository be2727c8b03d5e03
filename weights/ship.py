"""Turn the checkpoint of a training run into the bundled model:

    python weights/ship.py outputs/train/NAME/best.safetensors weights/balloon.safetensors

The bundled file has half-precision weights and does not contain the paths of the machine that trained it. The list of
training images is copied to the folder of the target.
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

MAX_BYTES = 20_000_000  # everyone who clones the repository downloads the file
LOCAL_SETTINGS = ("data", "data_root", "output_dir", "name", "resume", "quiet", "device", "workers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="checkpoint of a training run", metavar="CHECKPOINT")
    parser.add_argument("target", type=Path, help="file to write", metavar="OUT.safetensors")
    arguments = parser.parse_args()

    from detect.data.digests import copy_digests
    from detect.models import checkpoint

    source, target = arguments.source, arguments.target
    trained = checkpoint.load(source)
    settings = {k: v for k, v in trained.training.items() if k not in LOCAL_SETTINGS}
    for key in ("pretrained", "backgrounds"):
        if settings.get(key):
            settings[key] = Path(urlsplit(settings[key]).path).name  # without the query, which may hold a secret
    content = checkpoint.to_bytes(checkpoint.to_half(replace(trained, training=settings, fast={})))
    size = len(content) / 1e6
    if len(content) > MAX_BYTES:
        raise UsageError(f"{source}: the bundled file would have {size:.1f} MB; the limit is {MAX_BYTES / 1e6:.0f} MB")
    write_bytes(target, content)
    copy_digests(source, target)
    print(f"{target}: {size:.1f} MB")


if __name__ == "__main__":
    sys.exit(exit_status(main))
