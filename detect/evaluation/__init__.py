"""Evaluation of detectors. This module imports nothing, so that ``--help`` stays fast."""

DEFAULT_SPLIT = "test"
# Number of images on which the self-test runs a model: about a minute with the bundled model on two cores.
SELFTEST_IMAGES = 24
# Name of the split in the evaluation of a cross-validation.
OUT_OF_FOLD = "out-of-fold"

# Programs that compute COCO's metrics: this package, or one of two libraries that are kept as independent references.
EVALUATORS = ("detect", "faster-coco-eval", "pycocotools")
DEFAULT_EVALUATOR = "detect"
