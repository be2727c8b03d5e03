"""Ground truth of rendered images as a COCO file (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detect.data.synthetic.canvas import Image
from detect.media.images import write_image
from detect.structures import masks


class CocoGroundTruth:
    """Collects images and annotations and writes them as JSON; equal calls give equal bytes.

    categories: id -> name, written in this order.
    description: text of the file's "info".
    first_id: first image id and first annotation id.
    """

    def __init__(self, categories: Mapping[int, str], description: str, first_id: int = 1) -> None:
        self._next_image = self._next_annotation = first_id
        self._content: dict[str, Any] = {
            "info": {"description": description},
            "images": [],
            "annotations": [],
            "categories": [{"id": i, "name": name} for i, name in categories.items()],
        }

    def write_image(self, path: Path, image: Image) -> None:
        """Write a rendered image and add its ground truth."""
        write_image(path, image.image)
        image_id = self.add_image(path.name, image.image.shape[:2])
        for category_id, mask in zip(image.category_ids, image.masks, strict=True):
            self.add_annotation(image_id, category_id, mask)

    def add_image(self, file_name: str, image_hw: tuple[int, int], **more: Any) -> int:
        """Add an image and return its id. more: further keys of its entry."""
        image_id, self._next_image = self._next_image, self._next_image + 1
        height, width = image_hw
        image = {"id": image_id, "file_name": file_name, "height": height, "width": width}
        self._content["images"].append(image | more)
        return image_id

    def add_annotation(
        self, image_id: int, category_id: int, mask: masks.Rle, with_mask: bool = True, **more: Any
    ) -> None:
        """Add an annotation with the box and the area of ``mask``.

        with_mask: whether to include the mask.  more: further keys of the entry.
        """
        x0, y0, x1, y1 = (int(v) for v in masks.box(mask))
        annotation: dict[str, Any] = {
            "id": self._next_annotation,
            "image_id": image_id,
            "category_id": int(category_id),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": masks.area(mask),
            "iscrowd": 0,
        }
        if with_mask:
            annotation["segmentation"] = masks.to_json(mask)
        self._content["annotations"].append(annotation | more)
        self._next_annotation += 1

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_text(json.dumps(self._content, separators=(",", ":")) + "\n", encoding="utf-8")
