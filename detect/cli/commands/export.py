"""Export a model to ONNX or OpenVINO, and measure what the export costs."""

from __future__ import annotations

from detect.cli.flags import parse
from detect.cli.settings.export import ExportSettings
from detect.cli.startup import start_program


def main() -> None:
    settings, _ = parse(ExportSettings, "Export a model to ONNX or OpenVINO, and compare it with the original.")
    # Imported late so that --help and errors in flags come before the seconds that torch takes to load.
    from detect.deployment.export import export

    start_program(settings.quiet)
    result = export(
        settings.model,
        settings.to,
        int8=settings.int8,
        fp16=settings.fp16,
        imgsz=settings.imgsz,
        max_detections=settings.max_detections,
        proposals=settings.proposals,
        verify_data=settings.verify_data,
        data_root=settings.data_root,
        calibration_images=settings.calibration_images,
        max_ap_drop=settings.max_ap_drop,
        force=settings.force,
        output_dir=settings.output_dir,
        name=settings.name,
    )
    if result.verification is not None:
        before, after = (
            evaluation.scores["speed"]["seconds_per_image"]
            for evaluation in (result.verification.before, result.verification.after)
        )
        print(f"{1000 * before:.0f} -> {1000 * after:.0f} ms per image including reading")
    print(f"-> {result.path}")
