"""The metadata of exported models: class names, sizes and limits, so that they load without further settings.

An ONNX model is one file; its metadata is in the keys METADATA_KEY and EXPORT_KEY of the file. An OpenVINO model is a
folder of networks with the file ``model.json``, which has the same two keys.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from detect.errors import CheckpointError
from detect.models.checkpoint import METADATA_KEY, Checkpoint, description_of, parse
from detect.models.zoo import is_openvino_folder

EXPORT_KEY = "detect_export"
FORMAT = 1


@dataclass(frozen=True)
class ExportFacts:
    """How a model was exported.

    runtime: "onnxruntime" or "openvino".
    precision: number format of the weights and of most computations, "fp32", "fp16" or "int8".
    num_parameters: number of weights.
    source: file name of the checkpoint, or name of the model.
    float_layers: number format of what an OpenVINO model with precision "int8" does not quantize: "bf16", on CPUs that
        compute in it, if the exporting CPU did, so that the measured loss of AP includes it; else "fp32".
    verification: result of the comparison with the original, see ``export``; empty if the model was not verified.
    versions: versions of the libraries that exported it.
    """

    runtime: str
    precision: str
    num_parameters: int
    source: str
    float_layers: str = "fp32"
    verification: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def to_metadata(saved: Checkpoint, facts: ExportFacts) -> dict[str, str]:
    """Return the metadata of an exported model as JSON texts."""
    values = {"format": FORMAT} | asdict(facts)
    return {METADATA_KEY: description_of(saved), EXPORT_KEY: json.dumps(values, sort_keys=True)}


def from_metadata(metadata: dict[str, str], path: Path) -> tuple[Checkpoint, ExportFacts]:
    """Return the description of an exported model, as a checkpoint without tensors, and the facts of the export.

    path: file of the model, for messages. Raises CheckpointError if the metadata is missing, invalid or too new.
    """
    if METADATA_KEY not in metadata or EXPORT_KEY not in metadata:
        raise CheckpointError(
            f"{path} was not exported by this program: it has no class names and sizes in its metadata; export the"
            " checkpoint with export.py"
        )
    try:
        values = json.loads(metadata[EXPORT_KEY])
        if values.pop("format") > FORMAT:
            raise CheckpointError(
                f"{path} was exported by a newer version of this program; update it to read the file"
            )
        facts = ExportFacts(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has damaged metadata ({type(error).__name__}: {error})") from None
    return parse(path, {}, metadata[METADATA_KEY]), facts


def is_exported(model: str | Path) -> bool:
    """Return whether ``model`` is the path of an exported model: an .onnx file, or a folder with ``model.json``."""
    return Path(model).suffix.lower() == ".onnx" or is_openvino_folder(model)
