"""Process-wide settings of the machine: device, random seeds, threads, memory allocator."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import random
import signal
import sys

import cv2
import numpy as np
import torch

from detect.errors import UsageError
from detect.text import counted

# Ctrl-C, a request to end, and a closed terminal, which Windows does not signal.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
_DEVICES = "auto, cpu, cuda, cuda:0, mps"


def pick_device(name: str) -> torch.device:
    """Return the torch device for a name: ``auto`` takes CUDA if available, else MPS, else the CPU.

    Under torchrun, ``cuda`` is the GPU with this process' local rank. Raises UsageError for a device that does not
    exist on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device '{name}': known are {_DEVICES}") from None
    if device.type == "cuda":
        device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}") if device.index is None else device
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not 0 <= (device.index or 0) < count:  # torch wraps a large index around to a negative one
            raise UsageError(f"`device='{name}'`: this machine has {count} CUDA devices; use `device='cpu'`")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("`device='mps'`: not available on this machine; use `device='cpu'`")
    elif device.type not in ("cpu", "mps"):
        raise UsageError(f"unknown device '{name}': known are {_DEVICES}")
    return device


def device_in_words(device: torch.device) -> str:
    """Return ``cpu, 8 threads`` or ``cuda:0, NVIDIA H200``."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"{device}, {counted(torch.get_num_threads(), 'thread')}" if device.type == "cpu" else str(device)


def has_bfloat16(device: torch.device) -> bool:
    """Return whether ``device`` computes in bfloat16 natively; an x86 CPU needs AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and cpu_has_bfloat16()


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU has AVX-512 BF16 or AMX instructions."""
    tests = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(test() for test in tests if test)


def cpu_has_int8_products() -> bool:
    """Return whether this CPU multiplies 8-bit numbers faster than float32; an x86 CPU needs VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    if not hasattr(torch.cpu, "get_capabilities"):  # before torch 2.10
        return bool(torch.cpu._is_vnni_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))


def hide_gpu_warning() -> None:
    """Hide the warning that there is no GPU, which a module of torch prints that nncf and torch.compile import."""
    # A filter, since torch resets the level of its loggers later.
    logging.getLogger("torch.utils.cpp_extension").addFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def seed_all(*numbers: int) -> None:
    """Seed the global generators of torch, numpy and random, from which torchvision's samplers draw.

    Several numbers, such as a seed and a step of training, are combined into one seed.
    """
    seed = numbers[0] if len(numbers) == 1 else int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def available_cores() -> int:
    """Return the number of CPU cores for this process.

    Containers and taskset may allow fewer cores than the machine has; processes of torchrun divide them evenly.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def default_workers() -> int:
    """Return the default number of loader processes: 0 on up to 2 cores, where they would slow the model down."""
    return 0 if available_cores() <= 2 else min(4, available_cores() // 2)


def configure_process(workers: int = 0) -> None:
    """Divide the cores between torch and the loader processes, and keep freed memory in the process.

    workers: number of loader processes; torch gets the remaining cores. OpenCV's own thread pool, which would compete
    with both, is switched off.
    """
    cv2.setNumThreads(0)
    # A user's OMP_NUM_THREADS already took effect in torch. torchrun sets it to 1 only for lack of a better value.
    if "OMP_NUM_THREADS" not in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        torch.set_num_threads(max(1, available_cores() - workers))
    keep_freed_memory()


def worker_init(worker: int) -> None:
    """Prepare a loader process: one thread, and signals to stop are ignored.

    A terminal sends those signals to every process; the main process handles them and ends its workers.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def keep_freed_memory() -> None:
    """Make glibc keep freed tensors of up to 64 MiB instead of returning them to the system.

    Otherwise a quarter of every training step on a CPU, and up to a third of a detection, goes into page faults.
    Larger blocks are still returned, since holes of their size are seldom reused and memory would grow. Has no effect
    on other platforms. Constants: https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    trim_threshold, mmap_threshold = -1, -3
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # Older versions accept at most 32 MiB. If both values are refused, the second call must not be made: it would
        # switch off glibc's own dynamic threshold.
        if libc.mallopt(mmap_threshold, 64 * 2**20) or libc.mallopt(mmap_threshold, 32 * 2**20):
            libc.mallopt(trim_threshold, 2**31 - 1)
