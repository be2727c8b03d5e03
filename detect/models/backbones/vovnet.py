"""VoVNetV2 (Lee & Park, CenterMask, CVPR 2020, https://arxiv.org/abs/1911.06667), after VoVNet (Lee et al., CVPR
Workshops 2019, https://arxiv.org/abs/1904.09730).

Each block runs a chain of 3x3 convolutions and concatenates all their outputs once, at its end ("one-shot
aggregation"), so it reads less memory than a DenseNet. V2 adds a residual connection to all blocks of a stage but the
first, and weighs the channels of a stage's result ("effective squeeze and excitation", eSE). Widths are those of
https://github.com/youngwanLEE/vovnet-detectron2. Parameters have the names of timm's ``ese_vovnet*b``, so that a timm
state dict without its ``head.*`` loads with ``strict=True``.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from detect.models.backbones import Backbone, Stage, in_order


@dataclass(frozen=True)
class Widths:
    """Sizes of a VoVNet.

    Attributes:
        stem: channels of the three convolutions of the stem.
        middle: channels of the 3x3 convolutions in the blocks of each stage.
        out: output channels of each stage.
        convs: number of 3x3 convolutions per block.
        blocks: number of blocks of each stage.
        depthwise: whether all 3x3 convolutions but the first are depthwise separable.
    """

    stem: tuple[int, int, int] = (64, 64, 128)
    middle: tuple[int, int, int, int] = (128, 160, 192, 224)
    out: tuple[int, int, int, int] = (256, 512, 768, 1024)
    convs: int = 5
    blocks: tuple[int, int, int, int] = (1, 1, 1, 1)
    depthwise: bool = False


# timm's ese_vovnet19b, 19b_slim, 19b_dw, 39b and 57b: 10.2, 2.6, 5.5, 23.5 and 37.6 M parameters.
WIDTHS = {
    "vovnet19": Widths(convs=3),
    "vovnet19_slim": Widths(middle=(64, 80, 96, 112), out=(112, 256, 384, 512), convs=3),
    "vovnet19_dw": Widths(stem=(64, 64, 64), convs=3, depthwise=True),
    "vovnet39": Widths(blocks=(1, 1, 2, 2)),
    "vovnet57": Widths(blocks=(1, 1, 4, 3)),
}


def conv_norm_relu(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution, padded so that only the stride changes the size, a batch norm and a ReLU."""
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(channels_out), act=nn.ReLU(inplace=True)))


def separable_norm_relu(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """Return a depthwise 3x3 convolution, pointwise 1x1 convolution, batch norm and ReLU.

    See https://arxiv.org/abs/1704.04861.
    """
    depthwise = nn.Conv2d(channels_in, channels_in, 3, stride, padding=1, groups=channels_in, bias=False)
    pointwise = nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False)
    norm, act = nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)
    return nn.Sequential(OrderedDict(conv_dw=depthwise, conv_pw=pointwise, bn=norm, act=act))


class EffectiveSqueezeExcite(nn.Module):
    """Squeeze and excitation with one fully connected layer of full width instead of two narrow ones."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, kernel_size=1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.fc(x.mean((2, 3), keepdim=True)))


class OneShotAggregation(nn.Module):
    """A chain of 3x3 convolutions whose input and outputs are concatenated and reduced by a 1x1 convolution.

    first: whether the block is the first of its stage and changes the number of channels; others add their input.
    last: whether it is the last of its stage, which applies eSE.

    Depthwise separable convolutions keep the number of channels, so a 1x1 convolution (``conv_reduction``) precedes
    them.
    """

    def __init__(self, channels_in: int, middle: int, out: int, widths: Widths, first: bool, last: bool):
        super().__init__()
        self.residual = not first
        self.conv_reduction: nn.Module = nn.Identity()
        if widths.depthwise:
            self.conv_reduction = conv_norm_relu(channels_in, middle, kernel=1)
            chain = [separable_norm_relu(middle, middle) for _ in range(widths.convs)]
        else:
            channels = [channels_in] + [middle] * widths.convs
            chain = [conv_norm_relu(before, after) for before, after in pairwise(channels)]
        self.conv_mid = nn.Sequential(*chain)
        self.conv_concat = conv_norm_relu(channels_in + widths.convs * middle, out, kernel=1)
        self.attn = EffectiveSqueezeExcite(out) if last else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        y = self.conv_reduction(x)
        for conv in self.conv_mid:
            y = conv(y)
            maps.append(y)
        y = self.attn(self.conv_concat(torch.cat(maps, dim=1)))
        return x + y if self.residual else y


def vovnet(widths: Widths) -> nn.Sequential:
    """Return the network without classifier: ``stem``, with stride 4, and ``stages``, with strides 4, 8, 16 and 32.

    It turns normalized images float32 [B, 3, H, W] into a map [B, out[3], ~H/32, ~W/32]. Convolutions get He
    initialization.
    """
    first, second, third = widths.stem
    conv = separable_norm_relu if widths.depthwise else conv_norm_relu
    stem = nn.Sequential(conv_norm_relu(3, first, stride=2), conv(first, second), conv(second, third, stride=2))
    stages = nn.Sequential()
    before = third
    for middle, out, count in zip(widths.middle, widths.out, widths.blocks, strict=True):
        blocks = nn.Sequential()
        for i in range(count):
            blocks.append(OneShotAggregation(before, middle, out, widths, first=i == 0, last=i == count - 1))
            before = out
        # ceil_mode rounds odd sizes up, as in the published networks, whose weights expect such maps.
        pool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True) if len(stages) else nn.Identity()
        stages.append(nn.Sequential(OrderedDict(pool=pool, blocks=blocks)))
    network = nn.Sequential(OrderedDict(stem=stem, stages=stages))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def backbone(name: str) -> Backbone:
    """Return a VoVNet whose stages are ``stage2`` to ``stage5``, as the papers number them."""
    network = vovnet(WIDTHS[name])
    stem, stages = network.children()
    layers = OrderedDict([("stem", stem), *((f"stage{i}", stage) for i, stage in enumerate(stages.children(), 2))])
    maps = tuple(Stage(f"stage{i}", channels, 2**i) for i, channels in enumerate(WIDTHS[name].out, 2))
    return Backbone(network, in_order(layers), maps)
