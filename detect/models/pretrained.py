"""Starting weights of a model: published files, files and URLs of the user, and the bundled checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from detect.errors import FetchError
from detect.io.downloads import checkpoints_folder, fetch
from detect.io.links import fetch_link, is_link, naming_origin
from detect.io.resources import resource
from detect.models.architecture import Architecture
from detect.models.backbones import Backbone, build_backbone, from_timm
from detect.models.builder import Detector, build
from detect.models.norms import set_norms
from detect.models.weight_files.architectures import describe_difference, recognize
from detect.models.weights import (
    COUNTER,
    Weights,
    count_fitting_backbone,
    fitting_names,
    load_matching,
    match_class_rows,
    match_names,
    read_weights,
)
from detect.models.zoo import BACKBONES, BUNDLED, DETECTORS, TIMM, PublishedWeights
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.text import counted, first_few, one_line

OFFLINE_HINT = "`model='balloon'` works offline"
NO_WEIGHTS_HINT = (
    "`backbone='mobilenet_v2'` with `pretrained='balloon'` works offline; `pretrained='none'` trains from scratch"
)
_BEYOND_BACKBONE = (
    "backbone.fpn.",
    "rpn.",
    "roi_heads.",
    "head.classification_head.",
)  # as tensors of a detector begin
_MIN_LEARNED_EPS = 1e-5  # torch's default for batch norms


@dataclass(frozen=True)
class UsedWeights:
    """What a model starts from.

    line: in one line, such as ``balloon.safetensors, 296 of 302 tensors; newly initialized: the head for circle``.
    unused: names of the tensors of the file that are not used.
    """

    line: str
    unused: tuple[str, ...] = ()


def bundled(name: str) -> Path:
    """Return the checkpoint file of a bundled model (a key of ``zoo.BUNDLED``)."""
    return resource(BUNDLED[name])


def coco_classes(name: str) -> tuple[ClassNames, tuple[int, ...]]:
    """Return the classes of a detector with COCO weights, and the row of the classification layer of each.

    These are COCO's 80 classes with 91 rows, or the class ``person`` for keypoint models. Row 0 is background, and
    rows named "N/A" belong to no class.
    """
    categories = _torchvision_weights(DETECTORS[name].builder, "COCO_V1").meta["categories"]
    rows = tuple(i for i, name in enumerate(categories) if i > 0 and name != "N/A")
    return ClassNames(tuple(categories[i] for i in rows), rows), rows


def detector_url(name: str) -> str:
    """Return the URL of torchvision's COCO weights of a detector (a key of ``DETECTORS``)."""
    return _torchvision_weights(DETECTORS[name].builder, "COCO_V1").url


def _torchvision_weights(builder: str, version: str) -> WeightsEnum:
    return torchvision.models.get_model_weights(builder)[version]


def published_detector(name: str, hint: str = OFFLINE_HINT) -> Weights:
    """Return torchvision's COCO weights of a detector (a key of ``DETECTORS``), downloaded unless they are cached.

    Raises FetchError, whose message ends with ``hint``.
    """
    spec = DETECTORS[name]
    path = fetch(detector_url(name), hint=hint)
    class_names, class_rows = coco_classes(name)
    return replace(read_weights(path), class_names=class_names, class_rows=class_rows, head=spec.head)


def choose_weights(name: str, pretrained: str) -> Weights | None:
    """Return the starting weights of a backbone or detector ``name``, or None for random weights.

    pretrained: ``auto`` for the published weights, ``none``, ``balloon``, or a file or URL.

    Raises FetchError if a download fails, except for mobilenet_v2 with ``auto``, which falls back to the backbone of
    the bundled checkpoint; UsageError for a missing file and CheckpointError for one without weights.
    """
    if pretrained == "none":
        return None
    if pretrained in BUNDLED:
        return read_weights(bundled(pretrained))
    if pretrained == "auto":
        return published_detector(name, NO_WEIGHTS_HINT) if name in DETECTORS else _published_backbone(name)
    path = fetch_link(pretrained, hint=NO_WEIGHTS_HINT) if is_link(pretrained) else Path(pretrained)

    @cache
    def backbone() -> Backbone:  # built only for a file with several dictionaries of tensors
        return build_backbone(_backbone_of(name))

    with naming_origin(pretrained):
        weights = read_weights(path, lambda tensors: count_fitting_backbone(tensors, backbone()))
    published = None if weights.is_detector or name in DETECTORS else published_weights(name)
    if weights.mean is None and published:  # bare backbone files do not state it; the published values are most likely
        weights = replace(weights, mean=published.mean, std=published.std)
    return weights


def published_weights(backbone: str) -> PublishedWeights | None:
    """Return the published ImageNet weights of a backbone (a key of ``BACKBONES`` or ``timm:NAME``), None if it has
    none."""
    if backbone.startswith(TIMM):
        return from_timm.published(backbone.removeprefix(TIMM))
    return BACKBONES[backbone].weights if backbone in BACKBONES else None


def _published_backbone(name: str) -> Weights | None:
    published = published_weights(name)
    if published is None:
        warn(f"no published weights for {name}: training from scratch; `pretrained` accepts a file with weights")
        return None
    url = published.url or _torchvision_weights(name, "IMAGENET1K_V1").url
    try:
        path = fetch(url, folder=checkpoints_folder() / published.folder, hint=NO_WEIGHTS_HINT)
    except FetchError as error:
        if name != "mobilenet_v2" or not bundled("balloon").is_file():
            raise
        warn(f"{error}. Continuing with the backbone of the bundled balloon model instead of ImageNet weights")
        weights = read_weights(bundled("balloon"))
        backbone = {k: t for k, t in weights.state.items() if k.startswith("backbone.body.")}
        return replace(
            weights,
            source=f"the backbone of {weights.source}, since ImageNet weights could not be downloaded",
            state=backbone,
            class_names=None,
            class_rows=None,
        )
    # timm renames the tensors of its older files.
    state = from_timm.load(name.removeprefix(TIMM), path) if name.startswith(TIMM) else read_weights(path).state
    title = f"{published.folder or url.rpartition('/')[2]} ({published.license})"
    return Weights(f"ImageNet weights {title}", state, mean=published.mean, std=published.std)


def build_from_weights(
    architecture: Architecture, class_names: ClassNames, weights: Weights | None, norm: str = "frozen"
) -> tuple[Detector, Architecture, UsedWeights]:
    """Build the model from which a training starts.

    weights: None for random weights. Their normalization, norm eps and norm kind go into the returned Architecture.
    norm: ``frozen`` freezes all batch norms whose statistics come from ``weights``, but never random ones; ``batch``
        freezes none.

    Returns the model, its final Architecture, and what was used.
    """
    num_rows = len(class_names) + 1
    backbone = build_backbone(_backbone_of(architecture.model))
    if weights is None:
        architecture = replace(architecture, norm="batch", norm_eps=backbone.norm_eps)
        return build(architecture, num_rows), architecture, UsedWeights("random weights")
    eps = weights.norm_eps
    if eps is None:  # a bare backbone was trained with its own eps, not with that of the detector's published weights
        eps = architecture.norm_eps if weights.is_detector else backbone.norm_eps
    if weights.mean and weights.std:
        architecture = replace(architecture, mean=weights.mean, std=weights.std)
    model = build(replace(architecture, norm="batch"), num_rows)
    named = offered = match_names(weights, backbone, model)
    if {weights.head, architecture.head} & {"retinanet", "fcos"} and weights.head not in (None, architecture.head):
        offered = {k: t for k, t in offered.items() if not k.startswith("head.")}  # equal names, different meaning
    state = match_class_rows(offered, model, weights, class_names)
    used = load_matching(model, state, weights)
    unused = tuple(k for k in named if k not in used and not k.endswith(COUNTER))
    counts = f"{len(named) - len(unused)} of {counted(len(named), 'tensor')}"
    line = f"{weights.source}, {counts}{_describe(weights, class_names)}{_other_head(weights, model)}"
    if norm == "batch":  # with the eps of 0 of torchvision's V1 models, a constant channel would divide by zero
        architecture = replace(architecture, norm="batch", norm_eps=max(eps, _MIN_LEARNED_EPS))
    else:
        architecture = replace(architecture, norm=_norm_kind(model, state), norm_eps=eps)
    set_norms(model, architecture.norm, architecture.norm_eps)
    return model, architecture, UsedWeights(line, tuple(map(one_line, unused)))


def _describe(weights: Weights, class_names: ClassNames) -> str:
    """Return where in the file the tensors were found, and what of the model is new."""
    text = f", {weights.origin}" if weights.origin else ""
    if not any(name.startswith(_BEYOND_BACKBONE) for name in weights.state):
        return f"{text}; newly initialized: all but the backbone"
    known = weights.class_names.names if weights.class_names else ()
    new = [name for name in class_names.names if name not in known]
    return text + (f"; newly initialized: the head for {first_few(new)}" if new else "")


def _other_head(weights: Weights, model: nn.Module) -> str:
    """Return what the file of another program holds, if it has another detection head than the model; else ""."""
    held, wanted = recognize(weights.state), recognize(model.state_dict())
    if weights.norm_eps is not None or not held.head or (held.head, held.version) == (wanted.head, wanted.version):
        return ""
    return f"; {describe_difference(held, wanted)}"


def _norm_kind(model: nn.Module, state: dict[str, Tensor]) -> str:
    """Return the kind of batch norms (one of norms.NORMS) that freezes those with statistics from ``state``."""
    random = {k for k in model.state_dict() if k.endswith(".running_var")} - fitting_names(model, state)
    if not random:
        return "frozen"
    return "batch" if any(k.startswith("backbone.body.") for k in random) else "frozen_backbone"


def _backbone_of(model: str) -> str:
    """Return the key of BACKBONES (or timm:NAME) of a model's backbone; detectors name it in their builder."""
    if model not in DETECTORS:
        return model
    return next((name for name in BACKBONES if name in DETECTORS[model].builder), "resnet50")
