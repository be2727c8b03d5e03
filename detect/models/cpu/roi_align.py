"""RoIAlign for CPUs that processes all FPN levels, RoIs and channels together.

torchvision's kernel processes one RoI and one channel after another in a single thread, and its backward pass adds
single numbers; it took a fifth of a training step on a CPU. Here every bin is a weighted sum of rows of a table that
has one row per location of the feature maps. ``embedding_bag`` computes such sums in several threads, one whole row at
a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_align


class VectorizedRoIAlign(MultiScaleRoIAlign):
    """torchvision's MultiScaleRoIAlign with equal results up to rounding.

    On other devices, and while a graph is traced, scripted or compiled, it runs torchvision's code.
    """

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        maps = [x[name] for name in self.featmap_names if name in x]
        if self.scales is None or not _is_eager_on_cpu(maps[0]) or self.sampling_ratio < 1 or not any(map(len, boxes)):
            return super().forward(x, boxes, image_shapes)  # sets ``scales``
        images = torch.cat([torch.full((len(some),), i) for i, some in enumerate(boxes)])
        return self.pooled(maps, as_rows(maps).float(), torch.cat(list(boxes)), images)

    def pooled(self, maps: Sequence[Tensor], table: Tensor, boxes: Tensor, images: Tensor) -> Tensor:
        """Return the features of R RoIs, [R, C, output rows, output columns], on a CPU.

        maps: the levels of ``featmap_names``.  boxes, images: as in ``RoIFeatures``.
        table: ``as_rows(maps)`` in float32, since 16 bits are too coarse for sums.
        """
        locations, weights = self._samples(maps, boxes, images)
        bins = F.embedding_bag(locations, table, per_sample_weights=weights, mode="sum")
        rows, columns = self.output_size
        return bins.to(maps[0].dtype).view(-1, rows, columns, bins.shape[1]).permute(0, 3, 1, 2)

    @torch.no_grad()
    def _samples(self, maps: Sequence[Tensor], boxes: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of ``as_rows(maps)`` that each bin of each RoI sums up, and their weights.

        Returns int32 and float32, both [bins, samples], where bins = RoIs x output rows x output columns.
        """
        levels = self.map_levels([boxes])
        sizes = torch.tensor([one.shape[-2:] for one in maps])[levels]
        heights, widths = sizes.unbind(1)
        first = row_starts(maps)[levels] + images * heights * widths
        rois = boxes.float() * torch.tensor(self.scales)[levels, None]
        y, y_weights = self._samples_of_axis(rois[:, 1], rois[:, 3], heights, self.output_size[0])
        x, x_weights = self._samples_of_axis(rois[:, 0], rois[:, 2], widths, self.output_size[1])
        y = y * widths[:, None, None] + first[:, None, None]
        locations = y[:, :, None, :, None] + x[:, None, :, None, :]  # [RoIs, rows, columns, y samples, x samples]
        weights = y_weights[:, :, None, :, None] * x_weights[:, None, :, None, :]
        return locations.int().flatten(3).flatten(0, 2), weights.flatten(3).flatten(0, 2)

    def _samples_of_axis(self, start: Tensor, end: Tensor, size: Tensor, bins: int) -> tuple[Tensor, Tensor]:
        """Return the samples of one axis; RoIAlign (He et al., https://arxiv.org/abs/1703.06870) is separable.

        start, end: sides of the RoIs in pixels of their feature maps, float32 [RoIs].
        size: side of these maps, int64 [RoIs].
        Returns pixel indices int64 [RoIs, bins, 2 x sampling_ratio], two neighbors per sample, and their weights.
        """
        count = bins * self.sampling_ratio
        samples = (torch.arange(count) + 0.5) / self.sampling_ratio  # in bins
        at = start[:, None] + samples * ((end - start).clamp(min=1) / bins)[:, None]
        last = size[:, None] - 1
        inside = (at >= -1) & (at <= size[:, None])
        at = torch.minimum(at.clamp(min=0), last)  # beyond the center of the last pixel, only that pixel counts
        low = at.long()
        pixels = torch.stack([low, torch.minimum(low + 1, last)], dim=-1)
        fraction = at - low
        weights = torch.stack([1 - fraction, fraction], dim=-1) * (inside / self.sampling_ratio)[..., None]
        return pixels.view(len(start), bins, -1), weights.view(len(start), bins, -1)


class RoIFeatures:
    """Pools features of RoIs from the feature maps of a batch. All poolers share one copy of the maps as a table.

    maps: feature maps of all levels, [N, C, h, w]; those after the levels of a pooler are ignored.
    """

    def __init__(self, maps: Sequence[Tensor]) -> None:
        self._maps = maps
        self._tables: dict[int, Tensor] = {}  # by number of levels

    def pooled(self, pooler: MultiScaleRoIAlign, boxes: Tensor, images: Tensor) -> Tensor:
        """Return the features of R RoIs, [R, C, output rows, output columns].

        pooler: the MultiScaleRoIAlign of a built model.
        boxes: float32 [R, 4], xyxy, pixels of the batched images.
        images: number of the image of each box, int64 [R].
        """
        used = self._maps[: len(pooler.scales)]
        is_vectorized = isinstance(pooler, VectorizedRoIAlign) and pooler.sampling_ratio > 0
        if is_vectorized and _is_eager_on_cpu(used[0]) and len(boxes):
            if len(used) not in self._tables:
                self._tables[len(used)] = as_rows(used).float()
            return pooler.pooled(used, self._tables[len(used)], boxes, images)
        rois = torch.cat([images[:, None].to(boxes.dtype), boxes], dim=1)
        levels = pooler.map_levels([boxes]) if len(used) > 1 else torch.zeros_like(images)
        places = [(levels == level).nonzero()[:, 0] for level in range(len(used))]
        # 16 bits would round coordinates, and bfloat16 has no kernel.
        dtype = torch.promote_types(used[0].dtype, rois.dtype)
        pooled = [
            roi_align(one.to(dtype), rois[place].to(dtype), pooler.output_size, scale, pooler.sampling_ratio)
            for one, place, scale in zip(used, places, pooler.scales, strict=True)
        ]
        return torch.cat(pooled)[torch.cat(places).argsort()].to(used[0].dtype)


def as_rows(maps: Sequence[Tensor]) -> Tensor:
    """Return all locations of feature maps [N, C, H, W] as rows of one table [locations, C].

    Order: by map, then by image, then row by row.
    """
    return torch.cat([one.permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in maps])


def row_starts(maps: Sequence[Tensor]) -> Tensor:
    """Return the index of each map's first row in ``as_rows``, int64 [maps]."""
    return torch.tensor([0, *(one.shape[0] * one.shape[2] * one.shape[3] for one in maps[:-1])]).cumsum(0)


def _is_eager_on_cpu(tensor: Tensor) -> bool:
    is_recorded = torch.jit.is_tracing() or torch.jit.is_scripting() or torch.compiler.is_compiling()
    return tensor.device.type == "cpu" and not is_recorded
