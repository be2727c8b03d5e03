"""Where the figures of a report come from: command, model, dataset, settings, versions."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

import detect
from detect.data.digests import dataset_digest, image_digests
from detect.evaluation.predict import EVALUATION_THRESHOLD
from detect.evaluation.report.page import Page
from detect.text import thresholds_in_words

_LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "opencv-python-headless", "pycocotools")


def content(page: Page) -> dict[str, Any]:
    """Return groups of names and values."""
    return {
        "groups": [
            ("Evaluation", _evaluation(page)),
            ("Model", _model(page)),
            ("Dataset", _dataset(page)),
            ("Versions", _versions()),
        ],
        "training": _training(page),
    }


def _evaluation(page: Page) -> dict[str, str]:
    analysis = page.analysis
    evaluator = analysis.evaluation.scores.get("evaluator", {})
    names = analysis.evaluation.class_names.names
    rows = {
        "command": page.command,
        "date": page.date,
        "metrics by": " ".join(map(str, evaluator.values())),
        "lowest evaluated score": str(EVALUATION_THRESHOLD) if analysis.evaluation.predictor else "all scores",
        "detections per image and class": f"at most {analysis.limit} are scored",
        "thresholds": thresholds_in_words(dict(zip(names, analysis.thresholds.tolist(), strict=True))),
    }
    return {name: text for name, text in rows.items() if text}


def _model(page: Page) -> dict[str, str]:
    one, saved = page.analysis.evaluation, page.analysis.saved
    rows = {"name": one.model}
    if one.predictor:
        rows |= {
            "image size": f"{one.predictor.imgsz} pixels (short side)",
            "detections per image": f"at most {one.predictor.max_detections}",
            "masks": "yes" if one.predictor.has_masks else "no",
            "device": str(one.predictor.device),
        }
    if saved is None:
        return rows
    data, architecture = saved.checkpoint.data, saved.checkpoint.architecture
    images = f"{data.get('train_images', 'unknown number of')} images"
    images += ", backgrounds included" if saved.checkpoint.training.get("backgrounds") else ""
    return rows | {
        "file": str(saved.path),
        "SHA-256 of the file": saved.sha256,
        "architecture": f"{architecture.get('model')}, {architecture.get('head')}",
        "channel order": "RGB",
        "anchors": _short(architecture.get("anchors")),
        "trained on": f"{data.get('name', 'unknown')}, {images}",
        "trained with": ", ".join(f"{name} {number}" for name, number in saved.checkpoint.versions.items()),
        "thresholds chosen by": _short(saved.checkpoint.threshold_choice or None),
    }


def _short(setting: Any) -> str:
    if isinstance(setting, Mapping):
        return ", ".join(f"{name} {_short(one)}" for name, one in setting.items())
    if isinstance(setting, list | tuple):
        return " ".join(f"({_short(one)})" if isinstance(one, list | tuple) else str(one) for one in setting)
    return "–" if setting is None else str(setting)


def _dataset(page: Page) -> dict[str, str]:
    one, table = page.analysis.evaluation, page.analysis.table
    digests = image_digests([record.path for record in one.records])
    images = dataset_digest(digests) if all(digests) else "unknown: an image file is gone"
    annotations = hashlib.sha256()
    for column in (table.image_hw, table.gt_image, table.gt_label, table.gt_boxes, table.gt_area, table.gt_crowd):
        annotations.update(np.ascontiguousarray(column).tobytes())
    rows = {"name": one.dataset, "split": one.split, "images": str(len(one.records))}
    if one.spec:
        rows |= {"folder": str(one.spec.root), "format": one.spec.format}
    return rows | {"digest of the images": images, "SHA-256 of the annotations": annotations.hexdigest()}


def _versions() -> dict[str, str]:
    rows = {"detect": detect.__version__, "Python": platform.python_version(), "system": platform.platform()}
    for name in _LIBRARIES:
        try:
            rows[name] = version(name)
        except PackageNotFoundError:
            continue
    return rows


def _training(page: Page) -> dict[str, str]:
    saved = page.analysis.saved
    settings = saved.checkpoint.training if saved else {}
    return {name: _short(setting) for name, setting in sorted(settings.items()) if setting is not None}
