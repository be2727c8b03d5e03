"""RoIAlign for a CPU: all levels, regions and channels at once.

torchvision's kernel takes one region and one channel after another, in a single thread, and its backward pass adds
number by number: of a training step on a CPU a fifth went there. Here every bin is a weighted sum of rows of a table
whose rows are the places of the feature maps, which ``embedding_bag`` computes in threads, a row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign


class RoIPool(MultiScaleRoIAlign):
    """torchvision's, with its results up to rounding; on other devices, and where a graph is recorded, it is that."""

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        maps = [x[name] for name in self.featmap_names if name in x]
        if self.scales is None or not _is_eager_on_cpu(maps[0]) or self.sampling_ratio < 1 or not any(map(len, boxes)):
            return super().forward(x, boxes, image_shapes)  # which sets the scales
        places, weights = self._taps(maps, boxes)
        table = as_rows(maps).float()  # bfloat16 would be too coarse for sums
        bins = F.embedding_bag(places, table, per_sample_weights=weights, mode="sum")
        rows, columns = self.output_size
        return bins.to(maps[0].dtype).view(-1, rows, columns, bins.shape[1]).permute(0, 3, 1, 2)

    @torch.no_grad()
    def _taps(self, maps: Sequence[Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """For each bin of each region the rows of ``as_rows(maps)`` that it sums, int32 [bins, taps], and how much of
        each, float32."""
        levels = self.map_levels(boxes)
        images = torch.cat([torch.full((len(some),), i) for i, some in enumerate(boxes)])
        sizes = torch.tensor([one.shape[-2:] for one in maps])[levels]
        heights, widths = sizes.unbind(1)
        first = row_starts(maps)[levels] + images * heights * widths
        regions = torch.cat(list(boxes)).float() * torch.tensor(self.scales)[levels, None]
        y, y_weights = self._along(regions[:, 1], regions[:, 3], heights, self.output_size[0])
        x, x_weights = self._along(regions[:, 0], regions[:, 2], widths, self.output_size[1])
        y = y * widths[:, None, None] + first[:, None, None]
        places = y[:, :, None, :, None] + x[:, None, :, None, :]  # [regions, rows, columns, taps along y, along x]
        weights = y_weights[:, :, None, :, None] * x_weights[:, None, :, None, :]
        return places.int().flatten(3).flatten(0, 2), weights.flatten(3).flatten(0, 2)

    def _along(self, start: Tensor, end: Tensor, size: Tensor, bins: int) -> tuple[Tensor, Tensor]:
        """RoIAlign (He et al., https://arxiv.org/abs/1703.06870) is separable; this is one axis of it.

        start, end: of the regions in pixels of their maps, float32 [regions]; size: of these maps, int64 [regions].
        Gives the pixels that each bin reads, int64 [regions, bins, 2 samples], two around every sample, and their
        weights.
        """
        count = bins * self.sampling_ratio
        samples = (torch.arange(count) + 0.5) / self.sampling_ratio  # in bins
        at = start[:, None] + samples * ((end - start).clamp(min=1) / bins)[:, None]
        last = size[:, None] - 1
        inside = (at >= -1) & (at <= size[:, None])
        at = torch.minimum(at.clamp(min=0), last)  # what lies beyond the middle of the last pixel reads that alone
        low = at.long()
        pixels = torch.stack([low, torch.minimum(low + 1, last)], dim=-1)
        share = at - low
        weights = torch.stack([1 - share, share], dim=-1) * (inside / self.sampling_ratio)[..., None]
        return pixels.view(len(start), bins, -1), weights.view(len(start), bins, -1)


def as_rows(maps: Sequence[Tensor]) -> Tensor:
    """The places of feature maps [N, C, H, W] one below the other, [places, C]: map by map, in it image by image,
    in that row by row."""
    return torch.cat([one.permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in maps])


def row_starts(maps: Sequence[Tensor]) -> Tensor:
    """The first row of each map in ``as_rows``, int64 [maps]."""
    return torch.tensor([0, *(one.shape[0] * one.shape[2] * one.shape[3] for one in maps[:-1])]).cumsum(0)


def _is_eager_on_cpu(one: Tensor) -> bool:
    recorded = torch.jit.is_tracing() or torch.jit.is_scripting() or torch.compiler.is_compiling()
    return one.device.type == "cpu" and not recorded
