"""The table of published ImageNet weights of backbones: where each lies, what it asks of images, who may use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torchvision

from detect.io.downloads import checkpoints_folder, fetch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HUGGING_FACE = "https://huggingface.co"


@dataclass(frozen=True)
class BackboneWeights:
    """Weights of a backbone that someone has published.

    url: of a file that ``detect.models.weights.read`` reads.  licence: its SPDX name, as the publisher states it.
    folder: below the one of all downloads; '' for those whose file names differ.
    mean, std: of RGB in 0..1, as in their training.  torchvision: its name of them, where it publishes them.
    """

    url: str
    licence: str
    folder: str = ""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    torchvision: str | None = None

    @property
    def title(self) -> str:
        """The words that tell these weights from others."""
        return f"{self.folder or self.url.rpartition('/')[2]} ({self.licence})"

    def fetch(self, hint: str) -> Path:
        """The file, downloaded when not there yet; FetchError that ends with ``hint``."""
        return fetch(self.url, folder=checkpoints_folder() / self.folder, hint=hint)


def of_torchvision(name: str) -> BackboneWeights:
    """Those that torchvision calls ``name``."""
    return BackboneWeights(torchvision.models.get_weight(name).url, licence="BSD-3-Clause", torchvision=name)


def of_hugging_face(
    repository: str,
    licence: str,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    file: str = "model.safetensors",
) -> BackboneWeights:
    """Those in a repository of timm's there. All have the same file name, so each gets a folder of its own."""
    url = f"{HUGGING_FACE}/{repository}/resolve/main/{file}"
    return BackboneWeights(url, licence, folder=repository.rpartition("/")[2], mean=mean, std=std)


_HALF = (0.5, 0.5, 0.5)

# Where torchvision has two (V1, V2), V1, which its own detectors with such a backbone start from.
PUBLISHED = {
    "resnet18": of_torchvision("ResNet18_Weights.IMAGENET1K_V1"),
    "resnet34": of_torchvision("ResNet34_Weights.IMAGENET1K_V1"),
    "resnet50": of_torchvision("ResNet50_Weights.IMAGENET1K_V1"),
    "resnet101": of_torchvision("ResNet101_Weights.IMAGENET1K_V1"),
    "mobilenet_v2": of_torchvision("MobileNet_V2_Weights.IMAGENET1K_V1"),
    "mobilenet_v3_large": of_torchvision("MobileNet_V3_Large_Weights.IMAGENET1K_V1"),
    "vovnet19_dw": of_hugging_face("timm/ese_vovnet19b_dw.ra_in1k", "Apache-2.0"),
    "vovnet39": of_hugging_face("timm/ese_vovnet39b.ra_in1k", "Apache-2.0"),
    "vovnet57": of_hugging_face("timm/ese_vovnet57b.ra4_e3600_r256_in1k", "Apache-2.0", mean=_HALF, std=_HALF),
}
