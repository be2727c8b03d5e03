"""Measure models, training, reading of datasets and serving. The pages in docs/ hold the results.

    python benchmark.py inference     parameters, multiply-adds and time of every model (docs/models.md)
    python benchmark.py train         training beside a loop like torchvision's references (docs/training_speed.md)
    python benchmark.py data          reading of annotations beside pycocotools (docs/data.md)
    python benchmark.py serve         serve.py under load (docs/serving.md)
    python benchmark.py results       metrics after training on two datasets (docs/results.md)

Each prints a Markdown table; --json FILE also writes every measurement.
"""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks import settings
from detect.cli.exit_status import exit_status
from detect.cli.flags import parse_command

COMMANDS = {
    "inference": settings.InferenceSettings,
    "train": settings.TrainSettings,
    "data": settings.DataSettings,
    "serve": settings.ServeSettings,
    "results": settings.ResultsSettings,
}
MODULES = {"train": "training", "serve": "serving"}  # others have the name of their command


def main() -> None:
    name, chosen, _ = parse_command(COMMANDS, "Measure models, training, reading of datasets and serving.")
    # Imported here because torch takes seconds, and --help does not need it.
    report, module = (import_module(f"benchmarks.{one}") for one in ("report", MODULES.get(name, name)))
    report.publish(chosen, module.run)


if __name__ == "__main__":
    sys.exit(exit_status(main))
