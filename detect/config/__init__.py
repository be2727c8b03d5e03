"""The settings of each script: every default of the project, once."""

from detect.config.benchmark import BenchmarkSettings
from detect.config.detection import DetectImageSettings, DetectVideoSettings
from detect.config.doctor import DoctorSettings
from detect.config.evaluate import EvaluateSettings
from detect.config.serve import ServeSettings
from detect.config.train import TrainSettings, settings_of_run

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
