"""Weight files in the form in which torchvision publishes them."""

from __future__ import annotations

import re

from torch import Tensor


def old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state`` under the tensor names that torchvision used before version 0.13."""
    renamed = {}
    for key, tensor in state.items():
        key = re.sub(r"(fpn\.\w+_blocks\.\d)\.0\.", r"\1.", key)
        key = key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", key)
        key = re.sub(r"(\w+_head\.conv)\.(\d)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}.", key)
        renamed[key] = tensor
    return renamed
