"""A training loop like the one in torchvision's references (github.com/pytorch/vision, references/detection).

Images and masks are loaded at full size and mirrored; the model resizes both at every step. A batch holds images of
similar aspect ratios, weight decay applies to all weights, and the learning rate rises in the first epoch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import v2

from detect.data.dataset import collate
from detect.errors import TrainingError
from detect.models.architecture import Architecture
from detect.models.builder import Detector, assemble
from detect.structures import masks
from detect.structures.image_record import ImageRecord
from detect.training.step import Batch

_PROPOSALS = 2000  # in training: per level before NMS, and per image after it; torchvision's default
_ASPECT_GROUPS = 3  # per factor of 2
_MIRRORED = 0.5


def build(architecture: Architecture, num_rows: int, state: dict[str, Tensor]) -> Detector:
    """Return the model with the weights ``state``, as torchvision's builders make it."""
    model = assemble(architecture, num_rows)
    a = architecture
    model.transform = GeneralizedRCNNTransform(a.min_size, a.max_size, list(a.mean), list(a.std))
    if hasattr(model, "rpn"):
        model.rpn._pre_nms_top_n["training"] = model.rpn._post_nms_top_n["training"] = _PROPOSALS
    model.load_state_dict(state)
    return model


class FullSizeImages(Dataset):
    """Dataset of ``(image, target)`` as torchvision's detectors take them, at original size."""

    def __init__(self, records: Sequence[ImageRecord], *, with_masks: bool, mirrored: float = _MIRRORED) -> None:
        self.records = records
        self.with_masks = with_masks
        to_float = v2.ToDtype(torch.float32, scale=True)
        self.transform = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(mirrored), to_float, v2.ToPureTensor()])

    def __len__(self) -> int:
        return len(self.records)

    def get_height_and_width(self, index: int) -> tuple[int, int]:
        """Return the size of an image, which torchvision's ``create_aspect_ratio_groups`` asks for."""
        return self.records[index].image_hw

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        record = self.records[index]
        with Image.open(record.path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
        single = ~record.iscrowd
        hw = record.image_hw
        target = {
            "boxes": tv_tensors.BoundingBoxes(record.boxes[single], format="XYXY", canvas_size=hw),
            "labels": torch.from_numpy(record.labels[single]),
            "image_id": torch.tensor(record.image_id),
        }
        if self.with_masks and record.masks is not None:
            bitmaps = [_bitmap(mask, hw) for mask, keep in zip(record.masks, single, strict=True) if keep]
            target["masks"] = tv_tensors.Mask(np.stack(bitmaps) if bitmaps else np.zeros((0, *hw), np.uint8))
        return self.transform(image, target)


def _bitmap(mask: Any, image_hw: tuple[int, int]) -> np.ndarray:
    return masks.to_bitmap(mask if isinstance(mask, dict) else masks.from_polygons(mask, image_hw))


def batches(dataset: FullSizeImages, batch_size: int, workers: int, seed: int) -> Iterator[Batch]:
    """Yield batches endlessly, each full and with images of similar aspect ratio."""
    torch.manual_seed(seed)
    groups: Any = _similar_aspect_ratios(dataset.records, batch_size, seed)
    return iter(DataLoader(dataset, batch_sampler=groups, num_workers=workers, collate_fn=collate))


def _similar_aspect_ratios(records: Sequence[ImageRecord], batch_size: int, seed: int) -> Iterator[list[int]]:
    """Yield batches of indices; images of a group that do not fill a batch wait for the next epoch."""
    edges = 2 ** np.linspace(-1, 1, 2 * _ASPECT_GROUPS + 1)
    ratios = [record.image_hw[1] / record.image_hw[0] for record in records]
    groups = np.searchsorted(edges, ratios, side="right").tolist()
    rng = np.random.default_rng(seed)
    waiting: dict[int, list[int]] = defaultdict(list)
    while True:
        for index in rng.permutation(len(groups)).tolist():
            members = waiting[groups[index]]
            members.append(index)
            if len(members) == batch_size:
                yield waiting.pop(groups[index])


class Steps:
    """Takes SGD steps on ``model``; the learning rate rises to ``lr`` in the first ``warmup`` steps."""

    def __init__(self, model: Detector, lr: float, weight_decay: float, warmup: int) -> None:
        self.model = model.train()
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=lr, momentum=0.9, weight_decay=weight_decay)
        self.schedule = torch.optim.lr_scheduler.LinearLR(self.optimizer, start_factor=1e-3, total_iters=warmup)

    def __call__(self, batch: Batch) -> dict[str, float]:
        """Take one step and return the losses and their sum (``loss``)."""
        device = next(self.model.parameters()).device
        images = [image.to(device) for image in batch[0]]
        targets = [{name: value.to(device) for name, value in target.items()} for target in batch[1]]
        losses = self.model(images, targets)
        total = sum(losses.values())
        if not np.isfinite(total.item()):
            raise TrainingError(f"the loss is {total.item()}")
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        self.schedule.step()
        return {name: value.item() for name, value in {**losses, "loss": total}.items()}
