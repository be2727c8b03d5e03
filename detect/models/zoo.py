"""Tables of all models, and the check of model names.

A *backbone* (``BACKBONES``) is a classification network that this toolkit puts under an FPN and the heads of Faster or
Mask R-CNN. A *detector* (``DETECTORS``) is a whole torchvision model with published COCO weights.

This module imports neither torch nor torchvision: command lines read it for ``--help`` and reject an unknown name at
once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from detect.errors import CheckpointError, UsageError
from detect.io.links import is_link
from detect.models.weight_files.file_kinds import describe, starts_as_safetensors, starts_as_torch_file
from detect.text import unknown

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HUGGING_FACE = "https://huggingface.co"
MAX_DETECTIONS = 100  # per image, of all models whose line in DETECTORS states no other number


@dataclass(frozen=True)
class PublishedWeights:
    """Published ImageNet weights of a backbone.

    Attributes:
        license: SPDX name of the license, as the publisher states it.
        url: address of the .safetensors or .pth file; empty for torchvision's IMAGENET1K_V1 weights of the same name,
            whose address torchvision states.
        folder: folder below the download cache; empty where the file name alone is unique.
        mean, std: RGB normalization used in training, for values in 0..1.
    """

    license: str
    url: str = ""
    folder: str = ""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


@dataclass(frozen=True)
class BackboneSpec:
    """One line of ``BACKBONES``.

    Attributes:
        family: module in ``detect/models/backbones`` whose function ``backbone(name)`` builds the network.
        fpn_channels: number of channels of every FPN level.
        box_head_channels: number of features of the box head's two fully connected layers.
        mask_head_channels: number of channels of the mask head's convolutions.
        max_proposals: number of proposals per image that reach the box head at inference.
        weights: published ImageNet weights; None where nobody has published any.
    """

    family: str
    fpn_channels: int
    box_head_channels: int
    mask_head_channels: int
    max_proposals: int
    weights: PublishedWeights | None = None


@dataclass(frozen=True)
class DetectorSpec:
    """One line of ``DETECTORS``.

    Attributes:
        builder: name of the function in ``torchvision.models.detection``; its COCO_V1 weights are used.
        head: one of ``HEADS``, or the kind of another detection head. It decides which outputs the model has and
            whether it can be fine-tuned here.
        norm: kind of batch norm that the published weights need, see ``detect.models.norms.NORMS``.
        norm_eps: eps of these batch norms. torchvision sets kind and eps only when it downloads the weights itself.
        short, long: sides in pixels that images are resized to; equal for models with one fixed input size.
        mean, std: RGB normalization for values in 0..1.
        max_detections: number of detections that the model returns per image at most, unless a setting changes it.
    """

    builder: str
    head: str
    norm: str
    norm_eps: float
    short: int = 800
    long: int = 1333
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    max_detections: int = MAX_DETECTIONS


def hugging_face_weights(
    repository: str,
    license: str,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    file: str = "model.safetensors",
) -> PublishedWeights:
    """Return the description of weights in a Hugging Face repository ``owner/name``.

    Most files there are called ``model.safetensors``, so each repository gets a download folder of its own.
    """
    url = f"{HUGGING_FACE}/{repository}/resolve/main/{file}"
    return PublishedWeights(license, url, repository.rpartition("/")[2], mean, std)


# fpn_channels, box_head_channels, mask_head_channels and max_proposals. At 1280x720 a MobileNetV2 Mask R-CNN with 256
# FPN channels would spend nearly all of its time in the 3x3 convolutions of FPN and RPN at stride 4, so backbones with
# fewer than SMALL_BACKBONE_PARAMETERS parameters get a narrow FPN and narrow heads.
SMALL_BACKBONE_PARAMETERS = 22_000_000
_NARROW = (128, 512, 128, 300)
_WIDE = (256, 1024, 256, 1000)
_HALF = (0.5, 0.5, 0.5)

# Where torchvision offers two versions of ImageNet weights, V1 is used, from which torchvision's own detectors with
# the same backbone start.
TORCHVISION = PublishedWeights("BSD-3-Clause")
_VOVNET19_DW = hugging_face_weights("timm/ese_vovnet19b_dw.ra_in1k", "Apache-2.0")
_VOVNET39 = hugging_face_weights("timm/ese_vovnet39b.ra_in1k", "Apache-2.0")
_VOVNET57 = hugging_face_weights("timm/ese_vovnet57b.ra4_e3600_r256_in1k", "Apache-2.0", mean=_HALF, std=_HALF)
BACKBONES = {
    "resnet18": BackboneSpec("resnet", *_NARROW, TORCHVISION),
    "resnet34": BackboneSpec("resnet", *_NARROW, TORCHVISION),
    "resnet50": BackboneSpec("resnet", *_WIDE, TORCHVISION),
    "resnet101": BackboneSpec("resnet", *_WIDE, TORCHVISION),
    "mobilenet_v2": BackboneSpec("mobilenet", *_NARROW, TORCHVISION),
    "mobilenet_v3_large": BackboneSpec("mobilenet", *_NARROW, TORCHVISION),
    "vovnet19": BackboneSpec("vovnet", *_NARROW),
    "vovnet19_slim": BackboneSpec("vovnet", *_NARROW),
    "vovnet19_dw": BackboneSpec("vovnet", *_NARROW, _VOVNET19_DW),
    "vovnet39": BackboneSpec("vovnet", *_WIDE, _VOVNET39),
    "vovnet57": BackboneSpec("vovnet", *_WIDE, _VOVNET57),
}

# ``timm:NAME`` is a backbone for every NAME that the timm package can turn into feature maps at strides 4 to 32. Its
# number of parameters decides between these two lines.
TIMM = "timm:"
TIMM_NARROW = BackboneSpec("from_timm", *_NARROW)
TIMM_WIDE = BackboneSpec("from_timm", *_WIDE)

_FASTER, _MASK = "fasterrcnn", "maskrcnn"
_SSD300_MEAN = (0.48235, 0.45882, 0.40784)
DETECTORS = {
    "v1": DetectorSpec("fasterrcnn_resnet50_fpn", _FASTER, "frozen", 0.0),
    "v2": DetectorSpec("fasterrcnn_resnet50_fpn_v2", _FASTER, "batch", 1e-5),
    "maskrcnn": DetectorSpec("maskrcnn_resnet50_fpn", _MASK, "frozen", 0.0),
    "maskrcnn_v2": DetectorSpec("maskrcnn_resnet50_fpn_v2", _MASK, "batch", 1e-5),
    "mobilenet": DetectorSpec("fasterrcnn_mobilenet_v3_large_fpn", _FASTER, "frozen", 1e-5),
    "mobilenet_320": DetectorSpec("fasterrcnn_mobilenet_v3_large_320_fpn", _FASTER, "frozen", 1e-5, 320, 640),
    "retinanet": DetectorSpec("retinanet_resnet50_fpn", "retinanet", "frozen", 0.0, max_detections=300),
    "retinanet_v2": DetectorSpec("retinanet_resnet50_fpn_v2", "retinanet", "batch", 1e-5, max_detections=300),
    "fcos": DetectorSpec("fcos_resnet50_fpn", "fcos", "frozen", 1e-5),
    "ssd300": DetectorSpec("ssd300_vgg16", "ssd", "batch", 1e-5, 300, 300, _SSD300_MEAN, (1 / 255,) * 3, 200),
    "ssdlite": DetectorSpec("ssdlite320_mobilenet_v3_large", "ssd", "batch", 1e-3, 320, 320, _HALF, _HALF, 300),
    "keypointrcnn": DetectorSpec("keypointrcnn_resnet50_fpn", "keypointrcnn", "frozen", 0.0),
}

HEADS = ("maskrcnn", "fasterrcnn")
TRAINED_HEADS = (*HEADS, "retinanet", "fcos")
TRAINED_DETECTORS = tuple(name for name, spec in DETECTORS.items() if spec.head in TRAINED_HEADS)
OPENVINO_FILE = "model.json"  # in the folder of an exported model
BUNDLED = {"balloon": "weights/balloon.safetensors"}

AUTO = "auto"  # the default of the programs that detect; see detect.models.default_model
AUTO_DETECTORS = {"cpu": "mobilenet", "cuda": "v2", "mps": "v2"}  # type of the device -> key of DETECTORS
AUTO_FALLBACK = "balloon"  # key of BUNDLED: the model without a network
AUTO_EXAMPLES = ("input/balloons_1.jpg", "input/balloons.mp4")  # shipped files with objects for AUTO_FALLBACK


def check_model(model: str, *, allow_auto: bool = False) -> None:
    """Check that ``model`` can detect objects: a name of BUNDLED or DETECTORS, a checkpoint file or a URL.

    Only names and the existence of files are checked.

    allow_auto: whether AUTO is a model too. Results that are measured or kept must not depend on what can be
        downloaded.

    Raises UsageError for an unknown name, a backbone, a file of bare weights (.pth, .pt) and a JSON file, and
    CheckpointError for a missing file or a folder.
    """
    if model in BUNDLED or model in DETECTORS:
        return
    if model == AUTO:
        if allow_auto:
            return
        raise UsageError(f"`model='{AUTO}'` is for detection only; name the model here, such as {AUTO_FALLBACK} or v2")
    if _is_backbone(model):
        raise UsageError(
            f"`model`: {model} is a backbone, which cannot detect objects without training: train with "
            f"`backbone='{model}'`, then give the checkpoint of that run as `model`"
        )
    path = file_of_model(model)
    if is_openvino_folder(path):
        return
    is_file = os.path.isfile(path)  # noqa: PTH113 - Path raises for names that are too long
    if path.suffix in (".pth", ".pt"):
        on_disk = path if is_file and not is_link(model) else None
        raise UsageError(f"`model`: {path.name} {_without_architecture(on_disk)}")
    if path.suffix.lower() == ".json":
        raise UsageError(f"`model`: {path.name} can hold detections, but no model; evaluate.py scores detections")
    if is_link(model) or is_file:
        return
    if not model:  # for example an unset shell variable
        raise UsageError("`model` is empty; expected a model name, a checkpoint file or a URL")
    if os.path.isdir(path):  # noqa: PTH112 - as above
        raise CheckpointError(f"{path} is a folder without model.json; name a .safetensors or .onnx file in it")
    if not path.suffix and path.parent == Path():
        names = (*((AUTO,) if allow_auto else ()), *BUNDLED, *DETECTORS)
        trained = f"outputs/train/{model}/best.safetensors"  # where train.py writes by default
        hint = f"; the run of that name has {trained}" if os.path.isfile(trained) else ""  # noqa: PTH113 - as above
        raise UsageError(unknown("model", model, names) + f", or a checkpoint file{hint}")
    raise CheckpointError(f"no such checkpoint: {path}")


def _without_architecture(path: Path | None) -> str:
    """Return the end of a message about a .pth or .pt file, which may be damaged. path: None if it is not on disk."""
    expected = "expected a checkpoint, such as best.safetensors in the folder of a run"
    if path and not starts_as_torch_file(path) and not starts_as_safetensors(path):
        kind, _, _ = describe(path).partition("; ")
        return f"is {kind}; {expected}"
    return (
        f"holds bare weights, without architecture and class names; {expected}. To train with bare weights, give "
        "them as `pretrained`"
    )


def is_openvino_folder(path: str | Path) -> bool:
    """Return whether ``path`` is the folder of an OpenVINO model of export.py."""
    # os.path, since Path raises for names that are too long.
    return os.path.isfile(os.path.join(path, OPENVINO_FILE))  # noqa: PTH113, PTH118


def file_of_model(model: str) -> Path:
    """Return the path of a checkpoint, or the part of its URL that is a path."""
    return Path(urlsplit(model).path if is_link(model) else model)


def own_max_detections(model: str) -> int:
    """Return the number of detections per image at which ``model``, a backbone or a detector, stops by default."""
    return DETECTORS[model].max_detections if model in DETECTORS else MAX_DETECTIONS


def check_trained_model(model: str) -> None:
    """Check that ``model`` is a whole detector that can be fine-tuned. Raises UsageError otherwise."""
    if model in TRAINED_DETECTORS:
        return
    if model in DETECTORS:
        raise UsageError(
            f"`model`: {model} cannot be fine-tuned, only used for detection; "
            f"models to train are {', '.join(TRAINED_DETECTORS)}"
        )
    if _is_backbone(model):
        raise UsageError(f"{model} is a backbone: give it as `backbone='{model}'`, not as `model`")
    raise UsageError(unknown("model", model, TRAINED_DETECTORS))


def _is_backbone(name: str) -> bool:
    return name in BACKBONES or name.startswith(TIMM)
