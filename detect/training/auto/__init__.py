"""Defaults fitted to the dataset and the machine, each with its reason.

Every function returns a ``FittedDefault``: the value of a setting that the user did not give, and why.
"""

from detect.training.auto.anchors import fit_anchors
from detect.training.auto.backbone import fit_frozen_stages, fit_norm
from detect.training.auto.fitted_default import FittedDefault
from detect.training.auto.image_size import fit_image_size, native_image_size
from detect.training.auto.precision import fit_mixed_precision
from detect.training.auto.rare_classes import fit_repeat_threshold
from detect.training.auto.schedule import fit_epochs, fit_learning_rate, fit_warmup_steps
from detect.training.auto.statistics import DatasetStatistics

__all__ = [
    "DatasetStatistics",
    "FittedDefault",
    "fit_anchors",
    "fit_epochs",
    "fit_frozen_stages",
    "fit_image_size",
    "fit_learning_rate",
    "fit_mixed_precision",
    "fit_norm",
    "fit_repeat_threshold",
    "fit_warmup_steps",
    "native_image_size",
]
