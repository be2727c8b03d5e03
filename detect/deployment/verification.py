"""Compares an exported model with the original on the images of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detect.data.spec import DatasetSpec
from detect.evaluation.evaluate import Evaluation, evaluate
from detect.evaluation.predict import EVALUATION_THRESHOLD
from detect.evaluation.selftest_repeats import BOX_TOLERANCE, SAME, SCORE_TOLERANCE, Agreement, compare_detections
from detect.inference.predictor import Predictor

_FEW_ARE_THE_SAME = (
    f"detections with a score of at least {EVALUATION_THRESHOLD + SCORE_TOLERANCE:.3g} count as the same up to a"
    f" difference of {SCORE_TOLERANCE} in score and {BOX_TOLERANCE[0]} pixels; in 8 bits most differ more, and AP says"
    " whether it matters"
)


@dataclass(frozen=True)
class Verification:
    """Comparison of a model with its export on the same images.

    before, after: the evaluations of the original and of the export.
    agreement: how many detections are the same, and how far scores, boxes and masks differ.
    """

    before: Evaluation
    after: Evaluation
    agreement: Agreement

    @property
    def ap_drops(self) -> dict[str, float]:
        """Loss of AP in points (AP in 0..100) by kind, "bbox" and "segm"; negative where the export is better."""
        return {
            kind: 100 * (self.before.scores[kind]["AP"] - self.after.scores[kind]["AP"])
            for kind in ("bbox", "segm")
            if kind in self.before.scores and kind in self.after.scores
        }

    @property
    def largest_drop(self) -> float:
        """The largest of ``ap_drops``."""
        return max(self.ap_drops.values())

    def to_json(self) -> dict[str, Any]:
        """Return the result for the metadata of the export: AP and mask IoU in 0..1, box differences in pixels."""
        sides = {"before": self.before, "after": self.after}
        return {
            "dataset": self.before.dataset,
            "split": self.before.split,
            "images": len(self.before.records),
            "AP": {name: {kind: one.scores[kind]["AP"] for kind in self.ap_drops} for name, one in sides.items()},
            "seconds_per_image": {name: one.scores["speed"]["seconds_per_image"] for name, one in sides.items()},
            "same_detections": self.agreement.fraction,
            "largest_score_difference": self.agreement.score,
            "largest_box_difference": self.agreement.pixels,
            "lowest_mask_iou": self.agreement.mask_iou,
        }

    def text(self) -> str:
        """Return the result in a few lines."""
        drops = ", ".join(
            f"{kind} AP {self.before.scores[kind]['AP']:.3f} -> {self.after.scores[kind]['AP']:.3f}"
            for kind in self.ap_drops
        )
        text = f"{self.before.dataset} {self.before.split}: {drops}; {self.agreement}"
        if self.agreement.fraction < SAME:
            text += f"\n{_FEW_ARE_THE_SAME}"
        return text


def verify(original: Predictor, exported: Predictor, spec: DatasetSpec, split: str) -> Verification:
    """Run both models on a split of a dataset, after its ``prepare``, and compare their AP and detections."""
    before, after = (evaluate(one, spec, split=split) for one in (original, exported))
    return Verification(before, after, compare_detections(before.detections, after.detections))
