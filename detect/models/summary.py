"""Summary of a model: parameters and multiply-adds of its parts, and the list of its layers."""

from __future__ import annotations

import copy
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from detect.models.builder import Detector

_STRIDE = 32  # the transform pads images to multiples of it
_MASKED_OBJECTS = 10  # objects in the image for which the mask head runs, as in docs/models.md
_LINE = 100  # characters
# Beginning of a parameter's name -> part of the model. The first line that fits counts.
_PARTS = {
    "backbone.fpn.": "FPN",
    "backbone.": "backbone",
    "rpn.": "RPN",
    "roi_heads.box_": "box head",
    "roi_heads.mask_": "mask head",
    "roi_heads.keypoint_": "keypoint head",
    "": "head",
}


class MultiplyAddCounter(FlopCounterMode):
    """Counts the multiply-adds of convolutions and matrix products that run inside its ``with`` block.

    As in the GFLOPS that torchvision publishes, a multiplication with its addition counts once (torch's own counter
    counts both), and biases, norms, activations, resizing, RoIAlign and NMS do not count.
    """

    def __init__(self) -> None:
        super().__init__(display=False)

    @property
    def multiply_adds(self) -> int:
        return self.get_total_flops() // 2


@dataclass(frozen=True)
class Layer:
    """A module with parameters of its own.

    name: of the module, such as ``rpn.head.cls_logits``.  kind: its class, such as ``Conv2d``.
    shape: of its weight, or of its first parameter.
    parameters, trainable: number of its own parameters, and of those that training changes.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    trainable: int

    @property
    def part(self) -> str:
        """Part of the model that the layer belongs to."""
        return next(part for beginning, part in _PARTS.items() if self.name.startswith(beginning))


@dataclass(frozen=True)
class ModelSummary:
    """Size and work of a model.

    image_hw: (height, width) of the image that is counted, in pixels, padded to multiples of 32.
    layers: all modules with parameters, in the order of the model. Frozen batch norms have no parameters, as in
        torchvision's ``num_params``.
    multiply_adds: name of each part -> multiply-adds for one image at inference, see ``MultiplyAddCounter``; empty for
        a model whose layers do not run without data.
    proposals: number of proposals that reach the box head; None for one-stage models.
    """

    image_hw: tuple[int, int]
    layers: tuple[Layer, ...]
    multiply_adds: dict[str, int]
    proposals: int | None

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        return sum(layer.trainable for layer in self.layers)

    def one_line(self) -> str:
        """Return ``10.4 M parameters, 9.9 M of them trainable; 27.4 GFLOP (multiply-adds) at 480x640 pixels``."""
        size = f"{self.parameters / 1e6:.1f} M parameters, {self.trainable / 1e6:.1f} M of them trainable"
        height, width = self.image_hw
        total = sum(self.multiply_adds.values())
        return f"{size}; {total / 1e9:.1f} GFLOP (multiply-adds) at {height}x{width} pixels" if total else size

    def text(self) -> str:
        """Return a table of the parts, how their work was counted, and a table of the layers."""
        header = ("part", "layers", "parameters", "trainable", "GFLOP")
        sections = [_table([header, *self._part_rows()])]
        if self.multiply_adds:
            sections.append(self._convention())
        rows = [
            (one.name, one.kind, "x".join(map(str, one.shape)), f"{one.parameters:,}", f"{one.trainable:,}")
            for one in self.layers
        ]
        sections.append(_table([("layer", "kind", "weight", "parameters", "trainable"), *rows], left=3))
        return "\n\n".join(sections) + "\n"

    def _part_rows(self) -> Iterator[tuple[str, ...]]:
        parts: dict[str, list[Layer]] = {}
        for layer in self.layers:
            parts.setdefault(layer.part, []).append(layer)
        for part, layers in parts.items():
            yield self._row(part, layers, self.multiply_adds.get(part))
        yield self._row("all", self.layers, sum(self.multiply_adds.values()) or None)

    def _row(self, name: str, layers: Sequence[Layer], multiply_adds: int | None) -> tuple[str, ...]:
        counts = (len(layers), sum(one.parameters for one in layers), sum(one.trainable for one in layers))
        work = "-" if multiply_adds is None else f"{multiply_adds / 1e9:.2f}"
        return (name, *(f"{count:,}" for count in counts), work)

    def _convention(self) -> str:
        height, width = self.image_hw
        heads = [f"{self.proposals} proposals in the box head"] if self.proposals else []
        heads += [f"{_MASKED_OBJECTS} objects in the mask head"] if "mask head" in self.multiply_adds else []
        text = (
            f"GFLOP: 10^9 multiply-adds at inference for one image of {height}x{width} pixels (height x width)"
            f"{', with ' * bool(heads)}{' and '.join(heads)}. A multiplication with its addition counts once, as in "
            "torchvision's figures; programs that count both report twice as many. Biases, norms, activations, "
            "resizing, RoIAlign and NMS do not count. Layers are modules with parameters; frozen batch norms have no "
            "parameters."
        )
        return textwrap.fill(text, _LINE)


def summarize_model(model: Detector, image_hw: tuple[int, int]) -> ModelSummary:
    """Return the summary of ``model``, which stays as it is. Takes under a second, since nothing is computed.

    image_hw: (height, width) of an image resized for the model, in pixels.
    """
    height, width = (-(-side // _STRIDE) * _STRIDE for side in image_hw)
    outline = _without_data(model).eval()
    proposals = outline.rpn.post_nms_top_n() if hasattr(outline, "rpn") else None
    try:
        multiply_adds = _multiply_adds(outline, (height, width), proposals)
    except Exception:  # a backbone of timm may read the values of a tensor; its networks raise many kinds
        multiply_adds = {}
    return ModelSummary((height, width), tuple(_layers(model)), multiply_adds, proposals)


def _layers(model: nn.Module) -> Iterator[Layer]:
    owner_of = groupby(model.named_parameters(), key=lambda named: named[0].rpartition(".")[0])
    for name, named in owner_of:
        parameters = [parameter for _, parameter in named]
        trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        count = sum(parameter.numel() for parameter in parameters)
        module = model.get_submodule(name)
        kind = next(c.__name__ for c in type(module).__mro__ if not c.__name__.startswith("_"))
        yield Layer(name, kind, tuple(parameters[0].shape), count, trainable)


def _without_data(model: nn.Module) -> Any:
    """Return a copy of ``model`` on torch's meta device, whose tensors have a shape and no values."""
    meta: dict[int, Any] = {id(buffer): buffer.to("meta") for buffer in model.buffers()}
    meta |= {id(p): nn.Parameter(p.detach().to("meta"), requires_grad=False) for p in model.parameters()}
    return copy.deepcopy(model, meta)


def _multiply_adds(model: Any, image_hw: tuple[int, int], proposals: int | None) -> dict[str, int]:
    """Return the multiply-adds of each part of a model on the meta device."""
    counts: dict[str, int] = {}

    def count(part: str, module: Callable[..., Any], *inputs: Any) -> Any:
        with torch.inference_mode(), MultiplyAddCounter() as counter:
            outputs = module(*inputs)
        counts[part] = counts.get(part, 0) + counter.multiply_adds
        return outputs

    image, backbone = torch.empty(1, 3, *image_hw, device="meta"), model.backbone
    if hasattr(backbone, "fpn"):
        maps = count("FPN", backbone.fpn, count("backbone", backbone.body, image))
    else:
        maps = count("backbone", backbone, image)
    maps = list(maps.values())
    if proposals is None:
        count("head", model.head, maps)
        return counts
    count("RPN", model.rpn.head, maps)
    heads = model.roi_heads
    features = count("box head", heads.box_head, _rois(proposals, maps[0], heads.box_roi_pool))
    count("box head", heads.box_predictor, features)
    if heads.has_mask():
        features = count("mask head", heads.mask_head, _rois(_MASKED_OBJECTS, maps[0], heads.mask_roi_pool))
        count("mask head", heads.mask_predictor, features)
    return counts


def _rois(number: int, feature_map: Tensor, pooler: Any) -> Tensor:
    return feature_map.new_empty(number, feature_map.shape[1], *pooler.output_size)


def _table(rows: list[tuple[str, ...]], left: int = 1) -> str:
    """Return ``rows``, the first of which is the header, as text; the first ``left`` columns are left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
