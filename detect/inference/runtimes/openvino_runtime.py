"""Runs an exported model with OpenVINO (https://docs.openvino.ai)."""

from __future__ import annotations

import functools
import json
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detect.errors import CheckpointError
from detect.inference.exported_model import from_metadata
from detect.inference.runtimes.exported_runtime import ExportedRuntime
from detect.inference.runtimes.packages import import_runtime
from detect.models.prediction import prediction_of
from detect.models.prediction.networks import networks_of
from detect.models.prediction.raw_detections import Limits, RawDetections
from detect.models.zoo import OPENVINO_FILE
from detect.runtime import has_bfloat16


class OpenVinoRuntime(ExportedRuntime):
    """Runs the networks with OpenVINO, and the steps between them with PyTorch.

    path: folder that export.py wrote.
    precision: "bf16" computes in bfloat16 what was exported in fp32; by default as exported.

    Raises CheckpointError for a folder that is incomplete or damaged, and UsageError for another precision and if the
    package openvino is not installed.
    """

    name = "openvino"

    def __init__(self, path: Path, precision: str | None = None) -> None:
        core = openvino_core(path)
        super().__init__(path, *read_folder(path))
        if (precision, self.facts.precision) != ("bf16", "fp32"):
            self.check_precision(precision)
        self.precision = precision or self.facts.precision
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # By default OpenVINO computes in bfloat16 where the CPU supports it.
            "INFERENCE_PRECISION_HINT": "bf16" if "bf16" in (self.precision, self._float_layers()) else "f32",
        }
        networks = {}
        for name in networks_of(self.model):
            file = path / f"{name}.xml"
            if not file.is_file():
                raise CheckpointError(f"{path} lacks {file.name}; export the model again")
            try:
                networks[name] = _Network(core.compile_model(core.read_model(file), "CPU", properties))
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1].rstrip("!.")  # the lines before name C++ files
                raise CheckpointError(f"{file} is damaged: {reason}; export the model again") from None
        self._predict = prediction_of(self.model, networks)

    def _float_layers(self) -> str:
        """Return the number format of the layers that are not quantized."""
        return self.facts.float_layers if has_bfloat16(torch.device("cpu")) else "fp32"

    @torch.inference_mode()
    def detect(self, images: Tensor, limits: Limits) -> RawDetections:
        return self._predict(images, limits)


@functools.cache
def _core() -> Any:
    return import_module("openvino").Core()


def openvino_core(needed_by: Path | str) -> Any:
    """Return OpenVINO's Core of this process. Raises UsageError if the package is not installed.

    The process has only this one, which is never deleted. Each Core of OpenVINO 2026.4 gives the main thread another
    stack for signal handlers (``sigaltstack``) and frees it with the last of its models. If an earlier Core was
    deleted before, the next signal, such as Ctrl-C, then crashes a process that uses faulthandler.

    needed_by: model or setting that needs it, for the message.
    """
    import_runtime("openvino", needed_by)
    return _core()


class _Network:
    """A compiled network as a function of one tensor. Each thread has buffers of its own."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._requests = threading.local()

    def __call__(self, inputs: Tensor) -> Any:
        request = getattr(self._requests, "request", None)
        if request is None:
            request = self._requests.request = self._compiled.create_infer_request()
        results = request.infer([inputs.contiguous().numpy()], share_inputs=True)
        outputs = tuple(torch.from_numpy(results[port]) for port in self._compiled.outputs)
        return outputs if len(outputs) > 1 else outputs[0]


def read_folder(path: Path) -> tuple[Any, Any]:
    """Return the result of ``from_metadata`` for the folder of an OpenVINO model. Raises CheckpointError."""
    file = path / OPENVINO_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        metadata = {key: json.dumps(value) for key, value in values.items()}
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from None
    return from_metadata(metadata, path)
