"""Programs in several processes."""

from __future__ import annotations

import os
import subprocess
import sys

from helpers.folders import ROOT


def torchrun(*command: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a program with torchrun, in the folder of the project."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return subprocess.run(
        [*start, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
