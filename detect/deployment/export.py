"""Exports a model, compares its AP with that of the original, and keeps it unless it lost too much."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from detect.data.digests import copy_digests
from detect.data.load import find_spec
from detect.data.spec import DatasetSpec
from detect.deployment import CALIBRATION_IMAGES, MAX_AP_DROP, TARGETS
from detect.deployment.calibration import evenly_spaced_images, network_inputs
from detect.deployment.onnx_export import export_onnx
from detect.deployment.openvino_export import export_openvino
from detect.deployment.recording import record_int8
from detect.deployment.verification import Verification, verify
from detect.errors import DetectError, ExportLossError, UsageError
from detect.evaluation.predict import check_shared_classes
from detect.inference.exported_model import ExportFacts, is_exported, to_metadata
from detect.inference.load import load_model, read_model
from detect.inference.predictor import Predictor
from detect.inference.resizing import resized
from detect.inference.runtimes.openvino_runtime import OpenVinoRuntime
from detect.inference.runtimes.packages import import_runtime
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.io.files import disk_errors_naming, make_folder, new_folder, new_temporary_folder, write_text
from detect.models.builder import set_max_proposals
from detect.models.checkpoint import Checkpoint
from detect.models.torchvision_internals import GeneralizedRCNN
from detect.models.zoo import OPENVINO_FILE, check_model
from detect.options import check_number, suggest_keywords
from detect.progress import report
from detect.runtime import has_bfloat16
from detect.text import unknown

PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",)}  # to export, and to run the result


@dataclass(frozen=True)
class ExportResult:
    """An exported model.

    path: the .onnx file, or the folder of the OpenVINO model; ``load_model`` takes either.
    verification: the comparison with the original; None if there was no dataset to compare on.
    """

    path: Path
    verification: Verification | None


@suggest_keywords
def export(
    model: str | Path,
    to: str = "openvino",
    *,
    int8: bool = False,
    fp16: bool = False,
    imgsz: int | None = None,
    max_detections: int | None = None,
    proposals: int | None = None,
    verify_data: str | Path | None = None,
    data_root: str | Path | None = None,
    calibration_images: int = CALIBRATION_IMAGES,
    max_ap_drop: float = MAX_AP_DROP,
    force: bool = False,
    output_dir: str | Path = "outputs/export",
    name: str | None = None,
) -> ExportResult:
    """Export a model to ONNX or OpenVINO, and compare what it detects with the original.

    model: a name, a checkpoint file or a URL, as for ``load_model``.
    to: "onnx", one file for ONNX Runtime; or "openvino", a folder.
    int8: whether to quantize weights and activations to 8 bits, calibrated on images of the dataset.
    fp16: whether to store the weights in 16 bits, which halves the files; computed in 32 bits. OpenVINO only.
    imgsz, max_detections, proposals: as in ``load_model``, and stored in the export. The loss of AP includes that of
        fewer ``proposals``.
    verify_data: dataset on whose val split (else test, else train) both models are compared; by default the one that
        the checkpoint was trained on, if it is found.
    data_root: folder of the files of a dataset that ``verify_data`` names; by default datasets/NAME.
    calibration_images: number of images of the train split (else val, else test) that calibrate ``int8``.
    max_ap_drop: largest allowed loss of bbox or segm AP in points, 0..100.
    force: whether to keep a model that lost more.
    output_dir: folder that receives a new folder ``name``, by default MODEL_TO, MODEL_TO_int8 or MODEL_TO_fp16.

    Without a dataset the export is kept and not verified.
    Raises UsageError for invalid settings, an exported model, int8 without a dataset, and a library that is not
    installed; ExportLossError for a loss that is too large; and what ``load_model`` and ``evaluate`` raise.
    """
    _check(to, int8, fp16, calibration_images, max_ap_drop, model)
    original, source = _loaded(model, imgsz, max_detections, proposals)
    saved = _described(str(model), source, imgsz)
    spec = _dataset(saved, verify_data, data_root)
    if spec is not None:
        check_shared_classes(original.class_names, spec.read(_verified_split(spec))[0], f"dataset '{spec.name}'")
    precision = "int8" if int8 else "fp16" if fp16 else "fp32"
    facts = _facts(original, to, precision)
    make_folder(Path(output_dir))
    with new_temporary_folder("export") as folder:
        calibration = _calibration(spec, calibration_images) if int8 else None
        path = _write(source, folder, saved, facts, calibration)
        verification = None
        if spec is not None:
            verification = _verified(original, path, spec, math.inf if force else max_ap_drop)
            _add_metadata(path, saved, replace(facts, verification=verification.to_json()))
        stem = name or "_".join(part for part in (Path(original.name).stem, to, precision) if part != "fp32")
        exported = _move(path, new_folder(Path(output_dir), stem), f"{stem}.onnx")
        if original.path is not None:
            copy_digests(original.path, exported)
        if int8 and to == "openvino" and verification is not None:
            record_int8(model, exported, verification, saved)
        return ExportResult(exported, verification)


def export_unverified(
    model: Path,
    to: str,
    folder: Path,
    *,
    imgsz: int | None = None,
    max_detections: int | None = None,
    calibration: Sequence[np.ndarray] | None = None,
) -> Path:
    """Export a checkpoint file to ``folder`` without a comparison, and return the path of the result.

    calibration: images, uint8 RGB [H, W, 3], that calibrate an export in 8 bits; by default it is in float32.
    The other arguments are those of ``export``.
    """
    source = load_model(model, device="cpu", imgsz=imgsz, max_detections=max_detections)
    facts = _facts(source, to, "fp32" if calibration is None else "int8")
    return _write(source, folder, _described(str(model), source, imgsz), facts, calibration)


def _loaded(
    model: str | Path, imgsz: int | None, max_detections: int | None, proposals: int | None
) -> tuple[Predictor, Predictor]:
    """Return the model to compare with, and the one to export, which classifies only ``proposals``."""
    original = load_model(model, device="cpu", imgsz=imgsz, max_detections=max_detections)
    if proposals is None:
        return original, original
    source = load_model(model, device="cpu", imgsz=imgsz, max_detections=max_detections, proposals=proposals)
    assert isinstance(source.runtime, TorchRuntime) and isinstance(source.runtime.model, GeneralizedRCNN)
    set_max_proposals(source.runtime.model, proposals)
    return original, source


def _facts(original: Predictor, to: str, precision: str) -> ExportFacts:
    float_layers = "bf16" if (to, precision) == ("openvino", "int8") and has_bfloat16(torch.device("cpu")) else "fp32"
    return ExportFacts(
        "onnxruntime" if to == "onnx" else to,
        precision,
        original.runtime.num_parameters,
        Path(original.name).name,
        float_layers,
        versions={package: version(package) for package in (*PACKAGES[to], "torch")},
    )


def _check(to: str, int8: bool, fp16: bool, calibration_images: int, max_ap_drop: float, model: str | Path) -> None:
    """Raise UsageError for settings that are invalid or do not fit together."""
    if to not in TARGETS:
        raise UsageError(unknown("target", to, TARGETS))
    if int8 and fp16:
        raise UsageError("`int8` and `fp16` exclude each other")
    if fp16 and to != "openvino":
        raise UsageError("`fp16` needs `to='openvino'`: ONNX Runtime on a CPU is slower with weights of 16 bits")
    for package in (*PACKAGES[to], *(["nncf"] if int8 and to == "openvino" else [])):
        import_runtime(package, "`int8`" if package == "nncf" else f"`to='{to}'`")
    check_number("calibration_images", calibration_images, int, low=1)
    check_number("max_ap_drop", max_ap_drop, float, low=0, high=100)
    check_model(str(model))
    if is_exported(model):
        raise UsageError(f"{model} is exported already; export its checkpoint")


def _described(name: str, original: Predictor, imgsz: int | None) -> Checkpoint:
    """Return the metadata of the model as a checkpoint without tensors, with the size and limits of the export."""
    saved, _, _ = read_model(name, imgsz)
    size = original.runtime.input_size
    changed = {
        "min_size": size.short,
        "max_size": size.long,
        "max_detections": original.max_detections,
        "max_proposals": original.proposals,
    }
    return replace(saved, state={}, architecture=saved.architecture | changed)


def _dataset(saved: Checkpoint, data: str | Path | None, data_root: str | Path | None) -> DatasetSpec | None:
    """Return the dataset to compare on, prepared; None if none is given and the training dataset is not found."""
    given, data_format = data, "auto"
    if data is None:  # a path, as it was given to the training, or a name
        given = saved.training.get("data") or saved.data.get("name")
        data_root = data_root or saved.training.get("data_root")
        data_format = saved.training.get("format") or data_format
    if given is None:
        report("not verified: the model does not name its dataset; set `verify_data` to one")
        return None
    try:
        spec = find_spec(str(given), data_root, data_format)
        spec.prepare()
    except DetectError as error:
        if data is not None:
            raise
        reason, _, _ = str(error).partition("; ")  # the rest says where to put a downloaded file
        report(f"not verified: its training dataset was not found ({reason}); set `verify_data` to a dataset")
        return None
    return spec


def _verified_split(spec: DatasetSpec) -> str:
    return next((split for split in ("val", "test") if split in spec.splits), "train")


def _calibration(spec: DatasetSpec | None, count: int) -> Sequence[np.ndarray]:
    """Return images of the train split, or of another if there is none. Raises UsageError without a dataset."""
    if spec is None:
        raise UsageError("`int8` is calibrated on images of a dataset: set `verify_data`")
    return evenly_spaced_images(spec, "train" if "train" in spec.splits else _verified_split(spec), count)


def _write(
    source: Predictor, folder: Path, saved: Checkpoint, facts: ExportFacts, calibration: Sequence[np.ndarray] | None
) -> Path:
    """Write the model and its metadata to ``folder``, and return the path of the model.

    calibration: images for an export in 8 bits.
    """
    assert isinstance(source.runtime, TorchRuntime)
    model = source.runtime.model
    with disk_errors_naming(folder):
        if facts.runtime == OpenVinoRuntime.name:
            path = folder / "model"
            path.mkdir()
            inputs = None if calibration is None else network_inputs(source, model, calibration)
            export_openvino(model, path, facts.precision, inputs)
        else:
            path = folder / "model.onnx"
            sizes = ((image, source.resized_hw(image.shape[:2])) for image in calibration or ())
            images = (resized(image, hw, source.device) for image, hw in sizes)
            export_onnx(model, path, None if calibration is None else images)
    _add_metadata(path, saved, facts)
    return path


def _verified(original: Predictor, path: Path, spec: DatasetSpec, max_ap_drop: float) -> Verification:
    """Compare an export with the original, and report the result. Raises ExportLossError if it loses too much."""
    verification = verify(original, load_model(path, device="cpu"), spec, _verified_split(spec))
    report(verification.text())
    if verification.largest_drop > max_ap_drop:
        raise ExportLossError(
            f"the export loses {verification.largest_drop:.3g} points of AP, more than `max_ap_drop={max_ap_drop}`; it"
            " was not kept. A higher precision loses less; `force=True` keeps it"
        )
    return verification


def _add_metadata(path: Path, saved: Checkpoint, facts: ExportFacts) -> None:
    """Write the metadata into an exported model, in place of its former metadata."""
    metadata = to_metadata(saved, facts)
    if path.is_dir():
        values = {key: json.loads(text) for key, text in metadata.items()}
        write_text(path / OPENVINO_FILE, json.dumps(values, indent=1, sort_keys=True))
        return
    onnx = import_runtime("onnx", "`to='onnx'`")
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, metadata)
    with disk_errors_naming(path):
        onnx.save(graph, path)


def _move(path: Path, folder: Path, file_name: str) -> Path:
    """Move an exported model into ``folder``, which is new and empty, and return its new path."""
    with disk_errors_naming(folder):
        if path.is_file():
            return Path(shutil.move(path, folder / file_name))
        for file in path.iterdir():
            shutil.move(file, folder)
    return folder
