"""The processes that train one model together, as torchrun starts them. Alone, every function here costs nothing.

    torchrun --nproc_per_node=2 train.py ...

gives each process its number in the environment (https://docs.pytorch.org/docs/stable/elastic/run.html).
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from detect.errors import UsageError

T = TypeVar("T")

# The first process may download or render a dataset while the others wait.
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
    """This process among those that have met, alone before."""
    if not dist.is_initialized():
        return World()
    return World(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


def announced() -> World:
    """What the environment says, as torchrun sets it; UsageError where it is of no sense."""
    names = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    try:
        found = World(*(int(os.environ.get(name, usual)) for name, usual in names))
    except ValueError:
        raise UsageError(
            "RANK, WORLD_SIZE and LOCAL_RANK in the environment must be numbers, as torchrun sets them"
        ) from None
    if not 0 <= found.rank < found.size:
        raise UsageError(f"RANK {found.rank} in the environment is none of WORLD_SIZE {found.size} processes")
    return found


def be_alone(what: str) -> None:
    """UsageError where several processes do ``what``, which is for one."""
    if announced().size > 1:
        raise UsageError(f"{what} is for one process; start it without torchrun")


@contextlib.contextmanager
def started(device: torch.device) -> Iterator[World]:
    """Meet the other processes, if there are any: over NCCL between GPUs, over gloo for everything else.

    The first process alone writes to stdout and stderr in the block. An error that leaves it is shown all the same.
    """
    here = announced()
    if here.size == 1:
        yield here
        return
    if device.type == "cuda":
        if device.index != here.local:
            raise UsageError(f"--device {device}: several processes need a GPU each; give --device cuda")
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # Channels-last weights: a copy more at every step, which is nothing beside the step.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
        if not here.is_first:
            nowhere = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        yield here
    dist.destroy_process_group()  # not after an error, while others may wait for this one


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


def largest(*numbers: int) -> list[int]:
    """Of each of ``numbers`` the largest that any of the processes gives."""
    if not dist.is_initialized():
        return list(numbers)
    found = torch.tensor(numbers)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


def is_any(here: bool) -> bool:
    """Whether it is so in any of the processes."""
    return largest(int(here)) == [1]


def share_buffers(*modules: nn.Module) -> None:
    """Give the buffers of ``modules``, such as the statistics of batch norms, the first process' values in all."""
    if dist.is_initialized():
        for module in modules:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)
