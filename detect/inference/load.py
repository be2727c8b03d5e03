"""Loading a model for inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from detect.distributed import world_from_environment
from detect.errors import CheckpointError, UsageError
from detect.inference.exported_model import is_exported
from detect.inference.fast_choice import changed_settings, fast_settings, fastest_precision, int8_model
from detect.inference.predictor import Predictor
from detect.inference.runtimes.base import Runtime
from detect.inference.runtimes.onnx_runtime import OnnxRuntime
from detect.inference.runtimes.openvino_runtime import OpenVinoRuntime, read_folder
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.inference.tiling import parse_tile
from detect.io.links import fetch_link, is_link, naming_origin, publishable_link
from detect.models import checkpoint, pretrained
from detect.models.architecture import Architecture, detector_architecture
from detect.models.builder import build
from detect.models.checkpoint import Checkpoint
from detect.models.cpu.fuse_activations import fuse_activations
from detect.models.cpu.fuse_bn import fuse_for_inference
from detect.models.cpu.winograd import use_winograd
from detect.models.default_model import default_model
from detect.models.fast_settings import FastSettings
from detect.models.zoo import AUTO, BUNDLED, DETECTORS, check_model
from detect.options import check_imgsz, check_max_detections, check_threshold, suggest_keywords
from detect.progress import warn
from detect.runtime import cpu_has_int8_products, has_bfloat16, pick_device
from detect.text import type_in_words

_COCO_SHORT_SIDE = 480  # pixels; most images of COCO have 640 x 480


@suggest_keywords
def load_model(
    model: str | Path = AUTO,
    *,
    device: str = "auto",
    imgsz: int | None = None,
    threshold: float | None = None,
    max_detections: int | None = None,
    precision: str | None = None,
    proposals: int | None = None,
    fast: bool = False,
    nms: float | None = None,
    one_label_per_object: bool = False,
    tile: int | str | None = None,
) -> Predictor:
    """Load a model and return its Predictor.

    model: name of a bundled model ("balloon"), name of a torchvision detector with COCO weights ("v2", "maskrcnn_v2"
        ...), path of a checkpoint (.safetensors), or URL of one; or path of an exported model, an .onnx file
        or the folder of an OpenVINO model. "auto" is a detector of COCO's 80 classes that suits the device,
        "mobilenet" on a CPU and "v2" on a GPU, if its weights are cached or can be downloaded; else it is "balloon",
        and a warning says why. The predictor's ``name`` is the name of the chosen one.
    device: "auto", "cpu", "cuda", "cuda:0" or "mps".
    imgsz: length in pixels to which the short side of an image is resized, 32..8192; by default the checkpoint's.
    threshold: minimum score of a detection of any class, 0..1; by default the checkpoint's, which may have one for
        each class, else 0.5.
    max_detections: maximum number of detections per image, 1..10000, those with the highest scores; by default the
        checkpoint's. More than the checkpoint's take more time.
    precision: number format of the networks: "fp32", "bf16" or, on GPUs, "fp16". 16 bits are faster where the device
        computes in them, and change scores and boxes a little. "int8" is the quantized export that ``export`` recorded
        in the checkpoint. "auto" is the fastest of those that lost at most 0.3 points of AP when they were measured
        (see ``tune_speed``), else "fp32". By default "fp32", or that of an exported model.
    proposals: number of proposals per image that a Faster or Mask R-CNN classifies, 1..10000, those with the highest
        scores. Fewer are faster and may miss objects. By default the model's.
    fast: whether to use the number of proposals that ``tune_speed`` stored in the checkpoint, and the precision
        "auto", unless ``proposals`` and ``precision`` are given.
    nms: IoU threshold of NMS, 0..1: if two boxes of a class overlap more, the one with the lower score is dropped. By
        default the model's, usually 0.5.
    one_label_per_object: whether NMS also compares boxes of different classes, so that an object has one class.
    tile: side in pixels, at least 64, of the overlapping tiles into which larger images are cut; the model processes
        them besides the whole image, which finds small objects and takes time for each tile. ``max_detections`` then
        applies to each tile. "auto": tiles that appear at the scale of the training images, only for images that are
        shrunk more than 1.5 times as much. By default none.

    Raises TypeError for a model of another type; UsageError for an unknown name, an invalid number, a setting that the
    model does not support, and a package that is not installed; FetchError for a failed download; and CheckpointError
    for a file that is not a valid model.
    """
    if not isinstance(model, str | Path):
        raise TypeError(f"a model must be a name, a path or a URL, not {type_in_words(model)}")
    settings = {"imgsz": imgsz, "threshold": threshold, "max_detections": max_detections}
    for setting, check in (
        ("imgsz", check_imgsz),
        ("threshold", check_threshold),
        ("max_detections", check_max_detections),
    ):
        if settings[setting] is not None:
            check(settings[setting])
    name = str(model)
    check_model(name, allow_auto=True)
    exported = name != AUTO and is_exported(name)
    target = pick_device("cpu" if device == "auto" and exported else device)
    options: Any = settings | {"device": target, "precision": precision, "proposals": proposals, "nms": nms}
    options |= {"one_label_per_object": one_label_per_object, "tile": parse_tile(tile)}
    if name == AUTO:
        return _load_default(options, fast)
    return _load_exported(Path(name), options, fast) if exported else _load_checkpoint(name, options, fast)


def _load_default(options: dict[str, Any], fast: bool) -> Predictor:
    """Load the model that AUTO stands for, and warn if it is the bundled one. ``options``, ``fast``: those of
    ``load_model``."""
    chosen = default_model(options["device"].type)
    predictor = _load_checkpoint(chosen.name, options, fast)
    if chosen.failure and world_from_environment().is_first:
        warn(f"`model='{AUTO}'`: {chosen.notice(predictor.class_names.names)}")
    return predictor


def _load_checkpoint(name: str, options: dict[str, Any], fast: bool) -> Predictor:
    """Load a checkpoint, or the quantized export of it. ``options``, ``fast``: those of ``load_model``."""
    saved, path, source = read_model(name, options["imgsz"])
    if fast:
        measured = fast_settings(saved, publishable_link(name))
        options["precision"] = options["precision"] or "auto"
        options["proposals"] = options["proposals"] or measured.proposals
    quantized = None
    if options["precision"] in ("auto", "int8"):
        options["precision"], quantized = _chosen_precision(saved, path, options)
    with naming_origin(name):
        if quantized is None:
            predictor = predictor_from_checkpoint(saved, source=source, **options)
        else:
            predictor = _load_exported(quantized, options, saved=saved)
    predictor.name, predictor.path = publishable_link(name), quantized or path
    return predictor


def _chosen_precision(saved: Checkpoint, path: Path | None, options: dict[str, Any]) -> tuple[str, Path | None]:
    """Return the number format for the precision "auto" or "int8", and for int8 the folder of the exported model.

    Raises UsageError if int8 is wanted and there is no quantized export with the settings of the checkpoint.
    """
    settings, precision = FastSettings.of(saved), options["precision"]
    quantized = int8_model(settings, path)
    changed = "" if quantized is None else changed_settings(saved, read_folder(quantized)[0])
    if precision == "auto":
        is_fixed = all(options[name] is None for name in ("imgsz", "max_detections", "nms"))
        is_usable = is_fixed and not options["one_label_per_object"] and not changed
        precision = fastest_precision(settings, options["device"], quantized if is_usable else None)
    if precision != "int8":
        return precision, None
    if quantized is None and settings.int8_model:
        raise UsageError(
            f"`precision='int8'`: the quantized model {settings.int8_model}, relative to the checkpoint, is gone;"
            " export the checkpoint in int8 again"
        )
    if quantized is None:
        raise UsageError(
            "`precision='int8'` needs a quantized model: export the checkpoint in int8 (see docs/export.md)"
        )
    if changed:
        raise UsageError(
            f"`precision='int8'`: the quantized model {quantized} has {changed}; load it by its path, or export the"
            " checkpoint in int8 again without these settings"
        )
    return precision, quantized


def read_model(name: str, imgsz: int | None = None) -> tuple[Checkpoint, Path | None, str]:
    """Return the checkpoint of a model that is not exported, its file, and where it comes from in words.

    name: as in ``load_model``.  imgsz: as in ``load_model``; only a torchvision detector, which has no file, needs it.
    Raises FetchError for a failed download and CheckpointError for a file that is not a valid checkpoint.
    """
    if name in DETECTORS:
        weights = pretrained.published_detector(name)
        architecture = detector_architecture(name, imgsz).to_json()
        data = {"train_shrink": _COCO_SHORT_SIDE / DETECTORS[name].short}
        return Checkpoint(weights.state, architecture, *pretrained.coco_classes(name), data=data), None, weights.source
    if name in BUNDLED:
        path = pretrained.bundled(name)
    else:
        path = fetch_link(name, hint=pretrained.OFFLINE_HINT) if is_link(name) else Path(name)
    with naming_origin(name):
        return checkpoint.load(path), path, str(path)


def _load_exported(
    path: Path, options: dict[str, Any], fast: bool = False, saved: Checkpoint | None = None
) -> Predictor:
    """Load an exported model.

    options, fast: those of ``load_model``.
    saved: checkpoint of the model, for its thresholds; by default the metadata of the export.
    """
    if options["device"].type != "cpu":
        raise UsageError(f"`device='{options['device']}'`: exported models run on a CPU; use `device='cpu'`")
    runtime: OnnxRuntime | OpenVinoRuntime
    precision = None if options["precision"] == "auto" else options["precision"]
    runtime = OnnxRuntime(path, precision) if path.suffix.lower() == ".onnx" else OpenVinoRuntime(path, precision)
    if runtime.precision != "fp16":  # stored in 16 bits, computed in 32
        _warn_of_emulation(torch.device("cpu"), runtime.precision)
    runtime.check_settings(options["imgsz"], options["max_detections"])
    proposals = options["proposals"]
    if fast and proposals is None:
        proposals = _fast_proposals(runtime)
    own = {name: options[name] for name in ("threshold", "nms", "one_label_per_object", "tile")}
    predictor = _predictor_of(runtime, saved or runtime.saved, proposals=proposals, **own)
    predictor.name, predictor.path = str(path), path
    return predictor


def _fast_proposals(runtime: OnnxRuntime | OpenVinoRuntime) -> int | None:
    """Return the number of proposals for ``fast``; None to keep that of the export, which is not larger.

    Raises UsageError if no faster settings were measured, and if the export needs a larger number.
    """
    proposals = fast_settings(runtime.saved, str(runtime.path)).proposals
    if proposals is None or (runtime.proposals or 0) <= proposals:
        return None
    if "proposals" not in runtime.applied_limits:
        raise UsageError(
            f"`fast`: it stands for `proposals={proposals}`, and {runtime.path.name} has {runtime.proposals}:"
            f" {runtime.why_fixed('proposals')}"
        )
    return proposals


def _predictor_of(runtime: Runtime, saved: Checkpoint, threshold: float | None, **settings: Any) -> Predictor:
    """Return the Predictor with class names, thresholds and training scale of ``saved``.

    settings: further arguments of Predictor.
    """
    shrink, side = saved.data.get("train_shrink"), saved.data.get("train_object_side")
    return Predictor(
        runtime,
        saved.class_names,
        class_rows=saved.class_rows,
        threshold=saved.threshold if threshold is None else threshold,
        class_thresholds=saved.class_thresholds if threshold is None else None,
        training_shrink=None if shrink is None else float(shrink),
        training_object_side=None if side is None else float(side),
        **settings,
    )


def check_no_load_settings(device: str | None, imgsz: int | None) -> None:
    """Raise UsageError if settings of ``load_model`` are given with a Predictor, which is already loaded."""
    if device is not None or imgsz is not None:
        raise UsageError("`device` and `imgsz` cannot change a model that is already loaded; pass them to load_model")


def predictor_from_checkpoint(
    saved: Checkpoint,
    *,
    device: torch.device | str = "cpu",
    imgsz: int | None = None,
    threshold: float | None = None,
    max_detections: int | None = None,
    precision: str | None = None,
    source: str = "checkpoint",
    **settings: Any,
) -> Predictor:
    """Build the model that a loaded checkpoint describes and return its Predictor.

    source: name of the file, for messages.
    settings: ``proposals``, ``nms``, ``one_label_per_object`` and ``tile``, as in ``load_model``.

    Raises CheckpointError if the tensors do not fit the architecture that the checkpoint describes.
    """
    try:
        architecture = Architecture.from_json(saved.architecture)
        model = build(architecture, saved.num_rows)
        model.load_state_dict(saved.state)
        fuse_for_inference(model)
    except (RuntimeError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{source}: the weights do not fit the architecture that it describes: "
            f"{' '.join(str(error).split())[:200]}"
        ) from None
    if imgsz is not None:
        model.transform.set_size(imgsz)
    precision = precision or "fp32"
    if torch.device(device).type == "cpu":
        if precision == "fp32":
            use_winograd(model)
        fuse_activations(model)
    runtime = TorchRuntime(model, device=device, max_detections=max_detections, precision=precision)
    _warn_of_emulation(runtime.device, precision)
    return _predictor_of(runtime, saved, threshold, **settings)


def _warn_of_emulation(device: torch.device, precision: str) -> None:
    """Warn of a number format in which the device does not compute natively."""
    if precision == "int8" and not cpu_has_int8_products():
        warn("this CPU has no instructions for 8-bit products (VNNI); int8 may be slower than fp32")
    is_emulated = {"bf16": not has_bfloat16(device), "fp16": device.type == "cpu"}.get(precision, False)
    if is_emulated:
        warn(f"this {device.type} does not compute in {precision} natively; it may be much slower than fp32")
