"""Turn checkpoints of training runs into the bundled model:

    python weights/ship.py outputs/train/NAME/best.safetensors weights/balloon.safetensors

The bundled file has half-precision weights and does not contain the paths of the machine that trained it. The settings
and the list of training images are those of the first checkpoint; the list is copied to the folder of the target.

The weights of several checkpoints are averaged (model soup, Wortsman et al., https://arxiv.org/abs/2203.05482), which
suits runs that continue the same model.

--score S changes all scores so that S becomes 0.5, the default threshold: a constant is added to the logit of the
background. The order of detections stays the same.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detect.cli.exit_status import exit_status
from detect.errors import UsageError
from detect.io.files import write_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from detect.models.checkpoint import Checkpoint

MAX_BYTES = 20_000_000  # everyone who clones the repository downloads the file
BACKGROUND_BIAS = "roi_heads.box_predictor.cls_score.bias"  # its first number
LOCAL_SETTINGS = ("data", "data_root", "output_dir", "name", "resume", "quiet", "device", "workers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+", help="checkpoints of training runs", metavar="CHECKPOINT")
    parser.add_argument("target", type=Path, help="file to write", metavar="OUT.safetensors")
    parser.add_argument("--score", type=float, default=0.5, help="score that becomes 0.5 (default: 0.5)", metavar="S")
    arguments = parser.parse_args()
    if not 0 < arguments.score < 1:
        raise UsageError(f"--score {arguments.score:g}: must be between 0 and 1")

    from detect.data.digests import copy_digests
    from detect.models import checkpoint

    source, target = arguments.sources[0], arguments.target
    trained = average([checkpoint.load(path) for path in arguments.sources])
    settings = {k: v for k, v in trained.training.items() if k not in LOCAL_SETTINGS}
    for key in ("pretrained", "backgrounds"):
        if settings.get(key):
            settings[key] = Path(urlsplit(settings[key]).path).name  # without the query, which may hold a secret
    state = moved_scores(trained.state, arguments.score) if arguments.score != 0.5 else trained.state
    shipped = replace(trained, state=state, training=settings, fast={})
    content = checkpoint.to_bytes(checkpoint.to_half(shipped))
    size = len(content) / 1e6
    if len(content) > MAX_BYTES:
        raise UsageError(f"{source}: the bundled file would have {size:.1f} MB; the limit is {MAX_BYTES / 1e6:.0f} MB")
    write_bytes(target, content)
    copy_digests(source, target)
    print(f"{target}: {size:.1f} MB")


def moved_scores(state: dict[str, Tensor], score: float) -> dict[str, Tensor]:
    """Return the weights of an R-CNN with another background logit, so that ``score`` becomes 0.5.

    Raises UsageError for weights of another kind of model.
    """
    if BACKGROUND_BIAS not in state:
        raise UsageError(f"--score needs a Faster or Mask R-CNN; this model has no {BACKGROUND_BIAS}")
    bias = state[BACKGROUND_BIAS].clone()
    bias[0] += math.log(score / (1 - score))
    return {**state, BACKGROUND_BIAS: bias}


def average(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Return the first of the checkpoints with the mean of the weights of all.

    Raises UsageError for weights of other names or shapes, and for other training images, since the shipped list would
    lack them.
    """
    first, *_ = checkpoints
    if any(one.data.get("train_digest") != first.data.get("train_digest") for one in checkpoints):
        raise UsageError("the checkpoints were trained on different images, and the list has those of the first only")
    shapes = [{name: tensor.shape for name, tensor in one.state.items()} for one in checkpoints]
    if any(one != shapes[0] for one in shapes):
        raise UsageError("the checkpoints have weights of different names or shapes; only runs of one model fit")
    state = {
        name: sum(one.state[name].float() for one in checkpoints) / len(checkpoints)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in first.state.items()
    }
    return replace(first, state=state)


if __name__ == "__main__":
    sys.exit(exit_status(main))
