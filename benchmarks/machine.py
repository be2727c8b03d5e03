"""What a benchmark ran on."""

from __future__ import annotations

import platform
from pathlib import Path

import torch
import torchvision


def in_words(device: torch.device) -> str:
    """What computed, in words: processor, threads, versions."""
    kind = torch.backends.cpu.get_cpu_capability()
    where = f"{_processor()} with {kind}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        where = f"{torch.cuda.get_device_name(device)} beside {where}"
    return f"{where}, torch {torch.__version__}, torchvision {torchvision.__version__}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")  # platform.processor() is empty on most Linux systems
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
