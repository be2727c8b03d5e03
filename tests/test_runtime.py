"""Devices, threads and cores of a process."""

from __future__ import annotations

import os

import pytest
import torch

from detect import runtime
from detect.errors import UsageError


@pytest.mark.parametrize(("processes", "cores"), [(None, 8), ("1", 8), ("2", 4), ("3", 2), ("16", 1)])
def test_processes_of_torchrun_divide_the_cores(monkeypatch, processes, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert runtime.available_cores() == cores


@pytest.mark.parametrize(
    ("environment", "threads"),
    [({}, [6]), ({"OMP_NUM_THREADS": "1"}, []), ({"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}, [6])],
)
def test_omp_num_threads_of_the_user_is_kept_but_not_that_of_torchrun(monkeypatch, environment, threads):
    for name in ("OMP_NUM_THREADS", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    monkeypatch.setattr(runtime, "available_cores", lambda: 8)
    runtime.configure_process(workers=2)
    assert set_to == threads


@pytest.mark.parametrize("name", ["tpu", "meta", "cuda:999"])
def test_a_device_that_does_not_exist_is_a_usage_error_that_names_it(name):
    with pytest.raises(UsageError, match=f"'{name}'"):
        runtime.pick_device(name)


def test_the_device_of_a_torchrun_process_is_the_gpu_with_its_local_rank(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert runtime.pick_device("auto") == torch.device("cuda:1")
