"""Datasets. This module imports nothing, so that ``--help`` stays fast."""

# Of a cross-validation: the file that keeps its folds, and the least number of them.
FOLDS_FILE = "folds.yaml"
MIN_FOLDS = 2
