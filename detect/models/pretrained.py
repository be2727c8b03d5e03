"""Where a model's weights come from: published files, files of the user's, the bundled model.

Names and shapes decide what is used; a report says how many tensors were and which were not. The rows of the heads
belong to classes, so they go over by class name and only where both sides know the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from detect import checkpoint
from detect.downloads import fetch
from detect.errors import CheckpointError, FetchError, UsageError, first_few, warn
from detect.models.architecture import Architecture
from detect.models.backbones import build_trunk
from detect.models.detectors import build
from detect.models.norms import set_norms
from detect.models.zoo import BACKBONES, BUNDLED, DETECTORS
from detect.types import ClassNames

PROJECT = Path(__file__).resolve().parents[2]
OFFLINE_HINT = "`--model balloon` works offline"
_COUNTER = "num_batches_tracked"  # of a BatchNorm2d, which nothing here depends on
# The tensors whose first axis runs over classes (boxes: 4 numbers a class), with background as class 0.
_ROWS = {
    "roi_heads.box_predictor.cls_score.": 1,
    "roi_heads.box_predictor.bbox_pred.": 4,
    "roi_heads.mask_predictor.mask_fcn_logits.": 1,
}
# torchvision renames these while it loads, in each module's _load_from_state_dict.
_NEW_NAMES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)", lambda m: f"{m[1]}.0.{m[2]}"),
    (r"rpn\.head\.conv\.(weight|bias)", lambda m: f"rpn.head.conv.0.0.{m[1]}"),
    (r"roi_heads\.mask_head\.mask_fcn(\d+)\.(weight|bias)", lambda m: f"roi_heads.mask_head.{int(m[1]) - 1}.0.{m[2]}"),
)


@dataclass(frozen=True)
class Weights:
    """A file's tensors, and whose classes its heads know (None where it does not say)."""

    source: str
    state: dict[str, Tensor]
    class_names: ClassNames | None = None
    class_rows: tuple[int, ...] | None = None
    norm_eps: float | None = None

    @property
    def is_detector(self) -> bool:
        """Whether the file holds more than a trunk."""
        return any(name.startswith(("backbone.", "rpn.", "roi_heads.")) for name in self.state)


def bundled(name: str) -> Path:
    """The file of a bundled model."""
    return PROJECT / BUNDLED[name]


def coco_classes(weights: str) -> tuple[ClassNames, tuple[int, ...]]:
    """The 80 classes of torchvision's COCO weights and the rows of the 91-row head that score them."""
    categories = torchvision.models.get_weight(weights).meta["categories"]
    rows = tuple(i for i, name in enumerate(categories) if name not in ("__background__", "N/A"))
    return ClassNames(tuple(categories[i] for i in rows), rows), rows


def published_detector(name: str) -> Weights:
    """torchvision's COCO weights of a line of DETECTORS, fetched when not there yet. Raises FetchError."""
    line = DETECTORS[name]
    path = fetch(torchvision.models.get_weight(line.weights).url, hint=OFFLINE_HINT)
    class_names, class_rows = coco_classes(line.weights)
    return replace(read(path), class_names=class_names, class_rows=class_rows)


def choose(name: str, pretrained: str) -> Weights | None:
    """What ``--pretrained auto|none|balloon|FILE`` means for a backbone or detector; None for random weights.

    Raises FetchError when published weights cannot be reached, but for mobilenet_v2, which goes on from the bundled
    model's trunk.
    """
    if pretrained == "none":
        return None
    if pretrained in BUNDLED:
        return read(bundled(pretrained))
    if pretrained != "auto":
        return read(Path(pretrained))
    if name in DETECTORS:
        return published_detector(name)
    published = BACKBONES[name].weights
    if published is None:
        warn(f"no published weights for {name}: training from scratch; --pretrained FILE starts from a file of yours")
        return None
    try:
        hint = f"{OFFLINE_HINT}; --pretrained none trains from scratch"
        return read(fetch(torchvision.models.get_weight(published).url, hint=hint))
    except FetchError as error:
        if name != "mobilenet_v2" or not bundled("balloon").is_file():
            raise
        warn(f"{error}. Going on from the bundled balloon model's trunk instead of ImageNet's")
        weights = read(bundled("balloon"))
        trunk = {k: t for k, t in weights.state.items() if k.startswith("backbone.body.")}
        return Weights(f"the trunk of {weights.source}", trunk, norm_eps=weights.norm_eps)


def read(path: Path) -> Weights:
    """The tensors of a .safetensors file or, without running code from it, of a .pth file."""
    if not path.is_file():
        raise UsageError(f"--pretrained {path}: no such file; known besides files are auto, none and balloon")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                is_ours = "detect" in (file.metadata() or {})
                state = {} if is_ours else {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is not a .safetensors file: {error}") from None
        if not is_ours:
            return Weights(str(path), state)
        ours = checkpoint.load(path)
        return Weights(str(path), ours.state, ours.class_names, ours.class_rows, ours.architecture["norm_eps"])
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise CheckpointError(
            f"{path} is not a file of weights: neither .safetensors nor a .pth of tensors alone"
        ) from error
    while isinstance(content, dict) and not any(isinstance(v, Tensor) for v in content.values()):
        inner = next((content[k] for k in ("model", "state_dict", "model_state_dict") if k in content), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not any(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds no dict of tensors")
    return Weights(str(path), {k.removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)})


def start_model(
    architecture: Architecture, class_names: ClassNames, weights: Weights | None
) -> tuple[GeneralizedRCNN, Architecture, str]:
    """The model that training starts from, its final Architecture, and a line that says what was used.

    Norms are frozen where their statistics come with the weights, and never where they are random.
    """
    num_rows = len(class_names) + 1
    if weights is None:
        architecture = replace(architecture, norm="batch", norm_eps=1e-5)
        return build(architecture, num_rows), architecture, "random weights"
    eps = weights.norm_eps
    if eps is None:  # a trunk alone was trained with the usual one, whatever the detector's line says
        eps = architecture.norm_eps if weights.is_detector else 1e-5
    model = build(replace(architecture, norm="batch"), num_rows)
    offered = _rename(weights, architecture.model)
    if weights.class_names is not None:
        state = _rows_by_name(offered, model, weights, class_names)
    else:
        state = {k: t for k, t in offered.items() if not k.startswith(tuple(_ROWS))}
    used = load_matching(model, state, weights.source)
    words = f"{weights.source}: {_in_words(offered, used, weights, class_names)}"
    architecture = replace(architecture, norm=_norm(model, state), norm_eps=eps)
    set_norms(model, architecture.norm, eps)
    return model, architecture, words


def load_matching(model: nn.Module, state: dict[str, Tensor], source: str) -> set[str]:
    """Load the tensors whose name and shape the model knows; returns their names.

    Raises CheckpointError where nothing of the trunk fits, and warns where something of it is missing.
    """
    used = _fitting(model, state)
    if not any(k.startswith("backbone.body.") for k in used):
        raise CheckpointError(f"{source}: none of its {len(state)} tensors fits this model's trunk")
    model.load_state_dict({k: state[k] for k in used}, strict=False)
    trunk = [k for k in model.state_dict() if k.startswith("backbone.body.") and not k.endswith(_COUNTER)]
    missing = [k for k in trunk if k not in used]
    if missing:
        warn(f"{source}: {len(missing)} of {len(trunk)} tensors of the trunk are not in it: {first_few(missing, 3)}")
    return used


def _in_words(offered: dict[str, Tensor], used: set[str], weights: Weights, class_names: ClassNames) -> str:
    """How many of the file's tensors are used and which are not, and for which classes the heads are new."""
    unused = [k for k in offered if k not in used and not k.endswith(_COUNTER)]
    words = f"{len(offered) - len(unused)} of its {len(offered)} tensors used"
    if unused:
        words += f"; not used: {first_few(unused, 4)}"
    known = weights.class_names.names if weights.class_names else ()
    if new := [name for name in class_names.names if name not in known]:
        words += f"; new for {first_few(new)}"
    return words


def _fitting(model: nn.Module, state: dict[str, Tensor]) -> set[str]:
    """The names in ``state`` that the model has, in the same shape."""
    own = model.state_dict()
    return {k for k, t in state.items() if k in own and own[k].shape == t.shape}


def _norm(model: nn.Module, state: dict[str, Tensor]) -> str:
    """The kind of norms (in norms.NORMS) of a model whose statistics came from ``state`` as far as they fit."""
    random = {k for k in model.state_dict() if k.endswith(".running_var")} - _fitting(model, state)
    if not random:
        return "frozen"
    return "batch" if any(k.startswith("backbone.body.") for k in random) else "frozen_trunk"


def _rename(weights: Weights, name: str) -> dict[str, Tensor]:
    """Names as the detector has them now. A trunk's go by the trunk's own module, which has the published ones."""
    if weights.is_detector:
        return {_new_name(k): t for k, t in weights.state.items()}
    trunk = build_trunk(name if name in BACKBONES else "resnet50")
    # The published names and the detector's lead to the same tensor, so its address joins them.
    places = {t.data_ptr(): k for k, t in nn.Sequential(trunk.layers).state_dict().items()}
    names = {k: f"backbone.body.{places[t.data_ptr()]}" for k, t in trunk.module.state_dict().items()}
    plain = {k.removeprefix(trunk.prefix): t for k, t in weights.state.items()}
    return {names.get(k, k): t for k, t in plain.items()}


def _new_name(name: str) -> str:
    """The name since torchvision 0.13 of a tensor in a file from before, as its published v1 detectors are."""
    for pattern, new in _NEW_NAMES:
        if found := re.fullmatch(pattern, name):
            return new(found)
    return name


def _rows_by_name(
    state: dict[str, Tensor], model: nn.Module, weights: Weights, class_names: ClassNames
) -> dict[str, Tensor]:
    """Heads with one row a class of ``class_names``: the file's where it knows the name, the model's own where not."""
    assert weights.class_names is not None
    rows = weights.class_rows or range(1, len(weights.class_names) + 1)
    row_of = dict(zip(weights.class_names.names, rows, strict=True))
    pairs = [(0, 0)] + [(new, row_of[n]) for new, n in enumerate(class_names.names, start=1) if n in row_of]
    own = model.state_dict()
    out = dict(state)
    for prefix, width in _ROWS.items():
        for key in [k for k in state if k.startswith(prefix)]:
            if key not in own or own[key].shape[1:] != state[key].shape[1:] or len(pairs) == 1:
                del out[key]
                continue
            head = own[key].clone()
            for new, old in pairs:
                head[new * width : (new + 1) * width] = state[key][old * width : (old + 1) * width]
            out[key] = head
    return out
