"""``timm:NAME``: the backbones of the package timm (https://github.com/huggingface/pytorch-image-models), which is
needed for nothing else and imported only here."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detect.errors import CheckpointError, UsageError
from detect.models.backbones import Backbone, Stage
from detect.models.imagenet import BackboneWeights, of_hugging_face
from detect.models.zoo import TIMM

STRIDES = (4, 8, 16, 32)
PROBE_HW = (96, 160)  # not square, and of whole strides, as torchvision's transform pads images


class _Maps(nn.Module):
    """Some of a features_only network's maps, channels first, as BackboneWithFPN wants them of its body."""

    def __init__(self, network: nn.Module, taps: Sequence[str]):
        super().__init__()
        self.network = network
        self.taps = [int(tap) for tap in taps]
        # Families that keep channels last, such as Swin, say so.
        self.channels_last = str(getattr(network, "output_fmt", "")).endswith("NHWC")

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.network(images)
        picked = [maps[tap].permute(0, 3, 1, 2) if self.channels_last else maps[tap] for tap in self.taps]
        return OrderedDict((str(i), one) for i, one in enumerate(picked))


def backbone(name: str) -> Backbone:
    """The backbone of timm's ``name`` (such as ``resnet18`` or ``resnet18.a1_in1k``) with random weights.

    Its taps are the places of the maps of stride 4, 8, 16 and 32 among those that ``features_only`` gives.
    UsageError where timm is missing, does not know the name, or the network has no such maps at every image size.
    """
    _config(name)
    try:
        network = _create(name)
    except Exception as error:  # whatever the network happens to raise
        raise UsageError(f"{TIMM}{name} offers no feature maps (features_only): {_line(error)}") from error
    info = network.feature_info
    place_of = {stride: place for place, stride in enumerate(info.reduction())}
    if not set(STRIDES) <= set(place_of):
        raise UsageError(
            f"{TIMM}{name} has maps of stride {', '.join(map(str, info.reduction()))}, which make no pyramid: "
            f"4, 8, 16 and 32 are needed"
        )
    stages = tuple(Stage(str(place_of[stride]), info.channels()[place_of[stride]], stride) for stride in STRIDES)
    found = Backbone(network, lambda taps: _Maps(network, taps), stages)
    _check_maps(name, found)
    return found


def published(name: str) -> BackboneWeights | None:
    """The weights that timm names for ``name``, None where it has none; UsageError as ``backbone``."""
    config = _config(name)
    licence = config.license or "licence unknown"
    mean, std = tuple(config.mean), tuple(config.std)
    if config.hf_hub_id:
        return of_hugging_face(config.hf_hub_id, licence, mean, std, config.hf_hub_filename or "model.safetensors")
    return BackboneWeights(config.url, licence, mean=mean, std=std) if config.url else None


def load(name: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a published file, under the names of the whole classifier ``name``.

    timm itself reads the file, since it renames what older ones call otherwise. It does so into a classifier, as with
    features_only it would pass over what does not fit. CheckpointError where the file is not that network's.
    """
    there = {"file": str(path), "custom_load": False}
    try:
        return _timm().create_model(name, pretrained=True, pretrained_cfg_overlay=there).state_dict()
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise CheckpointError(f"{path} does not hold the weights of {TIMM}{name}: {_line(error)}") from error


def _create(name: str) -> Any:
    # Swin's would take images of their training's size alone.
    any_size = {"strict_img_size": False} if name.startswith("swin") else {}
    return _timm().create_model(name, pretrained=False, features_only=True, **any_size)


def _config(name: str) -> Any:
    """timm's own description of the weights of ``name``."""
    timm = _timm()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=4, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() names all"
        raise UsageError(f"timm {timm.__version__} has no model '{name}': {hint}")
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        model = name.partition(".")[0]
        tags = ", ".join(timm.list_pretrained(f"{model}.*")) or "none"
        raise UsageError(f"timm has no weights '{name}'; of {model} it has {tags}") from None


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise UsageError(f"backbones {TIMM}NAME need the package timm: pip install timm") from None
    return timm


def _check_maps(name: str, found: Backbone) -> None:
    """Run it once: some networks take one size of image alone, some shrink maps by more than their strides say."""
    body = found.body([stage.layer for stage in found.stages])
    try:
        with torch.inference_mode():
            maps = body.eval()(torch.zeros(1, 3, *PROBE_HW)).values()
    except Exception as error:  # whatever the network happens to raise
        raise UsageError(f"{TIMM}{name} does not take images of any size: {_line(error)}") from error
    finally:
        body.train()
    for stage, one in zip(found.stages, maps, strict=True):
        stated = (1, stage.channels, *(side // stage.stride for side in PROBE_HW))
        if one.shape != stated:
            raise UsageError(
                f"{TIMM}{name} is no pyramid: its map of stride {stage.stride} is {tuple(one.shape)} and not {stated} "
                f"for an image of {PROBE_HW[0]}x{PROBE_HW[1]} pixels"
            )
    if len({m.eps for m in found.module.modules() if isinstance(m, nn.BatchNorm2d)}) > 1:
        raise UsageError(f"{TIMM}{name} has batch norms of several eps; one is known here")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
