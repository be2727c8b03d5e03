"""Evaluation of detectors. This module imports nothing, so that ``--help`` stays fast."""

DEFAULT_SPLIT = "test"

# Name of a library that computes COCO's metrics -> its classes for annotations and for their evaluation.
EVALUATORS = {
    "faster-coco-eval": ("faster_coco_eval:COCO", "faster_coco_eval:COCOeval_faster"),
    "pycocotools": ("pycocotools.coco:COCO", "pycocotools.cocoeval:COCOeval"),
}
DEFAULT_EVALUATOR = "faster-coco-eval"
