"""Files of weights: ours, torchvision's and others', read without running code from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from detect.errors import CheckpointError, UsageError
from detect.models import checkpoint
from detect.models.architecture import Architecture
from detect.structures.class_names import ClassNames


@dataclass(frozen=True)
class Weights:
    """A file's tensors, and what is known of their training (None where the file does not say).

    class_names, class_rows: whose classes its heads know.  norm_eps: of its batch norms.  head: what an Architecture
    calls so.
    mean, std: of the images' RGB in 0..1.  anchors, aspect_ratios: what its region proposal network has learned on.
    """

    source: str
    state: dict[str, Tensor]
    class_names: ClassNames | None = None
    class_rows: tuple[int, ...] | None = None
    norm_eps: float | None = None
    head: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    anchors: tuple[tuple[int, ...], ...] | None = None
    aspect_ratios: tuple[float, ...] | None = None

    @property
    def is_detector(self) -> bool:
        """Whether the file holds more than a backbone."""
        parts = ("backbone.", "rpn.", "roi_heads.", "head.classification_head.")
        return any(name.startswith(parts) for name in self.state)

    def has_learned_on(self, anchors: int) -> bool:
        """Whether a region proposal network in the file has learned on anchors that a model can have: on those that
        the file tells of or, where it tells of none, on as many ``anchors`` a place, which then pass for the same."""
        scores = self.state.get("rpn.head.cls_logits.weight")
        return scores is not None and (self.anchors is not None or len(scores) == anchors)


def read(path: Path) -> Weights:
    """The tensors of a .safetensors file or, without running code from it, of a .pth file."""
    if not path.is_file():
        raise UsageError(
            f"--pretrained {path}: no such file; known besides files and links are auto, none and balloon"
        )
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                is_ours = "detect" in (file.metadata() or {})
                state = {} if is_ours else {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is not a .safetensors file: {error}") from None
        if not is_ours:
            return Weights(str(path), state)
        ours = checkpoint.load(path)
        seen = Architecture.from_json(ours.architecture)
        names = ("norm_eps", "head", "mean", "std", "anchors", "aspect_ratios")
        more = {name: getattr(seen, name) for name in names}
        return Weights(str(path), ours.state, ours.class_names, ours.class_rows, **more)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise CheckpointError(
            f"{path} is not a file of weights: neither .safetensors nor a .pth of tensors alone"
        ) from error
    if isinstance(content, dict) and "train_sha256" in content:  # whose weights do not tell of their classes
        raise CheckpointError(f"{path} is for --resume; take last.safetensors, which lies beside it")
    while isinstance(content, dict) and not any(isinstance(v, Tensor) for v in content.values()):
        inner = next((content[k] for k in ("model", "state_dict", "model_state_dict") if k in content), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not any(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds no dict of tensors")
    return Weights(str(path), {k.removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)})
