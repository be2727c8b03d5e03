"""Which network a file holds, by the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Tensor name -> anything with a ``shape``.
Shapes = Mapping[str, Any]

_RESNET_BLOCK = re.compile(r"(?:^|.*\.)layer([1-4])\.(\d+)\.conv([123])\.weight")
# Blocks of layer1 to layer4, and whether they are bottlenecks -> depth.
_RESNET_DEPTHS = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}
# Backbones by patterns that all have to match some tensor name; the first line counts.
_BACKBONES = (
    (r"(^|\.)17\.conv\.[23]\.(weight|bias)$", "MobileNetV2"),
    (r"(^|\.)15\.block\.[23]\.0\.weight$", "MobileNetV3-Large"),
    (r"(^|\.)11\.block\.[23]\.0\.weight$", "MobileNetV3-Small"),
    (r"(^|\.)(stages\.\d|stage\d)\.blocks\.\d\.conv_concat\.", "VoVNet"),
    (r"^features\.denseblock1\.", "DenseNet"),
    (r"relative_position_bias_table$", "Swin Transformer"),
    (r"^(backbone\.)?encoder\.layers\.encoder_layer_0\.|^blocks\.0\.attn\.qkv\.", "Vision Transformer"),
    (r"^features\.\d\.\d\.layer_scale$|^stages\.\d\.blocks\.\d\.conv_dw\.", "ConvNeXt"),
    (r"^features\.\d\.\d\.block\.\d\.fc1\.|^blocks\.\d\.\d\.se\.conv_reduce", "EfficientNet"),
    (r"^features\.28\.(weight|bias)$|^features\.40\.weight$", "VGG"),
    (r"^Mixed_5b\.", "Inception"),
)
# Names above -> the setting that builds such a backbone.
_BACKBONE_SETTINGS = {
    "ResNet-18": "`backbone='resnet18'`",
    "ResNet-34": "`backbone='resnet34'`",
    "ResNet-50": "`backbone='resnet50'`",
    "ResNet-101": "`backbone='resnet101'`",
    "MobileNetV2": "`backbone='mobilenet_v2'`",
    "MobileNetV3-Large": "`backbone='mobilenet_v3_large'`",
}
# Head, version and backbone -> the setting that builds torchvision's whole model.
_MODEL_SETTINGS = {
    ("fasterrcnn", "", "ResNet-50"): "`model='v1'`",
    ("fasterrcnn", "V2", "ResNet-50"): "`model='v2'`",
    ("maskrcnn", "", "ResNet-50"): "`model='maskrcnn'`",
    ("maskrcnn", "V2", "ResNet-50"): "`model='maskrcnn_v2'`",
    ("retinanet", "", "ResNet-50"): "`model='retinanet'`",
    ("retinanet", "V2", "ResNet-50"): "`model='retinanet_v2'`",
    ("fcos", "", "ResNet-50"): "`model='fcos'`",
    ("fasterrcnn", "", "MobileNetV3-Large"): "`model='mobilenet'`",
}
# Detectors whose layers are torchvision's: patterns that all occur -> kind of head, name. The first line counts.
_TORCHVISION = (
    ((r"^head\.classification_head\.module_list\.",), "ssd", "torchvision's SSD"),
    ((r"^head\.regression_head\.bbox_ctrness\.",), "fcos", "torchvision's FCOS"),
    (
        (r"^head\.classification_head\.cls_logits\.", r"^head\.regression_head\."),
        "retinanet",
        "torchvision's RetinaNet",
    ),
    ((r"^roi_heads\.keypoint_head\.",), "keypointrcnn", "torchvision's Keypoint R-CNN"),
    ((r"^roi_heads\.mask_predictor\.",), "maskrcnn", "torchvision's Mask R-CNN"),
    ((r"^roi_heads\.box_(head|predictor)\.(fc|cls_score|bbox_pred|\d)",), "fasterrcnn", "torchvision's Faster R-CNN"),
)
# Networks of other programs; all patterns of a line have to occur.
_FOREIGN = (
    ((r"(^|\.)proposal_generator\.",), "a detector of Detectron2"),
    ((r"(^|\.)bottom_up\.",), "a detector of Detectron2"),
    ((r"^(res[2-5]\.\d+\.conv1|stem\.conv1)\.",), "a backbone of Detectron2"),
    ((r"(^|\.)backbone\.backbone\.dark\d|^head\.stems\.",), "YOLOX"),
    ((r"(^|\.)(rpn_head\.rpn_conv|roi_head\.bbox_head|bbox_head|query_head)\.",), "a detector of MMDetection"),
    ((r"(^|\.)\d+\.(cv\d|m\.\d|dfl|branch\d)\.", r"(^|\.)\d+\.(conv|bn)\."), "a YOLO network"),
    ((r"(^|\.)module_list\.\d+\.", r"(^|\.)(conv|Conv2d|batch_norm|BatchNorm2d)"), "a YOLOv3 network"),
    ((r"(^|\.)(class_embed|bbox_embed|class_labels_classifier|query_embed)\.",), "DETR, or a network derived from it"),
    ((r"(^|\.)transformer\.(encoder|decoder)\.layers\.",), "DETR, or another network with a transformer"),
    ((r"(^|\.)(class_net|box_net)\.",), "EfficientDet"),
    (
        (r"^(backbone\.(layer1|conv1|bn1|features|low_level|\d)\.?.*)", r"^(aux_)?classifier\."),
        "a segmentation network",
    ),
    ((r"(^|\.)(image_encoder|mask_decoder|prompt_encoder)\.",), "Segment Anything"),
    ((r"(^|\.)visual\.(transformer|conv1|trans)",), "CLIP"),
    ((r"\.(self_attn|attention|attn)\.(q_proj|query|c_attn)\.|^(bert|gpt|transformer\.h)\.",), "a transformer"),
    ((r"^model\.diffusion_model\.|^(down|up)_blocks\.",), "a diffusion model"),
    ((r"lora_(A|B|up|down)",), "LoRA weights, which complete another model"),
    ((r"/(kernel|gamma|bias)(:0)?$",), "weights of TensorFlow or Keras"),
)


@dataclass(frozen=True)
class Network:
    """What the names of tensors tell about their network; "" for what they do not tell.

    Attributes:
        backbone: name of the backbone, such as ``ResNet-50``.
        head: kind of detection head of torchvision, as in ``Architecture.head``.
        version: "V2" for the second version of torchvision's detectors.
        title: all of it in words, for a message.
        is_foreign: whether its layers are not those of torchvision's detectors and networks.
    """

    backbone: str
    head: str
    version: str
    title: str
    is_foreign: bool


def recognize(tensors: Shapes) -> Network:
    """Return the network that tensors belong to."""
    names = list(tensors)
    backbone = _resnet(tensors) or next((title for pattern, title in _BACKBONES if _any(pattern, names)), "")
    head, title = next(
        ((head, title) for patterns, head, title in _TORCHVISION if all(_any(p, names) for p in patterns)), ("", "")
    )
    if head and not _any(r"^(proposal_generator|backbone\.bottom_up)\.", names):
        is_second = _any(r"^backbone\.fpn\.\w+_blocks\.\d\.1\.|^head\.\w+_head\.conv\.\d\.1\.", names)
        is_second = is_second and head in ("fasterrcnn", "maskrcnn", "retinanet")
        version = "V2" if is_second else ""
        has_fpn = head == "ssd" or _any(r"^backbone\.fpn\.", names)
        if not has_fpn:
            title += " without an FPN, or with a backbone of another program"
        text = " ".join(filter(None, (title, version))) + (f" with {_with_article(backbone)}" if backbone else "")
        return Network(backbone, head, version, text, is_foreign=not has_fpn)
    foreign = next((title for patterns, title in _FOREIGN if all(_any(p, names) for p in patterns)), "")
    return Network(backbone, "", "", foreign or _with_article(backbone), bool(foreign))


def describe_difference(file: Network, model: Network) -> str:
    """Return what a file holds that does not fit a model, and what would be right: a part of a message."""
    backbone = f"{_with_article(model.backbone)} of torchvision or timm" if model.backbone else "the same backbone"
    expected = f"expected {backbone}, or a detector of torchvision with it"
    if not file.title:
        return f"the file may belong to another network; {expected}"
    whole = _MODEL_SETTINGS.get((file.head, file.version, file.backbone), "")
    setting = whole or ("" if file.is_foreign else _BACKBONE_SETTINGS.get(file.backbone, ""))
    text = f"the file seems to hold {file.title}"
    if file.backbone != model.backbone and setting:
        this = f", but this model has {_with_article(model.backbone)}" if model.backbone else ""
        return f"{text}{this}; use it with {setting}"
    if file.is_foreign or not setting:
        return f"{text}, which this model cannot use; {expected}"
    return f"{text}; all of it is used with {whole}" if whole else text


def _with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'EI' else 'a'} {name}" if name else ""


def _any(pattern: str, names: list[str]) -> bool:
    compiled = re.compile(pattern)
    return any(compiled.search(name) for name in names)


def _resnet(tensors: Shapes) -> str:
    """Return the name of a ResNet, such as ``ResNet-50`` or ``ResNeXt-50``; "" for other networks."""
    blocks = {(int(m[1]), int(m[2]), int(m[3])) for name in tensors if (m := _RESNET_BLOCK.fullmatch(name))}
    counts = tuple(len({block for layer, block, _ in blocks if layer == number}) for number in (1, 2, 3, 4))
    is_bottleneck = any(conv == 3 for *_, conv in blocks)
    depth = _RESNET_DEPTHS.get((counts, is_bottleneck))  # type: ignore[arg-type]
    if depth is None:
        return ""
    second = next(t for name, t in tensors.items() if re.search(r"(^|\.)layer1\.0\.conv2\.weight$", name))
    width, inputs = (*second.shape, 0, 0)[:2]
    if is_bottleneck and inputs and width > 64:
        return f"Wide ResNet-{depth}" if inputs == width else f"ResNeXt-{depth}"
    return f"ResNet-{depth}"
