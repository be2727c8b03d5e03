"""Prediction with Faster, Mask and Keypoint R-CNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from detect.models.cpu.roi_align import RoIFeatures
from detect.models.prediction.input_images import Anchors, normalized
from detect.models.prediction.networks import Network, precise
from detect.models.prediction.raw_detections import Limits, RawDetections
from detect.models.prediction.selection import best_boxes, clipped
from detect.models.torchvision_internals import GeneralizedRCNN, keypointrcnn_inference, topk_min

_MIN_PROPOSAL_SIDE = 1e-3  # pixels, of the RPN
_MIN_BOX_SIDE = 1e-2


class TwoStagePrediction:
    """The prediction of an R-CNN: its networks, and the selection of boxes between them.

    The results are those of torchvision's GeneralizedRCNN up to rounding. Boxes are decoded only after their scores
    have selected them: 1,000 of each level instead of all anchors, and the classes above the threshold instead of all
    classes of all proposals. All steps process a batch at once, so that they can be traced for any number of images.

    model: settings of all steps; its weights are not used.
    networks: the functions of ``detect.models.prediction.networks``, by name.
    """

    def __init__(self, model: GeneralizedRCNN, networks: Mapping[str, Network]) -> None:
        self.model, self.networks = model, networks
        self._anchors = Anchors(model.rpn.anchor_generator)

    def __call__(self, images: Tensor, limits: Limits) -> RawDetections:
        """Detect objects in a batch of resized images, float32 [N, 3, h, w], RGB in 0..1."""
        inputs = normalized(images, self.model.transform)
        outputs = self.networks["dense"](inputs)
        levels = len(outputs) // 3
        maps, objectness, deltas = outputs[:levels], outputs[levels : 2 * levels], outputs[2 * levels :]
        limit = limits.proposals or self.model.rpn.post_nms_top_n()
        proposals, owners = self._proposals(images, self._anchors(inputs, maps), objectness, deltas, limit)
        features = RoIFeatures(maps)
        found = self._boxes(images, features, proposals, owners, limits)
        return self._with_masks_and_keypoints(features, found)

    def _proposals(
        self, images: Tensor, anchors: Tensor, objectness: Sequence[Tensor], deltas: Sequence[Tensor], limit: int
    ) -> tuple[Tensor, Tensor]:
        """Return the proposals of all images, float32 [R, 4], and the image of each, int64 [R], in order.

        images: the resized images.  anchors: float32 [anchors, 4].  objectness, deltas: outputs of the dense network.
        limit: number of proposals per image.
        """
        rpn = self.model.rpn
        num_images = images.shape[0]
        boxes, scores, levels, start = [], [], [], 0
        for level, (logits, offsets) in enumerate(zip(objectness, deltas, strict=True)):
            # [N, A, h, w] -> [N, h w A], and [N, 4 A, h, w] -> [N, h w A, 4], the order of the anchors
            flat = precise(logits.permute(0, 2, 3, 1).flatten(1))
            codes = offsets.permute(0, 2, 3, 1).reshape(num_images, -1, 4)
            best, chosen = flat.topk(topk_min(flat, rpn.pre_nms_top_n(), 1), dim=1)
            codes = precise(codes.gather(1, chosen[..., None].expand(-1, -1, 4)))
            own = anchors[start + chosen.flatten()]
            boxes.append(rpn.box_coder.decode_single(codes.flatten(0, 1), own).view(num_images, -1, 4))
            scores.append(best.sigmoid())
            levels.append(torch.full_like(chosen, level))
            start = start + flat.shape[1]
        every = clipped(torch.cat(boxes, dim=1), images)
        every_score = torch.cat(scores, dim=1)
        is_large = (every[..., 2:] - every[..., :2]).amin(dim=-1) >= _MIN_PROPOSAL_SIDE
        candidates = (is_large & (every_score >= rpn.score_thresh)).nonzero()
        owners, places = candidates[:, 0], candidates[:, 1]
        kept, kept_scores = every[owners, places], every_score[owners, places]
        groups = torch.cat(levels, dim=1)[owners, places]
        order = best_boxes(kept, kept_scores, owners, num_images, groups, len(objectness), rpn.nms_thresh, limit)
        return kept[order], owners[order]

    def _boxes(
        self, images: Tensor, features: RoIFeatures, proposals: Tensor, owners: Tensor, limits: Limits
    ) -> RawDetections:
        """Return the detections, without masks and keypoints.

        images: the resized images.  owners: the image of each proposal.
        """
        heads = self.model.roi_heads
        logits, deltas = self.networks["box_head"](features.pooled(heads.box_roi_pool, proposals, owners))
        probabilities = precise(logits).softmax(dim=-1)
        chosen = (probabilities[:, 1:] >= limits.threshold).nonzero()
        rois, rows = chosen[:, 0], chosen[:, 1] + 1  # without background
        num_images, num_rows = images.shape[0], probabilities.shape[1]
        # Not [R, 1 + K, 4]: ONNX Runtime cannot infer a dimension of an empty tensor.
        codes = precise(deltas.reshape(-1, 4)[rois * num_rows + rows])
        boxes = clipped(heads.box_coder.decode_single(codes, proposals[rois]).view(-1, 4), images)
        scores = probabilities[rois, rows]
        large = ((boxes[:, 2:] - boxes[:, :2]).amin(dim=1) >= _MIN_BOX_SIDE).nonzero()[:, 0]
        boxes, scores, rows, owners = boxes[large], scores[large], rows[large], owners[rois[large]]
        groups = torch.zeros_like(rows) if limits.class_agnostic else rows
        iou = heads.nms_thresh if limits.nms_iou is None else limits.nms_iou
        order = best_boxes(boxes, scores, owners, num_images, groups, num_rows, iou, limits.max_detections)
        return RawDetections(owners[order], boxes[order], scores[order], rows[order])

    def _with_masks_and_keypoints(self, features: RoIFeatures, found: RawDetections) -> RawDetections:
        heads, masks, keypoints = self.model.roi_heads, None, None
        if "mask_head" in self.networks:
            pooled = features.pooled(heads.mask_roi_pool, found.boxes, found.images)
            logits = self.networks["mask_head"](pooled)
            masks = precise(logits[torch.arange(logits.shape[0], device=logits.device), found.rows]).sigmoid()
        if "keypoint_head" in self.networks:
            pooled = features.pooled(heads.keypoint_roi_pool, found.boxes, found.images)
            heatmaps = precise(self.networks["keypoint_head"](pooled))
            # A graph has no loop over detections; it returns the heatmaps instead.
            keypoints = heatmaps if torch.jit.is_tracing() else keypoints_in(heatmaps, found.boxes)
        return RawDetections(found.images, found.boxes, found.scores, found.rows, masks, keypoints)


def keypoints_in(heatmaps: Tensor, boxes: Tensor) -> Tensor:
    """Return the points of D detections where their heatmaps are highest, float32 [D, 17, 3]: x, y and score.

    heatmaps: float32 [D, 17, 56, 56], of the inside of ``boxes``.  boxes: float32 [D, 4], xyxy.
    """
    points, scores = keypointrcnn_inference(heatmaps, [boxes])
    # torchvision's third value per point is a visibility that is always 1
    return torch.cat([points[0][..., :2], scores[0][..., None]], dim=-1)
