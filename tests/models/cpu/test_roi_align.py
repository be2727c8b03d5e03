"""VectorizedRoIAlign equals torchvision's RoIAlign up to rounding."""

from __future__ import annotations

import pytest
import torch
from helpers.feature_maps import MAP_IMAGE_HW, assert_close, feature_maps
from torchvision.ops import MultiScaleRoIAlign

from detect.models.cpu.roi_align import RoIFeatures, VectorizedRoIAlign

FORMATS = (torch.contiguous_format, torch.channels_last)


def random_boxes(count: int) -> torch.Tensor:
    """Boxes of all sizes, some partly outside the image, and one of zero area."""
    generator = torch.Generator().manual_seed(count)
    center = torch.rand(count, 2, generator=generator) * torch.tensor([240.0, 170.0]) - 10
    half = torch.exp(torch.rand(count, 2, generator=generator) * 5)
    half[:1] = 0
    return torch.cat([center - half, center + half], dim=1)


def pooler(kind: type[MultiScaleRoIAlign], names: list[str], side: int = 7, samples: int = 2) -> MultiScaleRoIAlign:
    """Return a pooler whose scales are set, as in built models."""
    made = kind(names, side, samples)
    made(feature_maps(torch.channels_last), [torch.zeros(0, 4)], [(160, 224)])
    return made


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("side", "samples"), [(7, 2), (14, 2), (3, 1)])
def test_output_and_gradient_equal_torchvisions(memory_format, side, samples):
    boxes = [random_boxes(40), torch.zeros(0, 4), random_boxes(25)]
    results = {}
    for kind in (MultiScaleRoIAlign, VectorizedRoIAlign):
        maps = feature_maps(memory_format)
        pool = pooler(kind, ["0", "1", "2", "3"], side, samples)
        output = pool(maps, boxes, [MAP_IMAGE_HW, (100, 100), (160, 224)])
        (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
        results[kind] = {"pooled": output.detach(), **{name: maps[name].grad for name in "0123"}}
        assert maps["p"].grad is None
    assert_close(results[VectorizedRoIAlign], results[MultiScaleRoIAlign])


def test_no_boxes_give_an_empty_output():
    maps = feature_maps(torch.channels_last, 1)
    pool = pooler(VectorizedRoIAlign, ["0", "1"])
    assert pool(maps, [torch.zeros(0, 4)], [MAP_IMAGE_HW]).shape == (0, 6, 7, 7)


def test_a_single_level_equals_torchvisions():
    maps, boxes = feature_maps(torch.channels_last, 1), [random_boxes(9)]
    actual = pooler(VectorizedRoIAlign, ["1"])(maps, boxes, [MAP_IMAGE_HW])
    expected = pooler(MultiScaleRoIAlign, ["1"])(maps, boxes, [MAP_IMAGE_HW])
    assert torch.allclose(actual, expected, atol=1e-4)


def test_bfloat16_maps_give_bfloat16_output():
    exact_maps = feature_maps(torch.channels_last, 1)
    maps = {name: one.bfloat16() for name, one in exact_maps.items()}
    pool = pooler(VectorizedRoIAlign, ["0", "1", "2", "3"])
    actual, exact = (pool(some, [random_boxes(9)], [MAP_IMAGE_HW]) for some in (maps, exact_maps))
    assert actual.dtype == torch.bfloat16 and torch.allclose(actual.float(), exact, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_maps_of_16_bits_are_pooled_at_exact_coordinates_on_other_devices(monkeypatch, dtype):
    monkeypatch.setattr("detect.models.cpu.roi_align._is_eager_on_cpu", lambda tensor: False)
    maps = [one.detach().to(dtype) for one in feature_maps(torch.channels_last, 1).values()]
    pool, boxes = pooler(VectorizedRoIAlign, ["0", "1", "2", "3"]), random_boxes(40)
    found = RoIFeatures(maps).pooled(pool, boxes, torch.zeros(40, dtype=torch.int64))
    expected = RoIFeatures([one.float() for one in maps]).pooled(pool, boxes, torch.zeros(40, dtype=torch.int64))
    assert found.dtype == dtype and torch.equal(found, expected.to(dtype))
