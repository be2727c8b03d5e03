"""Where a model's weights come from: published files, files and links of the user's, the bundled model.

Names and shapes decide what is used; a report says how many tensors were and which were not. The rows of the heads
belong to classes, so they go over by class name and only where both sides know the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torchvision
from torch import Tensor, nn

from detect.errors import CheckpointError, FetchError
from detect.io.downloads import fetch
from detect.io.links import fetch_link, is_link, naming_origin
from detect.models.architecture import Architecture
from detect.models.backbones import Backbone, build_backbone, from_timm
from detect.models.builder import Detector, build
from detect.models.imagenet import PUBLISHED, BackboneWeights
from detect.models.norms import set_norms
from detect.models.weights import Weights, read
from detect.models.zoo import BACKBONES, BUNDLED, DETECTORS, TIMM
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.text import first_few

PROJECT = Path(__file__).resolve().parents[2]
OFFLINE_HINT = "`--model balloon` works offline"
NO_WEIGHTS_HINT = "`--backbone mobilenet_v2 --pretrained balloon` works offline; --pretrained none trains from scratch"
_LEAST_EPS = 1e-5  # of norms that learn, torch's own
_COUNTER = "num_batches_tracked"  # of a BatchNorm2d, which nothing here depends on
# The tensors whose first axis runs over classes (boxes: 4 numbers a class), with background as class 0; one-stage
# heads repeat them for each anchor.
_ROWS = {
    "roi_heads.box_predictor.cls_score.": 1,
    "roi_heads.box_predictor.bbox_pred.": 4,
    "roi_heads.mask_predictor.mask_fcn_logits.": 1,
    "head.classification_head.cls_logits.": 1,
}
# torchvision renames these while it loads, in each module's _load_from_state_dict. The last is RetinaNet's.
_NEW_NAMES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)", lambda m: f"{m[1]}.0.{m[2]}"),
    (r"rpn\.head\.conv\.(weight|bias)", lambda m: f"rpn.head.conv.0.0.{m[1]}"),
    (r"roi_heads\.mask_head\.mask_fcn(\d+)\.(weight|bias)", lambda m: f"roi_heads.mask_head.{int(m[1]) - 1}.0.{m[2]}"),
    (r"(head\.\w+_head\.conv)\.([0246])\.(weight|bias)", lambda m: f"{m[1]}.{int(m[2]) // 2}.0.{m[3]}"),
)


def bundled(name: str) -> Path:
    """The file of a bundled model."""
    return PROJECT / BUNDLED[name]


def coco_classes(weights: str) -> tuple[ClassNames, tuple[int, ...]]:
    """The classes of torchvision's COCO weights, 80 or the person alone, and the rows of the head that score them."""
    categories = torchvision.models.get_weight(weights).meta["categories"]
    rows = tuple(i for i, name in enumerate(categories) if i > 0 and name != "N/A")  # row 0 is background
    return ClassNames(tuple(categories[i] for i in rows), rows), rows


def published_detector(name: str, hint: str = OFFLINE_HINT) -> Weights:
    """torchvision's COCO weights of a line of DETECTORS, fetched when not there yet. Raises FetchError, whose message
    ends with ``hint``."""
    line = DETECTORS[name]
    path = fetch(torchvision.models.get_weight(line.weights).url, hint=hint)
    class_names, class_rows = coco_classes(line.weights)
    return replace(read(path), class_names=class_names, class_rows=class_rows, head=line.head)


def choose(name: str, pretrained: str) -> Weights | None:
    """What ``--pretrained auto|none|balloon|FILE|URL`` means for a backbone or detector; None for random weights.

    Raises FetchError when published weights or a link cannot be reached, but for mobilenet_v2, which goes on from the
    bundled model's backbone; CheckpointError and UsageError for a file that is none.
    """
    if pretrained == "none":
        return None
    if pretrained in BUNDLED:
        return read(bundled(pretrained))
    if pretrained == "auto":
        return published_detector(name, NO_WEIGHTS_HINT) if name in DETECTORS else _published_backbone(name)
    path = fetch_link(pretrained, hint=NO_WEIGHTS_HINT) if is_link(pretrained) else Path(pretrained)
    with naming_origin(pretrained):
        weights = read(path)
    published = None if weights.is_detector or name in DETECTORS else published_weights(name)
    if weights.mean is None and published:  # a backbone's file does not say it; most likely it is the published one
        weights = replace(weights, mean=published.mean, std=published.std)
    return weights


def published_weights(backbone: str) -> BackboneWeights | None:
    """The ImageNet weights that ``--pretrained auto`` takes for a line of BACKBONES or timm:NAME; None where no one
    has published any."""
    if backbone.startswith(TIMM):
        return from_timm.published(backbone.removeprefix(TIMM))
    return PUBLISHED.get(backbone)


def _published_backbone(name: str) -> Weights | None:
    published = published_weights(name)
    if published is None:
        warn(f"no published weights for {name}: training from scratch; --pretrained FILE starts from a file of yours")
        return None
    try:
        path = published.fetch(hint=NO_WEIGHTS_HINT)
    except FetchError as error:
        if name != "mobilenet_v2" or not bundled("balloon").is_file():
            raise
        warn(f"{error}. Going on from the bundled balloon model's backbone instead of ImageNet's")
        weights = read(bundled("balloon"))
        backbone = {k: t for k, t in weights.state.items() if k.startswith("backbone.body.")}
        return replace(
            weights, source=f"the backbone of {weights.source}", state=backbone, class_names=None, class_rows=None
        )
    # timm renames what its older files call otherwise.
    state = from_timm.load(name.removeprefix(TIMM), path) if name.startswith(TIMM) else read(path).state
    return Weights(f"ImageNet weights {published.title}", state, mean=published.mean, std=published.std)


def start_model(
    architecture: Architecture, class_names: ClassNames, weights: Weights | None, norm: str = "frozen"
) -> tuple[Detector, Architecture, str]:
    """The model that training starts from, its final Architecture, and a line that says what was used.

    norm: ``frozen`` where their statistics come with the weights, but never where they are random; or ``batch``.
    """
    num_rows = len(class_names) + 1
    backbone = build_backbone(_backbone_of(architecture.model))
    if weights is None:
        architecture = replace(architecture, norm="batch", norm_eps=backbone.norm_eps)
        return build(architecture, num_rows), architecture, "random weights"
    eps = weights.norm_eps
    if eps is None:  # a backbone alone was trained with its own, whatever the detector's line says
        eps = architecture.norm_eps if weights.is_detector else backbone.norm_eps
    if weights.mean and weights.std:
        architecture = replace(architecture, mean=weights.mean, std=weights.std)
    model = build(replace(architecture, norm="batch"), num_rows)
    offered = _rename(weights, backbone, model)
    if {weights.head, architecture.head} & {"retinanet", "fcos"} and weights.head not in (None, architecture.head):
        offered = {k: t for k, t in offered.items() if not k.startswith("head.")}  # same names, another meaning
    if weights.class_names is not None:
        state = _rows_by_name(offered, model, weights, class_names)
    else:
        state = {k: t for k, t in offered.items() if not k.startswith(tuple(_ROWS))}
    used = load_matching(model, state, weights.source)
    words = f"{weights.source}: {_in_words(offered, used, weights, class_names)}"
    if norm == "batch":  # v1 has an eps of 0, with which a channel that is the same everywhere divides by 0
        architecture = replace(architecture, norm="batch", norm_eps=max(eps, _LEAST_EPS))
    else:
        architecture = replace(architecture, norm=_norm(model, state), norm_eps=eps)
    set_norms(model, architecture.norm, architecture.norm_eps)
    return model, architecture, words


def load_matching(model: nn.Module, state: dict[str, Tensor], source: str) -> set[str]:
    """Load the tensors whose name and shape the model knows; returns their names.

    Raises CheckpointError where nothing of the backbone fits, and warns where something of it is missing.
    """
    used = _fitting(model, state)
    if not any(k.startswith("backbone.body.") for k in used):
        raise CheckpointError(
            f"{source}: none of its {len(state)} tensors fits this model's backbone; is it of another --backbone?"
        )
    model.load_state_dict({k: state[k] for k in used}, strict=False)
    backbone = [k for k in model.state_dict() if k.startswith("backbone.body.") and not k.endswith(_COUNTER)]
    missing = [k for k in backbone if k not in used]
    if missing:
        warn(
            f"{source}: {len(missing)} of {len(backbone)} tensors of the backbone are not in it: {first_few(missing, 3)}"
        )
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
    return "batch" if any(k.startswith("backbone.body.") for k in random) else "frozen_backbone"


def _backbone_of(model: str) -> str:
    """The name in BACKBONES (or timm:NAME) of a model's backbone; a detector's builder tells it."""
    if model not in DETECTORS:
        return model
    return next((name for name in BACKBONES if name in DETECTORS[model].builder), "resnet50")


def _rename(weights: Weights, backbone: Backbone, model: nn.Module) -> dict[str, Tensor]:
    """Names as ``model`` has them now. A backbone's go by the backbone's own module, which has the published ones."""
    if weights.is_detector:
        own = model.state_dict()  # FCOS has a name now that in RetinaNet is one of old
        return {k if k in own else _new_name(k): t for k, t in weights.state.items()}
    # The published names and the detector's lead to the same tensor, so its address joins them.
    body = backbone.body([stage.layer for stage in backbone.stages])
    places = {t.data_ptr(): k for k, t in body.state_dict().items()}
    names = {_flat(k): f"backbone.body.{places[t.data_ptr()]}" for k, t in backbone.module.state_dict().items()}
    plain = {k.removeprefix(backbone.prefix): t for k, t in weights.state.items()}
    return {names.get(_flat(k), k): t for k, t in plain.items()}


def _flat(name: str) -> str:
    """timm's features_only networks say stages_0 where its classifiers say stages.0, some model.stages.0, body...."""
    return re.sub(r"^(model_|body_)+", "", name.replace(".", "_"))


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
            to, of = _by_class(head, len(class_names) + 1, width), _by_class(state[key], 1 + max(rows), width)
            if len(to) != len(of):  # another number of anchors
                del out[key]
                continue
            for new, old in pairs:
                to[:, new] = of[:, old]
            out[key] = head
    return out


def _by_class(head: Tensor, num_rows: int, width: int) -> Tensor:
    """A view [anchors, num_rows, width, ...] of a head's tensor [anchors * num_rows * width, ...]."""
    return head.view(-1, num_rows, width, *head.shape[1:])
