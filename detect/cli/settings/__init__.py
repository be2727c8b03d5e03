"""The settings of each script: every default of the project, once."""

from detect.cli.settings.benchmark import BenchmarkSettings
from detect.cli.settings.detection import DetectImageSettings, DetectVideoSettings
from detect.cli.settings.doctor import DoctorSettings
from detect.cli.settings.evaluate import EvaluateSettings
from detect.cli.settings.serve import ServeSettings
from detect.training.config import TrainSettings, settings_of_run

__all__ = [
    "BenchmarkSettings",
    "DetectImageSettings",
    "DetectVideoSettings",
    "DoctorSettings",
    "EvaluateSettings",
    "ServeSettings",
    "TrainSettings",
    "settings_of_run",
]
