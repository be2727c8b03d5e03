"""Threads and cores: what a process takes of the machine."""

from __future__ import annotations

import os

import pytest
import torch

from detect import runtime


@pytest.mark.parametrize(("processes", "share"), [(None, 8), ("1", 8), ("2", 4), ("3", 2), ("16", 1)])
def test_processes_of_one_training_share_the_cores(monkeypatch, processes, share):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert runtime.available_cores() == share


@pytest.mark.parametrize(
    ("environment", "threads"),
    [({}, [6]), ({"OMP_NUM_THREADS": "1"}, []), ({"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}, [6])],
)
def test_threads_are_the_users_to_choose_but_not_torchruns(monkeypatch, environment, threads):
    for name in ("OMP_NUM_THREADS", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    taken = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr(runtime, "cores", lambda: 8)
    runtime.configure_process(workers=2)
    assert taken == threads
