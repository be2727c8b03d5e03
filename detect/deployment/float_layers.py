"""The layers that stay in float when a model is quantized to 8 bits."""

from __future__ import annotations

from torch import nn

from detect.models.builder import Detector

# Networks that are quantized -> layers of them whose outputs are boxes and scores. The other networks run on the
# detections only, take little time, and lose the most (mask head: 1.6 points of segm AP).
_OUTPUT_LAYERS = {
    "dense": r"cls_logits|bbox_pred|bbox_reg|bbox_ctrness|_head[./]module_list",  # the last one is SSD's
    "box_head": r"predictor",
}
# Backbones of depthwise convolutions take a small part of the time. In 8 bits, their maps differ by 20 % from those in
# float, and by 3 % if only the FPN and the RPN are quantized (bundled model, balloon val, relative norm).
_BACKBONE = r"[./]body[./]|backbone[./]features"


def float_layers(model: Detector) -> dict[str, str]:
    """Return the networks of ``model`` to quantize, and for each a pattern of the layers that stay in float.

    A layer stays in float if the regular expression matches anywhere in the name of its operation, a path of modules
    separated by ``.`` or ``/``.
    """
    patterns = dict(_OUTPUT_LAYERS) if hasattr(model, "roi_heads") else {"dense": _OUTPUT_LAYERS["dense"]}
    if _has_depthwise_backbone(model):
        patterns["dense"] += f"|{_BACKBONE}"
    return patterns


def _has_depthwise_backbone(model: Detector) -> bool:
    convolutions = (module for module in model.backbone.modules() if isinstance(module, nn.Conv2d))
    return any(conv.groups == conv.in_channels > 1 for conv in convolutions)
