"""Architecture -> torchvision detector. Every build argument stands in the Architecture, and so in a checkpoint."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import (
    GeneralizedRCNNTransform,
    resize_boxes,
    resize_keypoints,
)
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from detect.errors import UsageError
from detect.models.architecture import Architecture
from detect.models.backbones import build_backbone
from detect.models.cpu.optimize import quicken
from detect.models.norms import set_norms
from detect.models.zoo import DETECTORS
from detect.structures.image_size import long_side, resized_hw

Detector: TypeAlias = GeneralizedRCNN | RetinaNet | FCOS | SSD


def build(architecture: Architecture, num_rows: int) -> Detector:
    """The model with random weights, in training mode. ``num_rows``: classes and background.

    It takes ``[float32 [3, H, W] RGB 0..1]`` and, in training, torchvision's targets, and returns losses or
    detections. In training it does not resize, since the loader has; in evaluation it resizes by itself and
    returns boxes and keypoints on the original pixels and masks as [N, 1, 28, 28] probabilities inside their boxes.
    """
    model = assemble(architecture, num_rows)
    model.transform = DetectorTransform(architecture)
    quicken(model)
    _settle_scales(model)
    return model


def assemble(architecture: Architecture, num_rows: int) -> Detector:
    """The same model of torchvision's parts alone, with a transform of torchvision's that knows no size of ours."""
    if architecture.model in DETECTORS:
        builder = getattr(torchvision.models.detection, DETECTORS[architecture.model].builder)
        model = builder(weights=None, weights_backbone=None, num_classes=num_rows)
    else:
        model = _build_on_backbone(architecture, num_rows)
    set_norms(model, architecture.norm, architecture.norm_eps)
    return model


@torch.no_grad()
def _settle_scales(model: Detector) -> None:
    """Tell the RoI poolers the strides of their maps, which torchvision guesses for good from the first image, and
    wrongly where that is a strip of few pixels, since maps are those of a padded image."""
    poolers = [module for module in model.modules() if isinstance(module, MultiScaleRoIAlign)]
    if poolers:
        side = 128  # a multiple of every stride
        model.backbone.eval()
        maps = model.backbone(torch.zeros(1, 3, side, side))
        model.backbone.train()
        for pooler in poolers:
            pooler(maps, [torch.zeros(0, 4)], [(side, side)])


def _build_on_backbone(architecture: Architecture, num_rows: int) -> GeneralizedRCNN:
    a = architecture
    assert a.fpn and a.box and a.mask and a.anchors and a.aspect_ratios and a.taps  # set for every BACKBONES line
    trunk = build_backbone(a.model)
    channels = {stage.layer: stage.channels for stage in trunk.stages}
    backbone = BackboneWithFPN(
        nn.Identity(),
        return_layers={},
        in_channels_list=[channels[layer] for layer in a.taps],
        out_channels=a.fpn,
        extra_blocks=LastLevelMaxPool(),
    )
    backbone.body = trunk.body(a.taps)  # timm's backbones are no layers in order, which torchvision would expect
    maps = [str(i) for i in range(len(a.taps))]
    arguments: dict[str, Any] = {
        "rpn_anchor_generator": AnchorGenerator(a.anchors, (a.aspect_ratios,) * len(a.anchors)),
        "rpn_post_nms_top_n_test": a.proposals,
        # Of 2000 a level, torchvision's number, suppression takes three times as long and leaves the same 98 %.
        "rpn_pre_nms_top_n_train": 1000,
        "rpn_post_nms_top_n_train": 1000,
        "box_batch_size_per_image": a.sampled,
        "box_roi_pool": MultiScaleRoIAlign(maps, output_size=7, sampling_ratio=2),
        "box_head": TwoMLPHead(a.fpn * 7**2, a.box),
        "box_predictor": FastRCNNPredictor(a.box, num_rows),
    }
    if not a.has_masks:
        return FasterRCNN(backbone, **arguments)
    return MaskRCNN(
        backbone,
        **arguments,
        mask_roi_pool=MultiScaleRoIAlign(maps, output_size=14, sampling_ratio=2),
        mask_head=MaskRCNNHeads(a.fpn, (a.mask,) * 4, dilation=1),
        mask_predictor=MaskRCNNPredictor(a.mask, a.mask, num_rows),
    )


def score_owner(model: Detector) -> nn.Module:
    """The part of the model that holds ``score_thresh``, above which a detection is returned."""
    return getattr(model, "roi_heads", model)


class DetectorTransform(GeneralizedRCNNTransform):
    """torchvision's, with five differences.

    In training it does not resize, since the loader has. In evaluation a very narrow image keeps a pixel of width,
    where torchvision fails. There it takes uint8, 0..255, too, and resizes before it normalises, which is the same and
    needs a fraction of the memory: of several large images one at a time is float. Masks stay 28x28: torchvision
    would paste all of them as float at full size, which for 100 masks on a 2048x1536 image takes over 1 GiB;
    ``detect.inference.predictor`` pastes one at a time. And the batch is channels-last, as the weights are
    (``detect.models.cpu.optimize``).
    """

    def __init__(self, architecture: Architecture) -> None:
        a = architecture
        fixed: dict[str, Any] = {"fixed_size": (a.min_size, a.min_size), "size_divisible": 1} if a.fixed else {}
        super().__init__(a.min_size, a.max_size, list(a.mean), list(a.std), **fixed)

    def resized_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """The size at which the model looks at an image of ``image_hw``."""
        return self.fixed_size or resized_hw(image_hw, self.min_size[-1], self.max_size)

    def set_size(self, short: int) -> None:
        """Look at images with a short side of ``short`` pixels; UsageError for a model that knows but one size."""
        if self.fixed_size not in (None, (short, short)):
            raise UsageError(
                f"this model looks at {self.fixed_size[0]}x{self.fixed_size[1]} pixels; leave out --imgsz"
            )
        self.min_size, self.max_size = (short,), long_side(short)

    def normalize(self, image: Tensor) -> Tensor:
        return super().normalize(image) if self.training else image  # which ``resize`` does

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        return (image if self.training else super().normalize(self.resized(image))), target

    def resized(self, image: Tensor) -> Tensor:
        """float32 [3, h, w] in 0..1, of the size at which the model looks at it, of uint8 or float32 [3, H, W]."""
        height, width = image.shape[-2:]
        size = self.resized_hw((height, width))
        if image.dtype == torch.uint8:
            image = image.float().div_(255)
        return interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]

    def batch_images(self, images: list[Tensor], size_divisible: int = 32) -> Tensor:
        return super().batch_images(images, size_divisible).contiguous(memory_format=torch.channels_last)

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        if not self.training:
            for found, resized, original in zip(result, image_shapes, original_image_sizes, strict=True):
                found["boxes"] = resize_boxes(found["boxes"], list(resized), list(original))
                if "keypoints" in found:
                    found["keypoints"] = resize_keypoints(found["keypoints"], list(resized), list(original))
        return result


def freezable(model: Detector) -> bool:
    """Whether the first stage of its backbone can be frozen by itself."""
    try:
        _of_stages(model, 1)
    except UsageError:
        return False
    return True


def freeze_stages(model: Detector, stages: int) -> None:
    """Keep the weights of the backbone's first ``stages`` stages as they are, in place: they see edges and colors,
    which a small dataset cannot teach better, and their backward pass is the dearest.

    A stage is what its map needs besides the stages before it. UsageError where the backbone has fewer stages, and for
    part of one such as HRNet, whose first map at stride 4 already needs half of it or more (of others, an eighth).
    """
    if stages:
        for parameter in _of_stages(model, stages):
            parameter.requires_grad_(False)


def _of_stages(model: Detector, stages: int) -> list[nn.Parameter]:
    """The parameters of the first stages of the backbone; UsageError where it has no such stages."""
    body = getattr(model.backbone, "body", None)
    if body is None:
        raise UsageError("--freeze: this model's backbone has no stages to freeze one by one")
    parameters = [p for p in body.parameters() if p.requires_grad]
    was_training = body.training
    image = torch.zeros(1, 3, 96, 160, device=parameters[0].device)
    maps = list(body.eval()(image).values())
    body.train(was_training)
    if not 0 < stages <= len(maps):
        raise UsageError(f"--freeze {stages}: this model's backbone has {len(maps)} stages")
    share = sum(p.numel() for p in _needed_by(maps[:1], parameters)) / sum(p.numel() for p in parameters)
    if share > 0.3 and maps[0].shape[-1] == image.shape[-1] // 4 and stages < len(maps):
        raise UsageError(
            f"--freeze {stages}: the first map of this backbone needs {share:.0%} of it, so it has no stages to freeze "
            f"one by one; take 0, or {len(maps)} for all of it"
        )
    return _needed_by(maps[:stages], parameters)


def _needed_by(maps: list[Tensor], parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Those of ``parameters`` that ``maps`` were computed from."""
    total = torch.stack([one.sum() for one in maps]).sum()
    if not total.requires_grad:  # all that it needs is frozen already
        return []
    gradients = torch.autograd.grad(total, parameters, allow_unused=True, retain_graph=True)
    return [p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
