"""Scale jitter: the random factor on the image size (Ghiasi et al., CVPR 2021, https://arxiv.org/abs/2012.07177)."""

from __future__ import annotations

import math

import numpy as np


class Jitter:
    """Range of the factor on the image size.

    low, high: smallest and largest factor.
    """

    def __init__(self, factors: tuple[float, float]) -> None:
        self.low, self.high = factors

    def factor(self, rng: np.random.Generator) -> float:
        """Return a factor drawn uniformly on a logarithmic scale."""
        return math.exp(rng.uniform(*np.log((self.low, self.high))))
