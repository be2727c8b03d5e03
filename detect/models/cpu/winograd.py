"""3x3 convolutions with fewer multiplications, for inference on CPUs.

Winograd's algorithm F(4x4, 3x3) computes a tile of 4x4 output pixels from 6x6 input pixels with 36 multiplications per
pair of channels instead of 144: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
https://arxiv.org/abs/1509.09308. The rest are additions, which take memory bandwidth. So the tiles are processed in
blocks that fit into the cache, each block by one thread.

The results differ from those of a direct convolution by rounding: about 5e-6 of the largest value.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from detect.models.cpu.conv import BandedConv3x3, is_plain_inference

if TYPE_CHECKING:
    from detect.models.builder import Detector

T = TypeVar("T")
Tensors: TypeAlias = Tensor | Sequence[Tensor]

BLOCK_TILES = 160  # tiles that are transformed and multiplied together
MIN_TILES = 24  # of all images; with fewer, the products of matrices are too small to be fast
# torch's name of the instruction set -> channels from which this is faster than a direct convolution. AVX-512
# speeds up direct ones more than the transforms, whose share falls with the number of channels.
MIN_CHANNELS = {"AVX2": 64, "AVX512": 256}
_OUT, _IN = 4, 6  # pixels of a side of a tile in the output and in the input

# Transform of the weights: g -> G g G^T, the matrix of the paper for the points 0, 1, -1, 2, -2.
_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


class WinogradConv3x3(nn.Conv2d):
    """Conv2d with kernel 3, stride 1 and padding 1 that uses Winograd's algorithm in inference mode.

    Only float32 on a CPU and maps of at least MIN_TILES tiles use it; all others, gradients, traces and compilers get
    torch's own convolution. The transformed weights are four times as large as the weights. They are computed on the
    first use, after which the weights must not change.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not _is_supported(x) or self.weight.dtype != torch.float32:
            return super().forward(x)
        transformed = self.__dict__.get("transformed")
        if transformed is None:
            transformed = self.__dict__["transformed"] = transform_weights(self.weight)
        return winograd_conv3x3(x, transformed, self.bias)


def use_winograd(model: Detector) -> None:
    """Let the 3x3 convolutions of FPN, RPN and heads use Winograd's algorithm, in place, where this CPU gains from it.

    model: one that is not trained further. Names and values of its parameters stay. Its backbone keeps direct
    convolutions, since rounding adds up over its many layers.
    """
    min_channels = MIN_CHANNELS.get(torch.backends.cpu.get_cpu_capability())
    if min_channels is None:
        return
    kept = set(model.backbone.modules()) - set(getattr(model.backbone, "fpn", nn.Identity()).modules())
    for module in set(model.modules()) - kept:
        if type(module) in (nn.Conv2d, BandedConv3x3) and _is_suited(module, min_channels):
            module.__class__ = WinogradConv3x3  # a subclass that adds methods only


def _is_suited(conv: nn.Module, min_channels: int) -> bool:
    assert isinstance(conv, nn.Conv2d)
    return (
        (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and min(conv.in_channels, conv.out_channels) >= min_channels
    )


def _is_supported(x: Tensor) -> bool:
    if not is_plain_inference(x) or x.dtype != torch.float32:
        return False
    return x.shape[0] * -(-x.shape[2] // _OUT) * -(-x.shape[3] // _OUT) >= MIN_TILES


def transform_weights(weight: Tensor) -> Tensor:
    """Return the weights, [O, C, 3, 3], in the form that ``winograd_conv3x3`` needs, float32 [36, C, O]."""
    g = torch.tensor(_G, dtype=torch.float64)
    products = torch.einsum("ij,ocjk,lk->ilco", g, weight.detach().double(), g)
    return products.flatten(0, 1).float().contiguous()


def winograd_conv3x3(x: Tensor, transformed: Tensor, bias: Tensor | None, block_tiles: int = BLOCK_TILES) -> Tensor:
    """Return the convolution with kernel 3, stride 1 and padding 1, float32 [N, O, H, W], channels-last.

    x: float32 [N, C, H, W].  transformed: of ``transform_weights``.  bias: float32 [O].
    block_tiles: number of tiles that are processed together, about.
    """
    count, channels, height, width = x.shape
    down, across = -(-height // _OUT), -(-width // _OUT)  # tiles
    padded = x.new_empty(count, _OUT * down + 2, _OUT * across + 2, channels)
    padded[:, 1 : height + 1, 1 : width + 1] = x.permute(0, 2, 3, 1)
    for border in (padded[:, :1], padded[:, height + 1 :], padded[:, :, :1], padded[:, :, width + 1 :]):
        border.zero_()
    result = x.new_empty(count, _OUT * down, _OUT * across, transformed.shape[2])

    def compute(block: tuple[slice, int, int]) -> None:
        images, first, last = block
        rows = slice(_OUT * first, _OUT * last + 2), slice(_OUT * first, _OUT * last)
        _compute_block(padded[images, rows[0]], transformed, bias, result[images, rows[1]])

    _run(compute, list(_blocks(count, down, across, block_tiles)))
    return result[:, :height, :width].permute(0, 3, 1, 2)


def _blocks(count: int, down: int, across: int, tiles: int) -> Iterator[tuple[slice, int, int]]:
    """Yield blocks of about ``tiles`` tiles: images, and the first and the last row of tiles, the last one excluded.

    count: number of images of ``down`` times ``across`` tiles.
    """
    images = max(1, tiles // (down * across))
    rows = down if images > 1 else min(down, max(1, tiles // across))
    for first_image in range(0, count, images):
        for first in range(0, down, rows):
            yield slice(first_image, first_image + images), first, min(first + rows, down)


@torch.inference_mode()
def _compute_block(padded: Tensor, transformed: Tensor, bias: Tensor | None, result: Tensor) -> None:
    """Compute the tiles of a block.

    padded: [n, 4 t + 2, 4 s + 2, C], the input pixels of n images with t times s tiles.
    result: [n, 4 t, 4 s, O], receives the output pixels.
    """
    count, height, width, channels = padded.shape
    down, across = height // _OUT, width // _OUT
    outputs = result.shape[3]
    # The transforms are separable: first along the columns of the tiles, then along their rows.
    columns = padded.new_empty(_IN, count, down, width, channels)
    _transform_input([padded[:, i : i + _OUT * down - 3 : _OUT] for i in range(_IN)], columns)
    tiles = padded.new_empty(_IN, _IN, count, down, across, channels)
    parts = [columns[:, :, :, i : i + _OUT * across - 3 : _OUT] for i in range(_IN)]
    _transform_input(parts, tiles.unbind(1))
    products = torch.bmm(tiles.view(_IN * _IN, -1, channels), transformed)
    products = products.view(_IN, _IN, count, down, across, outputs)
    columns = padded.new_empty(_OUT, _IN, count, down, across, outputs)
    _transform_output(products, columns)
    pixels = result.view(count, down, _OUT, across, _OUT, outputs).permute(4, 2, 0, 1, 3, 5)
    _transform_output(columns.unbind(1), pixels)
    if bias is not None:
        result += bias


def _transform_input(d: Tensors, out: Tensors) -> None:
    """Write B^T d of the paper to ``out``. ``d`` and ``out``: six tensors of equal shape."""
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(d[4], d[2], out=even)
    torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.add(d[4], d[0], alpha=4, out=out[0])
    out[0].sub_(d[2], alpha=5)
    torch.add(d[5], d[1], alpha=4, out=out[5])
    out[5].sub_(d[3], alpha=5)


def _transform_output(m: Tensors, out: Tensors) -> None:
    """Write A^T m of the paper to ``out``. ``m``: six tensors.  ``out``: four tensors of the same shape."""
    sum1, difference1, sum2, difference2 = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    torch.add(m[0], sum1, out=out[0])
    out[0].add_(sum2)
    torch.add(difference1, difference2, alpha=2, out=out[1])
    torch.add(sum1, sum2, alpha=4, out=out[2])
    torch.add(difference1, difference2, alpha=8, out=out[3])
    out[3].add_(m[5])


_lock = threading.Lock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}  # by process, since threads do not survive a fork


def _run(function: Callable[[T], None], items: Sequence[T]) -> None:
    """Call ``function`` with each item, in as many threads as torch uses; each call computes in one thread."""
    workers = torch.get_num_threads()
    if workers == 1 or len(items) == 1:
        for item in items:
            function(item)
    else:
        list(_pool(workers).map(function, items))


def _pool(workers: int) -> ThreadPoolExecutor:
    with _lock:
        key = os.getpid(), workers
        if key not in _pools:
            barrier = threading.Barrier(workers)
            pool = ThreadPoolExecutor(workers, "winograd", initializer=lambda: torch.set_num_threads(1))
            list(pool.map(lambda _: barrier.wait(), range(workers)))  # starts all threads
            torch.set_num_threads(workers)  # the initializer also set the number for threads that start later
            _pools[key] = pool
        return _pools[key]
