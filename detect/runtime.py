"""The machine: device, seeds, threads."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys

import numpy as np
import torch

from detect.errors import UsageError


def pick_device(name: str) -> torch.device:
    """``auto`` takes CUDA, then MPS, then the CPU; UsageError for a device that is not there."""
    local = os.environ.get("LOCAL_RANK", "0")  # torchrun's: each process has a GPU of its own
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device '{name}': known are auto, cpu, cuda, cuda:0, mps") from None
    if device.type == "cuda":
        device = torch.device(f"cuda:{local}") if device.index is None else device
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= (device.index or 0):
            raise UsageError(f"--device {name}: this machine has {count} CUDA devices; use --device cpu")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: not available on this machine; use --device cpu")
    elif device.type not in ("cpu", "mps"):
        raise UsageError(f"unknown device '{name}': known are auto, cpu, cuda, cuda:0, mps")
    return device


def seed_all(*numbers: int) -> None:
    """Seed torch, numpy and random, for what draws from their global state (torchvision's samplers do).

    Of several numbers, such as a seed and a place in training, every one counts.
    """
    seed = numbers[0] if len(numbers) == 1 else int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def cores() -> int:
    """How many cores this process may use: fewer than the machine has in some containers and under taskset, and its
    share where torchrun started several."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def default_workers() -> int:
    """Loader processes for ``--workers auto``: none on up to 2 cores, where they take time from the model."""
    return 0 if cores() <= 2 else min(4, cores() // 2)


def set_up(workers: int = 0) -> None:
    """What a program does first: share the cores, and keep freed memory.

    OpenCV's own thread pool is off, since it fights with torch's and the loader's; torch gets the cores that
    ``workers`` loader processes leave it.
    """
    import cv2

    cv2.setNumThreads(0)
    # Else the user has said it, and torch has heard; torchrun says 1 for want of anything better.
    if "OMP_NUM_THREADS" not in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        torch.set_num_threads(max(1, cores() - workers))
    _keep_memory()


def worker_init(worker: int) -> None:
    """In each loader process: one thread, since there are as many processes as are wanted. Signals to stop, which a
    terminal and others send to all of them, are for the process to answer that started them and will end them."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.SIG_IGN)
    take_one_thread()


def take_one_thread() -> None:
    """Compute as a loader process does."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _keep_memory() -> None:
    """Let glibc keep freed tensors of up to 64 MiB instead of handing them back to the system.

    On a CPU a quarter of every training step would else go into page faults. Larger ones still go back, since
    holes of their size are seldom filled and memory would grow without need. Elsewhere nothing happens.
    Constants: https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    trim_threshold, mmap_threshold = -1, -3
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # Older ones take no more than 32 MiB, and where both were refused the other call alone would do harm: it ends
        # that glibc raises the threshold by itself.
        if libc.mallopt(mmap_threshold, 64 * 2**20) or libc.mallopt(mmap_threshold, 32 * 2**20):
            libc.mallopt(trim_threshold, 2**31 - 1)
