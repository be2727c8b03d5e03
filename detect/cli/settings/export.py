"""The settings of export.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.cli.settings.shared import DATA, DATA_ROOT, detection_limit_option, model_option
from detect.deployment import CALIBRATION_IMAGES, MAX_AP_DROP, TARGETS
from detect.models.zoo import check_model
from detect.options import check_run_name, imgsz_option, option, output_dir_option, proposals_option


@dataclass(kw_only=True)
class ExportSettings:
    """export.py"""

    model: str = model_option()
    to: str = option("openvino", "onnx: one file for ONNX Runtime; openvino: a folder for OpenVINO", choices=TARGETS)
    int8: bool = option(False, "quantize weights and activations to 8 bits, calibrated on images of the dataset")
    fp16: bool = option(
        False, "store the weights in 16 bits, which halves the files, and compute in 32 bits; OpenVINO only"
    )
    imgsz: int | None = imgsz_option("short side of the resized images in pixels (default: the checkpoint's)")
    max_detections: int | None = detection_limit_option()
    proposals: int | None = proposals_option()
    verify_data: str | None = option(
        None,
        f"{DATA}; AP before and after is compared on its val split (default: the training dataset of the checkpoint)",
        metavar="NAME|PATH",
    )
    data_root: Path | None = option(None, DATA_ROOT, metavar="DIR")
    calibration_images: int = option(CALIBRATION_IMAGES, "number of training images that calibrate `int8`", low=1)
    max_ap_drop: float = option(
        MAX_AP_DROP,
        "largest allowed loss of bbox or segm AP in points; if the loss is larger, the export is deleted and the exit"
        " status is 4",
        low=0,
        high=100,
    )
    force: bool = option(False, "keep an export that loses more than `max_ap_drop`")
    name: str | None = option(
        None, "name of the output folder (default: MODEL_TO or MODEL_TO_int8, numbered if it exists)"
    )
    output_dir: Path = output_dir_option("outputs/export")
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        check_model(self.model)
        check_run_name(self.name)
