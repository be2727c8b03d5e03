"""What every test needs."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from more threads, and sums in another order differ in the last digit."""
    torch.set_num_threads(1)
