"""A folder with the interface of torchvision's references/detection."""

from __future__ import annotations

from pathlib import Path

_FILES = {
    "engine": """
import math
import sys
import utils

def train_one_epoch(model, optimizer, data_loader, device, epoch, print_freq, scaler=None):
    logger = utils.MetricLogger()
    print(f"Epoch: [{epoch}] of {len(data_loader)}")
    for images, targets in data_loader:
        losses = model([image.to(device) for image in images], targets)
        loss = sum(losses.values())
        if not math.isfinite(loss.item()):
            sys.exit(1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logger.meters["loss"].deque.append(loss.item())
    return logger
""",
    "utils": """
from collections import defaultdict, deque

class Meter:
    def __init__(self):
        self.deque = deque(maxlen=20)

class MetricLogger:
    def __init__(self):
        self.meters = defaultdict(Meter)

def collate_fn(batch):
    return tuple(zip(*batch))
""",
    "group_by_aspect_ratio": """
from torch.utils.data import BatchSampler

class GroupedBatchSampler(BatchSampler):
    def __init__(self, sampler, group_ids, batch_size):
        super().__init__(sampler, batch_size, drop_last=True)

def create_aspect_ratio_groups(dataset, k=0):
    print("Count of instances per bin")
    return [h < w for h, w in map(dataset.get_height_and_width, range(len(dataset)))]
""",
}


def write_references(folder: Path) -> Path:
    """Write the files and return the folder."""
    folder.mkdir(exist_ok=True)
    for name, text in _FILES.items():
        (folder / f"{name}.py").write_text(text)
    return folder
