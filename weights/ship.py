"""Turn checkpoints of training runs into the bundled model:

    python weights/ship.py outputs/train/NAME/best.safetensors weights/balloon.safetensors

The bundled file has half-precision weights and does not contain the paths of the machine that trained it. The list of
training images is written to the folder of the target, without folders and without repetitions.

The weights of several checkpoints are averaged (model soup, Wortsman et al., https://arxiv.org/abs/2203.05482), which
suits runs that continue the same model. The settings are those of the first checkpoint; the list has the training
images of all.

--score S changes all scores so that S becomes 0.5, the default threshold, while 0.05, the lowest score that evaluation
counts, stays 0.05: all logits are multiplied by a number, and a constant is added to that of the
background. The model must have one class; the order of its detections and its AP stay the same.
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
CLASS_LAYER = "roi_heads.box_predictor.cls_score"  # its first output is the logit of the background
LOWEST_SCORE = 0.05
LOCAL_SETTINGS = ("data", "data_root", "output_dir", "name", "resume", "quiet", "device", "workers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+", help="checkpoints of training runs", metavar="CHECKPOINT")
    parser.add_argument("target", type=Path, help="file to write", metavar="OUT.safetensors")
    parser.add_argument("--score", type=float, default=0.5, help="score that becomes 0.5 (default: 0.5)", metavar="S")
    arguments = parser.parse_args()
    if not LOWEST_SCORE < arguments.score < 1:
        raise UsageError(f"--score {arguments.score:g}: must be between {LOWEST_SCORE:g} and 1")

    from detect.data.digests import TRAIN_IMAGES, dataset_digest, write_digests
    from detect.models import checkpoint

    target = arguments.target
    loaded = [checkpoint.load(path) for path in arguments.sources]
    trained, images = average(loaded), training_images(arguments.sources, loaded)
    settings = {k: v for k, v in trained.training.items() if k not in LOCAL_SETTINGS}
    for key in ("pretrained", "backgrounds"):
        if settings.get(key):
            settings[key] = Path(urlsplit(settings[key]).path).name  # without the query, which may hold a secret
    state = moved_scores(trained.state, arguments.score) if arguments.score != 0.5 else trained.state
    data = trained.data
    if images:
        data = {**data, "train_images": len(images), "train_digest": dataset_digest(images)}
    shipped = replace(trained, state=state, training=settings, data=data, fast={})
    content = checkpoint.to_bytes(checkpoint.to_half(shipped))
    size = len(content) / 1e6
    if len(content) > MAX_BYTES:
        raise UsageError(f"{target}: would have {size:.1f} MB; the limit is {MAX_BYTES / 1e6:.0f} MB")
    if images:
        write_digests(target.parent / TRAIN_IMAGES, [*images], [Path(name).name for name in images.values()])
    write_bytes(target, content)
    print(f"{target}: {size:.1f} MB")


def moved_scores(state: dict[str, Tensor], score: float) -> dict[str, Tensor]:
    """Return the weights of an R-CNN with a rescaled classification layer, so that ``score`` becomes 0.5.

    Raises UsageError for weights of another kind of model, or of a model of several classes.
    """
    if f"{CLASS_LAYER}.bias" not in state:
        raise UsageError(f"--score needs a Faster or Mask R-CNN; this model has no {CLASS_LAYER}")
    if (num_classes := len(state[f"{CLASS_LAYER}.bias"]) - 1) != 1:
        raise UsageError(f"--score needs a model of one class; this one has {num_classes}")
    factor = logit(LOWEST_SCORE) / (logit(LOWEST_SCORE) - logit(score))
    weight, bias = (state[f"{CLASS_LAYER}.{name}"] * factor for name in ("weight", "bias"))
    bias[0] += factor * logit(score)
    return {**state, f"{CLASS_LAYER}.weight": weight, f"{CLASS_LAYER}.bias": bias}


def logit(score: float) -> float:
    """Return the logit of a score between 0 and 1."""
    return math.log(score / (1 - score))


def average(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Return the first of the checkpoints with the mean of the weights of all.

    Raises UsageError for weights of other names or shapes.
    """
    first, *_ = checkpoints
    shapes = [{name: tensor.shape for name, tensor in one.state.items()} for one in checkpoints]
    if any(one != shapes[0] for one in shapes):
        raise UsageError(
            "the checkpoints have weights of different names or shapes; average only checkpoints of one architecture"
        )
    state = {
        name: sum(one.state[name].float() for one in checkpoints) / len(checkpoints)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in first.state.items()
    }
    return replace(first, state=state)


def training_images(paths: Sequence[Path], checkpoints: Sequence[Checkpoint]) -> dict[str, str]:
    """Return the digest and the name of each image that any of the checkpoints was trained on.

    Returns {} for a single checkpoint without ``train_digest``, one of an earlier version. Raises UsageError if a list
    is missing.
    """
    from detect.data.digests import TRAIN_IMAGES, read_images

    images: dict[str, str] = {}
    for path, one in zip(paths, checkpoints, strict=True):
        if (digest := one.data.get("train_digest")) is None and len(checkpoints) == 1:
            continue
        if not (found := read_images(path, digest or "")):
            raise UsageError(f"{path}: there is no {TRAIN_IMAGES} beside it with its training images")
        images |= found
    return images


if __name__ == "__main__":
    sys.exit(exit_status(main))
