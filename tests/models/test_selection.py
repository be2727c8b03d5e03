"""The selection of boxes between the networks of a detector."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from detect.models.prediction.selection import best_of_each


class LargestTensor(TorchDispatchMode):
    """Measures the largest result of an operation in the block, in elements."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def test_the_best_of_each_group_are_found_in_memory_for_single_scores_only():
    generator = torch.Generator().manual_seed(0)
    scores, groups = torch.rand(1000, generator=generator), torch.randint(90, (1000,), generator=generator)
    groups[groups == 7] = 8  # an empty group
    with LargestTensor() as largest:
        found = best_of_each(scores, groups, 91, limit=5)
    assert largest.elements <= 1000
    expected = []
    for group in range(91):
        expected += sorted((groups == group).nonzero()[:, 0].tolist(), key=lambda i: -scores[i])[:5]
    assert found.tolist() == expected
