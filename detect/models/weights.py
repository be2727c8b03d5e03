"""Files of weights, read without running code from them, and the matching of their tensors to a model.

Names and shapes decide which tensors of a file are used. The rows of classification layers belong to classes, so they
are matched by class name, and only if the classes of both sides are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from detect.errors import CheckpointError, UsageError
from detect.models import checkpoint
from detect.models.architecture import Architecture
from detect.models.backbones import Backbone
from detect.models.weight_files.architectures import describe_difference, recognize
from detect.models.weight_files.file_kinds import starts_as_safetensors
from detect.models.weight_files.reading import FoundWeights, found_weights, read_torch_file
from detect.models.weight_files.state_dicts import Tensors, choose, count_plain_names
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.text import counted, first_few

# Batch counter of BatchNorm2d, which nothing in this package depends on.
COUNTER = "num_batches_tracked"
# Prefixes of the tensors whose first axis runs over classes, background first, and the number of values per class.
# One-stage heads repeat the classes for each anchor.
_CLASS_ROWS = {
    "roi_heads.box_predictor.cls_score.": 1,
    "roi_heads.box_predictor.bbox_pred.": 4,
    "roi_heads.mask_predictor.mask_fcn_logits.": 1,
    "head.classification_head.cls_logits.": 1,
}
# Tensor names before torchvision 0.13 and today; torchvision translates them in ``_load_from_state_dict``.
# The last line belongs to RetinaNet.
_RENAMED: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)", lambda m: f"{m[1]}.0.{m[2]}"),
    (r"rpn\.head\.conv\.(weight|bias)", lambda m: f"rpn.head.conv.0.0.{m[1]}"),
    (r"roi_heads\.mask_head\.mask_fcn(\d+)\.(weight|bias)", lambda m: f"roi_heads.mask_head.{int(m[1]) - 1}.0.{m[2]}"),
    (r"(head\.\w+_head\.conv)\.([0246])\.(weight|bias)", lambda m: f"{m[1]}.{int(m[2]) // 2}.0.{m[3]}"),
)


@dataclass(frozen=True)
class Weights:
    """Tensors of a file, and what is known about their training; None where the file does not say.

    Attributes:
        source: description of the file for messages.
        state: tensor name -> tensor.
        class_names: classes of the heads.
        class_rows: row of the classification layer for each label 1..K; None if row = label.
        norm_eps: eps of the batch norms.
        head: kind of detection head, as in ``Architecture.head``.
        mean, std: RGB normalization for values in 0..1.
        anchors, aspect_ratios: anchors of the RPN, as in ``Architecture``.
        origin: where in the file the tensors were found and what was ignored, for messages; "" for nothing to say.
    """

    source: str
    state: dict[str, Tensor]
    class_names: ClassNames | None = None
    class_rows: tuple[int, ...] | None = None
    norm_eps: float | None = None
    head: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    anchors: tuple[tuple[int, ...], ...] | None = None
    aspect_ratios: tuple[float, ...] | None = None
    origin: str = ""

    @property
    def is_detector(self) -> bool:
        """Whether the file holds more than a backbone."""
        parts = ("backbone.", "rpn.", "roi_heads.", "head.classification_head.")
        return any(name.startswith(parts) for name in self.state)

    def has_trained_rpn(self, anchors_per_location: int) -> bool:
        """Return whether the file holds an RPN that a model can use together with the anchors it was trained on.

        If the file does not state its anchors, an equal number per location counts as the same anchors.
        """
        scores = self.state.get("rpn.head.cls_logits.weight")
        return scores is not None and (self.anchors is not None or len(scores) == anchors_per_location)


def read_weights(path: Path, count_fitting: Callable[[Tensors], int] = count_plain_names) -> Weights:
    """Return the content of a .safetensors file or of one that ``torch.save`` wrote; no code of the file is executed.

    count_fitting: returns how many tensors fit the model; it chooses among several dictionaries of tensors.

    Raises UsageError for a missing file and CheckpointError for one that holds no weights.
    """
    if path.is_dir():
        raise UsageError(f"`pretrained`: {path} is a folder; name a weights file in it")
    if not path.is_file():
        raise UsageError(
            f"`pretrained`: no such file: {path}; expected auto, none, balloon, a weights file or its URL"
        )
    try:
        if starts_as_safetensors(path):
            return _read_safetensors(path, count_fitting)
        found = read_torch_file(path, count_fitting)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    return _as_weights(path, found)


def _as_weights(path: Path, found: FoundWeights) -> Weights:
    names, rows = found.class_names, found.class_rows
    return Weights(str(path), found.state, names, rows, head=found.head, origin=found.origin)


def _read_safetensors(path: Path, count_fitting: Callable[[Tensors], int]) -> Weights:
    """Return the content of a .safetensors file, with all known facts if it is a checkpoint of this package."""
    state, description = checkpoint.read_safetensors(path)
    if description is None:
        chosen = choose(state, count_fitting)
        if chosen is None:
            raise CheckpointError(f"{path} holds no tensors; copy or download it again")
        return _as_weights(path, found_weights(chosen.tensors, chosen, state))
    saved = checkpoint.parse(path, state, description)
    architecture = Architecture.from_json(saved.architecture)
    names = ("norm_eps", "head", "mean", "std", "anchors", "aspect_ratios")
    facts = {name: getattr(architecture, name) for name in names}
    return Weights(str(path), saved.state, saved.class_names, saved.class_rows, **facts)


def load_matching(model: nn.Module, state: dict[str, Tensor], weights: Weights) -> set[str]:
    """Load the tensors whose name and shape occur in the model, in place. Returns their names.

    state: tensors of ``weights`` under the names that they have in the model.

    Raises CheckpointError if fewer than half of the backbone's tensors are among them, if they belong to another
    backbone, and if a value is not finite. Warns if some tensors of the backbone are missing.
    """
    used = fitting_names(model, state)
    backbone = [k for k in model.state_dict() if k.startswith("backbone.body.") and not k.endswith(COUNTER)]
    missing = [name for name in backbone if name not in used]
    held, wanted = recognize(weights.state), recognize(model.state_dict())
    is_other = held.backbone and wanted.backbone and held.backbone != wanted.backbone
    if 2 * len(missing) > len(backbone) or is_other:
        fitting = len(backbone) - len(missing)
        of_its = f"of its {counted(len(weights.state), 'tensor')}"
        count = f"{fitting} {of_its} fit the {len(backbone)}" if fitting else f"none {of_its} fits the {len(backbone)}"
        raise CheckpointError(f"{weights.source}: {count} of the backbone; {describe_difference(held, wanted)}")
    infinite = [k for k in sorted(used) if state[k].is_floating_point() and not state[k].isfinite().all()]
    if infinite:
        raise CheckpointError(
            f"{weights.source}: {counted(len(infinite), 'tensor')} with NaN or infinite values, such as {infinite[0]};"
            " the training that wrote them diverged, so use an earlier file of it"
        )
    model.load_state_dict({name: state[name] for name in used}, strict=False)
    if missing:
        names = first_few(missing, 3)
        warn(f"{weights.source} has no values for {len(missing)} of {len(backbone)} tensors of the backbone: {names}")
    return used


def fitting_names(model: nn.Module, state: dict[str, Tensor]) -> set[str]:
    """Return the names in ``state`` that the model has too, with the same shape, and with floats for floats.

    Integers for floats are quantized weights, which mean nothing without their scales.
    """
    own = model.state_dict()
    return {
        k
        for k, t in state.items()
        if k in own and own[k].shape == t.shape and own[k].is_floating_point() == t.is_floating_point()
    }


def count_fitting_backbone(tensors: Tensors, backbone: Backbone) -> int:
    """Return how many tensors have the name and shape of one in a backbone, either of a bare one or in a detector."""
    body = {f"backbone.body.{k}": t.shape for k, t in _body(backbone).state_dict().items()}
    bare = {_flat(k): t.shape for k, t in backbone.module.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    in_detector = sum(body.get(name) == shape for name, shape in shapes.items())
    return max(in_detector, sum(bare.get(_flat(k.removeprefix(backbone.prefix))) == s for k, s in shapes.items()))


def _body(backbone: Backbone) -> nn.Module:
    return backbone.body([stage.layer for stage in backbone.stages])


def match_names(weights: Weights, backbone: Backbone, model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of ``weights`` under the names that they have in ``model``.

    Names before torchvision 0.13 are translated. Names of a bare backbone are looked up in ``backbone``, whose module
    has the published names. Tensors that are found nowhere keep their names.
    """
    if weights.is_detector:
        own = model.state_dict()  # names that exist are kept: FCOS has one today that RetinaNet had before
        return {k if k in own else _current_name(k): t for k, t in weights.state.items()}
    # The body and the module share their tensors, so the address of a tensor leads from one name to the other.
    body_names = {t.data_ptr(): k for k, t in _body(backbone).state_dict().items()}
    names = {_flat(k): f"backbone.body.{body_names[t.data_ptr()]}" for k, t in backbone.module.state_dict().items()}
    plain = {k.removeprefix(backbone.prefix): t for k, t in weights.state.items()}
    return {names.get(_flat(k), k): t for k, t in plain.items()}


def _flat(name: str) -> str:
    """Return a tensor name independent of timm's notation.

    ``stages_0`` in features_only networks is ``stages.0`` in classifiers, and sometimes ``model.stages.0`` or
    ``body.stages.0``.
    """
    return re.sub(r"^(model_|body_)+", "", name.replace(".", "_"))


def _current_name(name: str) -> str:
    """Return today's name of a tensor in a file from before torchvision 0.13."""
    matches = ((re.fullmatch(pattern, name), new) for pattern, new in _RENAMED)
    return next((new(match) for match, new in matches if match), name)


def match_class_rows(
    state: dict[str, Tensor], model: nn.Module, weights: Weights, class_names: ClassNames
) -> dict[str, Tensor]:
    """Return ``state`` with the rows of its classification layers reordered to the classes of ``model``.

    class_names: classes of the model. Classes that ``weights`` does not know keep the model's own rows. Layers without
        a known class, and those that do not fit the model, are left out.
    """
    result = {k: t for k, t in state.items() if not k.startswith(tuple(_CLASS_ROWS))}
    if weights.class_names is None:
        return result
    rows = weights.class_rows or range(1, len(weights.class_names) + 1)
    row_of = dict(zip(weights.class_names.names, rows, strict=True))
    pairs = [(0, 0)] + [(new, row_of[n]) for new, n in enumerate(class_names.names, start=1) if n in row_of]
    own = model.state_dict()
    for prefix, width in _CLASS_ROWS.items():
        for key in [k for k in state if k.startswith(prefix)]:
            is_usable = state[key].ndim and state[key].is_floating_point()
            if key not in own or own[key].shape[1:] != state[key].shape[1:] or len(pairs) == 1 or not is_usable:
                continue
            layer = own[key].clone()
            target = _by_class(layer, len(class_names) + 1, width)
            if len(state[key]) % ((1 + max(rows)) * width):  # boxes without classes, or a layer of another number
                continue
            source = _by_class(state[key], 1 + max(rows), width)
            if len(target) == len(source):  # otherwise the numbers of anchors differ
                for new, old in pairs:
                    target[:, new] = source[:, old]
                result[key] = layer
    return result


def _by_class(layer: Tensor, num_rows: int, width: int) -> Tensor:
    """Return a view [anchors, num_rows, width, ...] of a tensor [anchors * num_rows * width, ...]."""
    return layer.view(-1, num_rows, width, *layer.shape[1:])
