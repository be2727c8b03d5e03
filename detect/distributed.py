"""Communication between the processes that train one model, as torchrun starts them.

    torchrun --nproc_per_node=2 train.py ...

Every process finds its rank in the environment (https://docs.pytorch.org/docs/stable/elastic/run.html). With a single
process, no function here communicates.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from detect.errors import DetectError, LostProcessError, UsageError

T = TypeVar("T")

# The first process may download or render a dataset while the others wait.
_TIMEOUT = timedelta(hours=2)


_ERRORS = "errors"  # number of errors, in the store that the processes share
# In errors of the backends when another process has ended: of gloo between CPUs, of NCCL between GPUs.
_LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "NCCL communicator was aborted",
    "ncclRemoteError",
)


@dataclass(frozen=True)
class World:
    """Position of this process among all processes.

    rank: 0 .. size - 1; the process with rank 0 writes files and prints.
    size: number of processes.
    local_rank: rank among the processes on this machine, which is also the index of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def world() -> World:
    """Return the position of this process; rank 0 of 1 outside of ``process_group``."""
    if not dist.is_initialized():
        return World()
    return World(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


def world_from_environment() -> World:
    """Return rank, number of processes and local rank from the variables that torchrun sets.

    Without these variables the process is alone: rank 0 of 1. Raises UsageError for invalid values."""
    names = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    try:
        position = World(*(int(os.environ.get(name, default)) for name, default in names))
    except ValueError:
        raise UsageError(
            "RANK, WORLD_SIZE and LOCAL_RANK in the environment must be whole numbers, as torchrun sets them"
        ) from None
    if not 0 <= position.rank < position.size:
        raise UsageError(
            f"RANK {position.rank} in the environment must be at least 0 and below WORLD_SIZE {position.size}"
        )
    return position


def require_single_process(what: str) -> None:
    """Raise UsageError if torchrun started several processes; ``what`` names the feature in the message."""
    if world_from_environment().size > 1:
        raise UsageError(f"{what} runs in one process only; start it without torchrun")


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[World]:
    """Connect to the other processes, if there are any: NCCL between GPUs, gloo otherwise.

    In the block only the first process writes to stdout and stderr. Yields the position of this process.
    Raises LostProcessError if the connection to another process is lost because that one has ended.
    """
    here = world_from_environment()
    if here.size == 1:
        yield here
        return
    if device.type == "cuda":
        if device.index != here.local_rank:
            raise UsageError(f"`device='{device}'`: each of several processes needs its own GPU; use `device='cuda'`")
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # Channels-last weights cost DDP one more copy per step, which is negligible.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
        if not here.is_first:
            nowhere = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        try:
            yield here
        except DetectError as error:
            error.is_explained = _is_explained()
            raise
        except RuntimeError as error:
            if not is_lost_connection(error):
                raise
            lost = LostProcessError("another process of this program has ended")
            lost.is_explained = _is_explained()
            raise lost from None
    dist.destroy_process_group()  # not after an error: other processes may still wait for this one


def _is_explained() -> bool:
    """Return whether another process has failed before, whose error is printed; the first one to fail gets False."""
    try:
        return dist.distributed_c10d._get_default_store().add(_ERRORS, 1) > 1
    except RuntimeError:  # the process that keeps the store has ended
        return False


def is_lost_connection(error: RuntimeError) -> bool:
    """Return whether an error of a collective operation says that another process has ended."""
    return dist.is_initialized() and any(text in str(error) for text in _LOST)


def all_gather(value: T) -> list[T]:
    """Return the ``value`` of every process, ordered by rank."""
    if not dist.is_initialized():
        return [value]
    values: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def compute_on_first(compute: Callable[[], T]) -> T:
    """Call ``compute`` in the first process and return its result in every process.

    A DetectError of ``compute`` is raised in every process, any other error in the first one only. NumPy arrays in the
    result are sent without copying them, so that a large dataset needs its memory once in each process.
    """
    if not dist.is_initialized():
        return compute()
    value, error = None, None
    if dist.get_rank() == 0:
        try:
            value = compute()
        except DetectError as raised:
            error = raised
    value, error = _broadcast((value, error))
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def _broadcast(value: Any) -> Any:
    """Return the ``value`` of the first process."""
    buffers: list[pickle.PickleBuffer] = []
    message: list[Any] = [b"", []]  # the pickled value without its arrays, and the length of each array in bytes
    if dist.get_rank() == 0:
        head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        message = [head, [buffer.raw().nbytes for buffer in buffers]]
    dist.broadcast_object_list(message, src=0)
    head, lengths = message
    arrays = [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers] or [np.empty(n, np.uint8) for n in lengths]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)  # it is only read
        for array in arrays:
            if len(array):
                dist.broadcast(torch.from_numpy(array), src=0)
    return value if dist.get_rank() == 0 else pickle.loads(head, buffers=arrays)


def all_max(*numbers: int) -> list[int]:
    """Return for each number the maximum over all processes."""
    if not dist.is_initialized():
        return list(numbers)
    maxima = torch.tensor(numbers)
    dist.all_reduce(maxima, dist.ReduceOp.MAX)
    return maxima.tolist()


def any_process(condition: bool) -> bool:
    """Return whether ``condition`` is true in at least one process."""
    return all_max(int(condition)) == [1]


def broadcast_buffers(*modules: nn.Module) -> None:
    """Copy the buffers of ``modules``, such as batch-norm statistics, from the first process to all others."""
    if dist.is_initialized():
        for module in modules:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)
