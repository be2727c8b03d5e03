"""Measure models, training, reading of datasets, evaluation, serving and videos. The pages in docs/ hold the results.

    python benchmark.py inference     one model beside torchvision's own code, in every runtime (docs/performance.md)
    python benchmark.py models        parameters, multiply-adds and time of every model (docs/models.md)
    python benchmark.py train         training beside a loop like torchvision's references (docs/training_speed.md)
    python benchmark.py data          reading of annotations beside pycocotools (docs/data.md)
    python benchmark.py evaluate      COCO's metrics beside pycocotools and faster-coco-eval (docs/evaluation.md)
    python benchmark.py intervals     coverage of the intervals of AP, by simulation (docs/evaluation.md)
    python benchmark.py labels        planted annotation errors that a model finds (docs/datasets.md)
    python benchmark.py serve         serve.py under load (docs/serving.md)
    python benchmark.py video         frame rate of detect_video.py beside its detector alone (docs/video.md)
    python benchmark.py results       metrics after training on two datasets (docs/results.md)
    python benchmark.py ideas         ideas from the literature beside the default recipe (docs/results.md)
    python benchmark.py start         first step of a training on a dataset of COCO's size (docs/training.md)

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
    "models": settings.ModelsSettings,
    "train": settings.TrainSettings,
    "data": settings.DataSettings,
    "evaluate": settings.EvaluateSettings,
    "intervals": settings.IntervalsSettings,
    "labels": settings.LabelsSettings,
    "serve": settings.ServeSettings,
    "video": settings.VideoSettings,
    "results": settings.ResultsSettings,
    "ideas": settings.IdeasSettings,
    "start": settings.StartSettings,
}
# Others have the name of their command.
MODULES = {"train": "training", "evaluate": "evaluation", "labels": "label_errors", "serve": "serving"}


def main() -> None:
    name, chosen, _ = parse_command(
        COMMANDS, "Measure models, training, reading of datasets, evaluation, serving and videos."
    )
    # Imported here because torch takes seconds, and --help does not need it.
    report, module = (import_module(f"benchmarks.{one}") for one in ("report", MODULES.get(name, name)))
    report.publish(chosen, module.run)


if __name__ == "__main__":
    sys.exit(exit_status(main))
