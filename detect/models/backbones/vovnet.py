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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from detect.models.backbones import Backbone, Stage, in_order

NormLayer = Callable[[int], nn.Module]


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


WIDTHS = {
    "vovnet19": Widths(convs=3),
    "vovnet19_slim": Widths(middle=(64, 80, 96, 112), out=(112, 256, 384, 512), convs=3),
    "vovnet19_dw": Widths(stem=(64, 64, 64), convs=3, depthwise=True),
    "vovnet39": Widths(blocks=(1, 1, 2, 2)),
    "vovnet57": Widths(blocks=(1, 1, 4, 3)),
}


class ConvNormRelu(nn.Module):
    """Convolution that keeps the size except for its stride, normalization, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, norm_layer: NormLayer, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = norm_layer(channels_out)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class SeparableNormRelu(nn.Module):
    """Depthwise 3x3 convolution, pointwise 1x1 convolution, normalization, ReLU.

    See https://arxiv.org/abs/1704.04861.
    """

    def __init__(self, channels_in: int, channels_out: int, norm_layer: NormLayer, stride: int = 1):
        super().__init__()
        self.conv_dw = nn.Conv2d(channels_in, channels_in, 3, stride, padding=1, groups=channels_in, bias=False)
        self.conv_pw = nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False)
        self.bn = norm_layer(channels_out)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv_pw(self.conv_dw(x))))


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

    def __init__(
        self, channels_in: int, middle: int, out: int, widths: Widths, norm_layer: NormLayer, first: bool, last: bool
    ):
        super().__init__()
        self.residual = not first
        self.conv_reduction: nn.Module = nn.Identity()
        chain: list[nn.Module]
        if widths.depthwise:
            self.conv_reduction = ConvNormRelu(channels_in, middle, 1, norm_layer)
            chain = [SeparableNormRelu(middle, middle, norm_layer) for _ in range(widths.convs)]
        else:
            channels = [channels_in] + [middle] * widths.convs
            chain = [ConvNormRelu(before, after, 3, norm_layer) for before, after in pairwise(channels)]
        self.conv_mid = nn.Sequential(*chain)
        self.conv_concat = ConvNormRelu(channels_in + widths.convs * middle, out, 1, norm_layer)
        self.attn = EffectiveSqueezeExcite(out) if last else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        y = self.conv_reduction(x)
        for conv in self.conv_mid:
            y = conv(y)
            maps.append(y)
        y = self.attn(self.conv_concat(torch.cat(maps, dim=1)))
        return x + y if self.residual else y


class VoVStage(nn.Module):
    """Max pooling with stride 2 (``halve``) or none, and one or several aggregation blocks."""

    def __init__(self, blocks: list[OneShotAggregation], halve: bool):
        super().__init__()
        # ceil_mode rounds odd sizes up, as in the published networks, whose weights expect such maps.
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True) if halve else nn.Identity()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.pool(x))


class VoVNet(nn.Module):
    """The network without classifier: normalized images float32 [B, 3, H, W] to a map [B, out[3], ~H/32, ~W/32].

    ``stem`` has stride 4 and ``stages`` have strides 4, 8, 16 and 32. Convolutions get He initialization.
    """

    def __init__(self, widths: Widths, norm_layer: NormLayer = nn.BatchNorm2d):
        super().__init__()
        self.widths = widths
        first, second, third = widths.stem
        conv = SeparableNormRelu if widths.depthwise else partial(ConvNormRelu, kernel=3)
        self.stem = nn.Sequential(
            ConvNormRelu(3, first, 3, norm_layer, stride=2),
            conv(first, second, norm_layer=norm_layer),
            conv(second, third, norm_layer=norm_layer, stride=2),
        )
        self.stages = nn.Sequential()
        before = third
        for middle, out, count in zip(widths.middle, widths.out, widths.blocks, strict=True):
            blocks = []
            for i in range(count):
                ends = {"first": i == 0, "last": i == count - 1}
                blocks.append(OneShotAggregation(before, middle, out, widths, norm_layer, **ends))
                before = out
            self.stages.append(VoVStage(blocks, halve=len(self.stages) > 0))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.stages(self.stem(images))

    def layers(self) -> OrderedDict[str, nn.Module]:
        """Return the modules that ``forward`` runs one after the other: ``stem``, and ``stage2`` to ``stage5``."""
        stages = ((f"stage{i}", stage) for i, stage in enumerate(self.stages, start=2))
        return OrderedDict([("stem", self.stem), *stages])


def vovnet19() -> Backbone:
    """V-19-eSE, 10.2 M parameters (timm's ese_vovnet19b)."""
    return _backbone("vovnet19")


def vovnet19_slim() -> Backbone:
    """V-19-Slim-eSE: half as wide, 2.6 M parameters (timm's ese_vovnet19b_slim)."""
    return _backbone("vovnet19_slim")


def vovnet19_dw() -> Backbone:
    """V-19-Dw-eSE: depthwise separable convolutions, 5.5 M parameters (timm's ese_vovnet19b_dw)."""
    return _backbone("vovnet19_dw")


def vovnet39() -> Backbone:
    """V-39-eSE, 23.5 M parameters (timm's ese_vovnet39b)."""
    return _backbone("vovnet39")


def vovnet57() -> Backbone:
    """V-57-eSE, 37.6 M parameters (timm's ese_vovnet57b)."""
    return _backbone("vovnet57")


def _backbone(name: str) -> Backbone:
    network = VoVNet(WIDTHS[name])
    outs = network.widths.out
    stages = tuple(Stage(f"stage{i}", channels, 2**i) for i, channels in enumerate(outs, start=2))
    return Backbone(network, in_order(network.layers()), stages)
