"""``timm:NAME``: backbones of the optional package timm (https://github.com/huggingface/pytorch-image-models).

Only this file imports timm, and only when such a backbone is asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detect.errors import CheckpointError, UsageError
from detect.models.backbones import Backbone, Stage
from detect.models.zoo import TIMM, PublishedWeights, hugging_face_weights
from detect.text import near_names

STRIDES = (4, 8, 16, 32)
PROBE_HW = (96, 160)  # not square, and multiples of the largest stride, as torchvision's transform pads images


class _FeatureMaps(nn.Module):
    """Some maps of a timm ``features_only`` network, channels first, in the form that BackboneWithFPN expects."""

    def __init__(self, network: nn.Module, indices: Sequence[str]):
        super().__init__()
        self.network = network
        self.indices = [int(index) for index in indices]
        # Families with channels-last maps, such as Swin, say so.
        self.channels_last = str(getattr(network, "output_fmt", "")).endswith("NHWC")

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.network(images)
        chosen = [maps[i].permute(0, 3, 1, 2) if self.channels_last else maps[i] for i in self.indices]
        return OrderedDict((str(i), one) for i, one in enumerate(chosen))


def backbone(name: str) -> Backbone:
    """Return timm's network ``name`` (such as ``resnet18`` or ``resnet18.a1_in1k``) with random weights.

    Its stages are the maps of stride 4, 8, 16 and 32; ``Stage.layer`` is their index among the ``features_only`` maps.

    Raises UsageError if timm is not installed or does not know the name, and if the network has no such maps or
    accepts images of certain sizes only.
    """
    _config(name)
    # By default Swin accepts only images of its training size.
    any_size = {"strict_img_size": False} if name.startswith("swin") else {}
    try:
        network = _timm().create_model(name, pretrained=False, features_only=True, **any_size)
    except Exception as error:  # timm and its networks raise many kinds
        raise UsageError(f"{TIMM}{name} offers no feature maps (features_only): {_one_line(error)}") from error
    info = network.feature_info
    index_of = {stride: index for index, stride in enumerate(info.reduction())}
    if not set(STRIDES) <= set(index_of):
        raise UsageError(
            f"{TIMM}{name} has feature maps of stride {', '.join(map(str, info.reduction()))}; "
            "an FPN needs 4, 8, 16 and 32"
        )
    stages = tuple(Stage(str(index_of[stride]), info.channels()[index_of[stride]], stride) for stride in STRIDES)
    result = Backbone(network, lambda names: _FeatureMaps(network, names), stages)
    _check_maps(name, result)
    return result


def published(name: str) -> PublishedWeights | None:
    """Return the pretrained weights that timm lists for ``name``, or None. Raises UsageError for an unknown name."""
    config = _config(name)
    license = config.license or "license unknown"
    mean, std = tuple(config.mean), tuple(config.std)
    if config.hf_hub_id:
        file = config.hf_hub_filename or "model.safetensors"
        return hugging_face_weights(config.hf_hub_id, license, mean, std, file)
    return PublishedWeights(license, url=config.url, mean=mean, std=std) if config.url else None


def load(name: str, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a published file, under the names of the whole classifier ``name``.

    timm itself reads the file, since it renames the tensors of older files. It loads them into a classifier, because
    with ``features_only`` it would ignore tensors that do not fit. Raises CheckpointError if the file does not hold
    this network.
    """
    source = {"file": str(path), "custom_load": False}
    try:
        return _timm().create_model(name, pretrained=True, pretrained_cfg_overlay=source).state_dict()
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise CheckpointError(f"{path} does not hold the weights of {TIMM}{name}: {_one_line(error)}") from error


def _config(name: str) -> Any:
    """Return timm's description of the pretrained weights of ``name``. Raises UsageError for an unknown name."""
    timm = _timm()
    if not timm.is_model(name):
        near = near_names(name, timm.list_models())
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists all names"
        raise UsageError(f"timm {timm.__version__} has no model '{name}': {hint}")
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        model = name.partition(".")[0]
        tags = ", ".join(timm.list_pretrained(f"{model}.*")) or "none"
        raise UsageError(f"timm has no weights '{name}'; available for {model}: {tags}") from None


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise UsageError(f"backbones {TIMM}NAME need the package timm: pip install timm") from None
    return timm


def _check_maps(name: str, backbone: Backbone) -> None:
    """Check the stated sizes of all feature maps with one forward pass. Raises UsageError.

    Some networks accept only one image size, and some shrink their maps by more than their strides say.
    """
    body = backbone.body([stage.layer for stage in backbone.stages])
    try:
        with torch.inference_mode():
            maps = body.eval()(torch.zeros(1, 3, *PROBE_HW)).values()
    except Exception as error:  # networks raise many kinds
        height, width = PROBE_HW
        raise UsageError(
            f"{TIMM}{name} failed on an image of {height}x{width} pixels, but a backbone must accept images of every "
            f"size: {_one_line(error)}"
        ) from error
    finally:
        body.train()
    for stage, one in zip(backbone.stages, maps, strict=True):
        expected = (1, stage.channels, *(side // stage.stride for side in PROBE_HW))
        if one.shape != expected:
            raise UsageError(
                f"{TIMM}{name} cannot be used under an FPN: its map of stride {stage.stride} has the shape "
                f"{tuple(one.shape)} instead of {expected} for an image of {PROBE_HW[0]}x{PROBE_HW[1]} pixels"
            )
    if len({m.eps for m in backbone.module.modules() if isinstance(m, nn.BatchNorm2d)}) > 1:
        raise UsageError(f"{TIMM}{name} has batch norms with different eps values; only one value is supported")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
