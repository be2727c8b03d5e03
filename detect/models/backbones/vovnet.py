"""VoVNetV2 (Lee & Park, CenterMask, CVPR 2020, https://arxiv.org/abs/1911.06667).

Each block runs a chain of 3x3 convolutions and concatenates *all* their outputs once, at its end
("one-shot aggregation"), so it reads less memory than a DenseNet; V2 weighs the channels of the result
("effective squeeze and excitation", eSE). Widths are those of github.com/youngwanLEE/vovnet-detectron2;
parameters carry the names of timm's ``ese_vovnet*b``, so that a state of timm without its ``head.*`` loads
with ``strict=True``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from detect.models.backbones import Stage, Trunk

NormLayer = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Widths:
    """Channels of a VoVNet: of the stem's three convolutions, and in and after the block of each stage."""

    stem: tuple[int, int, int]
    middle: tuple[int, int, int, int]
    out: tuple[int, int, int, int]
    convs_per_block: int


WIDTHS = {
    "vovnet19": Widths((64, 64, 128), (128, 160, 192, 224), (256, 512, 768, 1024), convs_per_block=3),
}


class ConvNormRelu(nn.Module):
    """Convolution that keeps the size (but for its stride), normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, norm_layer: NormLayer, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = norm_layer(channels_out)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class EffectiveSqueezeExcite(nn.Module):
    """Weighs channels by their means, with one layer of full width where the original has two narrow ones."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, kernel_size=1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.fc(x.mean((2, 3), keepdim=True)))


class OneShotAggregation(nn.Module):
    """A chain of 3x3 convolutions; its input and all outputs, concatenated, squeezed by a 1x1 and weighed."""

    def __init__(self, channels_in: int, middle: int, out: int, convs: int, norm_layer: NormLayer):
        super().__init__()
        widths = [channels_in] + [middle] * convs
        self.conv_mid = nn.Sequential(
            *(ConvNormRelu(before, after, 3, norm_layer) for before, after in pairwise(widths))
        )
        self.conv_concat = ConvNormRelu(sum(widths), out, 1, norm_layer)
        self.attn = EffectiveSqueezeExcite(out)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for conv in self.conv_mid:
            maps.append(conv(maps[-1]))
        return self.attn(self.conv_concat(torch.cat(maps, dim=1)))


class VoVStage(nn.Module):
    """Halves the size (but for the first stage) and aggregates."""

    def __init__(self, block: OneShotAggregation, halve: bool):
        super().__init__()
        # ceil_mode: odd sizes are rounded up, as in the published networks, or weights would meet other maps.
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True) if halve else nn.Identity()
        self.blocks = nn.Sequential(block)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.pool(x))


class VoVNet(nn.Module):
    """The trunk: normalised images float32 [B, 3, H, W] to the last stage's map [B, out[3], ~H/32, ~W/32].

    ``stem`` has stride 4 and ``stages`` strides 4, 8, 16 and 32. Convolutions start with He's initialisation.
    """

    def __init__(self, widths: Widths, norm_layer: NormLayer = nn.BatchNorm2d):
        super().__init__()
        self.widths = widths
        first, second, third = widths.stem
        self.stem = nn.Sequential(
            ConvNormRelu(3, first, 3, norm_layer, stride=2),
            ConvNormRelu(first, second, 3, norm_layer),
            ConvNormRelu(second, third, 3, norm_layer, stride=2),
        )
        self.stages = nn.Sequential()
        before = third
        for middle, out in zip(widths.middle, widths.out, strict=True):
            block = OneShotAggregation(before, middle, out, widths.convs_per_block, norm_layer)
            self.stages.append(VoVStage(block, halve=len(self.stages) > 0))
            before = out
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.stages(self.stem(images))

    def layers(self) -> OrderedDict[str, nn.Module]:
        """The modules whose run in this order is ``forward``: stem, and stage2 to stage5, a pyramid's taps.

        For torchvision's IntermediateLayerGetter, which knows direct children only.
        """
        stages = ((f"stage{i}", stage) for i, stage in enumerate(self.stages, start=2))
        return OrderedDict([("stem", self.stem), *stages])


def vovnet19() -> Trunk:
    """VoVNet-19 V2 (V-19-eSE), 10.2 M parameters."""
    return _trunk(VoVNet(WIDTHS["vovnet19"]))


def _trunk(network: VoVNet) -> Trunk:
    outs = network.widths.out
    stages = tuple(Stage(f"stage{i}", channels, 2**i) for i, channels in enumerate(outs, start=2))
    return Trunk(network, network.layers(), stages)
