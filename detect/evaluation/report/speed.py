"""The speed of the model in a report."""

from __future__ import annotations

import os
from typing import Any

import torch

from detect.evaluation.report.page import Page
from detect.text import counted


def content(page: Page) -> dict[str, Any]:
    """Return the measured time per image and what it was measured on; None for a file of detections."""
    speed = page.analysis.evaluation.scores.get("speed")
    predictor = page.analysis.evaluation.predictor
    if not speed:
        return {"speed": None}
    device = str(speed["device"])
    is_cpu = device == "cpu"
    cores, threads = counted(os.cpu_count() or 1, "core"), counted(torch.get_num_threads(), "thread")
    return {
        "speed": speed,
        "device": f"CPU, {cores}, {threads}" if is_cpu else device,
        "imgsz": predictor.imgsz if predictor else None,
        "parameters": predictor.runtime.num_parameters if predictor else None,
    }
