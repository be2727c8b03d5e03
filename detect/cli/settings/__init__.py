"""The settings of each script: every default of the project, once."""

from detect.cli.settings.benchmark import BenchmarkSettings
from detect.cli.settings.detection import DetectImageSettings, DetectVideoSettings
from detect.cli.settings.doctor import CheckSettings, ConvertSettings, FixSettings, PreviewSettings
from detect.cli.settings.evaluate import EvaluateSettings
from detect.cli.settings.serve import ServeSettings
from detect.cli.settings.train import TrainSettings

__all__ = [
    "BenchmarkSettings",
    "CheckSettings",
    "ConvertSettings",
    "DetectImageSettings",
    "DetectVideoSettings",
    "EvaluateSettings",
    "FixSettings",
    "PreviewSettings",
    "ServeSettings",
    "TrainSettings",
]
