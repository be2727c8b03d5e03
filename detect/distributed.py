"""The processes that train one model together, as torchrun starts them. Alone, every function here costs nothing.

    torchrun --nproc_per_node=2 train.py ...

gives each process its number in the environment (https://docs.pytorch.org/docs/stable/elastic/run.html).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from detect.errors import UsageError

T = TypeVar("T")

# The first process may download or render a data set while the others wait.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class World:
    """rank: the number of this process, 0 .. size - 1; the first one writes and speaks.  local: its number on this
    machine, and so of its GPU."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def world() -> World:
    """What the environment says; UsageError where it is of no sense."""
    try:
        found = World(
            *(int(os.environ.get(name, n)) for name, n in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
        )
    except ValueError:
        raise UsageError(
            "RANK, WORLD_SIZE and LOCAL_RANK in the environment must be numbers, as torchrun sets them"
        ) from None
    if not 0 <= found.rank < found.size:
        raise UsageError(f"RANK {found.rank} in the environment is none of WORLD_SIZE {found.size} processes")
    return found


@contextlib.contextmanager
def started(device: torch.device) -> Iterator[World]:
    """Meet the other processes, if there are any: over NCCL between GPUs, over gloo for everything else.

    The first process alone writes to stdout and stderr in the block.
    """
    here = world()
    if here.size == 1:
        yield here
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        with contextlib.ExitStack() as stack:
            if not here.is_first:  # an error that leaves the block is shown all the same
                nowhere = stack.enter_context(Path(os.devnull).open("w"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
            yield here
    finally:
        dist.destroy_process_group()


def gathered(value: T) -> list[T]:
    """The ``value`` of every process, in the order of their numbers."""
    if not dist.is_initialized():
        return [value]
    values: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def from_first(make: Callable[[], T]) -> T:
    """What ``make`` gives in the first process, in all of them; the others wait."""
    if not dist.is_initialized():
        return make()
    made = [make() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(made, src=0)
    return made[0]  # type: ignore[return-value]


@contextlib.contextmanager
def first_goes_ahead() -> Iterator[None]:
    """The first process goes through the block alone, and then the others, who find what it has made."""
    if not dist.is_initialized():
        yield
        return
    if dist.get_rank() != 0:
        dist.barrier()
    yield
    if dist.get_rank() == 0:
        dist.barrier()


def is_any(here: bool) -> bool:
    """Whether it is so in any of the processes."""
    if not dist.is_initialized():
        return here
    flag = torch.tensor(int(here))
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)
