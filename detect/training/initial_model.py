"""The model that a run starts from: architecture, anchors and initial weights that suit the dataset."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from detect import distributed
from detect.errors import UsageError
from detect.models import pretrained
from detect.models.anchors import ASPECT_RATIOS, AnchorGrid, anchor_recall
from detect.models.architecture import Architecture, backbone_architecture, detector_architecture
from detect.models.builder import Detector, build
from detect.models.freeze import can_freeze_stages
from detect.models.weights import Weights
from detect.models.zoo import DETECTORS
from detect.progress import warn
from detect.training.auto.anchors import fit_anchors
from detect.training.auto.backbone import fit_frozen_stages, fit_norm
from detect.training.auto.fitted_default import FittedDefault
from detect.training.auto.image_size import fit_image_size, native_image_size
from detect.training.auto.max_detections import fit_max_detections
from detect.training.auto.rare_classes import fit_repeat_threshold
from detect.training.auto.schedule import fit_epochs
from detect.training.config import TrainConfig
from detect.training.fitting import FittedConfig
from detect.training.resume import check_resumable


def build_resumed_model(fitted: FittedConfig, saved: dict[str, Any]) -> tuple[Detector, Architecture]:
    """Return the model of a run to resume, still with random weights. Raises UsageError if it cannot be resumed.

    saved: metadata in the state of the run.
    """
    config, class_names = fitted.config, fitted.data.class_names
    assert config.resume
    check_resumable(
        config.resume,
        saved,
        settings=config.settings_to_compare(),
        class_names=class_names.names,
        num_processes=distributed.world().size,
    )
    fitted.reasons = dict(saved.get("reasons", {}))
    fitted.weights = pretrained.UsedWeights("those of the run")
    if saved.get("settings", {}).get("epochs", config.epochs) != config.epochs:
        for name in ("epochs", "warmup_steps"):  # no longer fitted, since the user changed the epochs
            fitted.reasons.pop(name, None)
    architecture = Architecture.from_json(saved["architecture"])
    return build(architecture, len(class_names) + 1), architecture


def build_initial_model(fitted: FittedConfig) -> tuple[Detector, Architecture]:
    """Return the model with its initial weights; fits the image size, anchors, norms, freezing and epochs."""
    config, data = fitted.config, fitted.data
    has_masks = data.train.has_masks
    if config.copy_paste and not has_masks:
        raise UsageError(f"`copy_paste` needs masks, and '{config.data}' has none; do not set it")
    if config.model:
        fitted.fit("imgsz", native_image_size(config.model, DETECTORS[config.model].short))
    else:
        fitted.fit("imgsz", fit_image_size(fitted.statistics))
    architecture = _choose_architecture(fitted.config, has_masks)
    if not config.model:
        fitted.note("head", f"{architecture.head}, since the dataset has {'masks' if has_masks else 'no masks'}")
        fitted.note("fpn_channels", architecture.fpn_channels)
    usual = architecture.max_detections
    limit = fitted.fit("max_detections", fit_max_detections(fitted.statistics, usual), usual=usual)
    architecture = replace(architecture, max_detections=limit)
    weights = pretrained.choose_weights(architecture.model, config.pretrained)
    if weights is None and (config.freeze or config.norm == "frozen"):
        name = "freeze" if config.freeze else "norm='frozen'"
        raise UsageError(f"`{name}` keeps the initial weights of layers, and these weights are random")
    architecture, origin = _choose_anchors(architecture, weights, fitted)
    is_pretrained, num_images = weights is not None, len(data.train)
    norm = fitted.fit("norm", fit_norm(min(config.batch_size, num_images), pretrained=is_pretrained))
    model, architecture, fitted.weights = pretrained.build_from_weights(architecture, data.class_names, weights, norm)
    if weights is None and config.pretrained == "auto":
        fitted.weights = pretrained.UsedWeights(f"{fitted.weights.line}, since none are published for this backbone")
    fitted.note("pretrained", fitted.weights.line)
    if origin and architecture.head != "fcos":  # which has no anchors
        grid, short = AnchorGrid.of(model), architecture.min_size
        recall = distributed.compute_on_first(lambda: anchor_recall(grid, data.train, short))
        fitted.lines.append(f"anchors: {origin}, which reach {recall:.1%} of the objects at IoU 0.5 before training")
        fitted.note("anchors", origin)
    can_freeze = can_freeze_stages(model)
    fitted.fit("freeze", fit_frozen_stages(num_images, pretrained=is_pretrained, freezable=can_freeze))
    per_class = fitted.statistics.images_per_class(data.class_names)
    fitted.fit("repeat_threshold", fit_repeat_threshold(per_class, num_images))
    if config.background_ratio is not None and len(np.unique(fitted.statistics.images)) == num_images:
        warn("`background_ratio` has no effect: every training image has objects; see `backgrounds`")
    fitted.fit("epochs", fit_epochs(fitted.images_per_epoch, fitted.images_per_step, pretrained=is_pretrained))
    return model, architecture


def _choose_architecture(config: TrainConfig, has_masks: bool) -> Architecture:
    """Return the architecture that the config asks for, with the head that suits the dataset by default."""
    assert config.imgsz
    if config.model:
        architecture = detector_architecture(config.model, config.imgsz)
    else:
        head = config.head or ("maskrcnn" if has_masks else "fasterrcnn")
        architecture = backbone_architecture(config.backbone, head, config.imgsz, config.fpn_channels)
    if architecture.has_masks and not has_masks:
        raise UsageError(
            f"{architecture.model} with a mask head needs masks, and '{config.data}' has none; use"
            " `head='fasterrcnn'`, or `model='v1'` or `model='v2'`"
        )
    return architecture


def _choose_anchors(
    architecture: Architecture, weights: Weights | None, fitted: FittedConfig
) -> tuple[Architecture, str]:
    """Return the architecture with its anchors, and in words where they come from ("" if they were just fitted).

    The anchors of pretrained RPN weights are kept; otherwise the setting ``anchors`` decides.
    """
    wanted = fitted.config.anchors
    ratios = architecture.aspect_ratios or ASPECT_RATIOS
    per_location = len(architecture.anchors[0]) * len(ratios) if architecture.anchors else 0
    trained = weights if weights and weights.has_trained_rpn(per_location) else None
    if wanted and (not architecture.anchors or trained):
        warn(f"`anchors={wanted!r}` is ignored: the model or its weights have anchors of their own")
    if not architecture.anchors:
        return architecture, "those of the model"
    if trained:
        return replace(
            architecture,
            anchors=trained.anchors or architecture.anchors,
            aspect_ratios=trained.aspect_ratios or architecture.aspect_ratios,
        ), "those of the weights"
    if wanted == "default":
        return architecture, "the default anchors"
    jitter = fitted.config.strengths()["jitter"]
    choice = distributed.compute_on_first(lambda: fit_anchors(fitted.statistics, architecture.min_size, jitter))
    if wanted:
        fitted.lines.append(f"anchors: {choice.reason}")
    fitted.fit("anchors", FittedDefault("fitted", choice.reason))
    return replace(architecture, anchors=choice.value.sizes, aspect_ratios=choice.value.aspect_ratios), ""
