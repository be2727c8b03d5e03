"""The highest rate of matrix products of this machine."""

from __future__ import annotations

import time

import torch

from detect import runtime

SIDE = 2048


class MatrixPeak:
    """Times products of two SIDE x SIDE matrices in each number format that the CPU computes in.

    rates: number format -> operations per second of the fastest product so far. A multiplication and its addition are
    two operations.
    """

    def __init__(self) -> None:
        formats = {"fp32": torch.float32}
        if runtime.has_bfloat16(torch.device("cpu")):
            formats["bf16"] = torch.bfloat16
        self._matrices = {name: torch.randn(SIDE, SIDE).to(dtype) for name, dtype in formats.items()}
        self.rates = dict.fromkeys(formats, 0.0)
        self.measure()

    @torch.inference_mode()
    def measure(self) -> None:
        """Compute and time one product in each format."""
        for name, matrix in self._matrices.items():
            start = time.perf_counter()
            torch.mm(matrix, matrix)
            self.rates[name] = max(self.rates[name], 2 * SIDE**3 / (time.perf_counter() - start))
