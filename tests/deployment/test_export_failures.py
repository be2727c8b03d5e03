"""An export is kept only if it is as good as the original; mistakes and damaged files are one clear error."""

from __future__ import annotations

import json
import logging
import resource
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.exports import IMAGES, TARGETS
from helpers.tiny_models import render_shapes

import detect
from detect.cli.commands import export
from detect.cli.exit_status import exit_status
from detect.deployment.verification import Verification
from detect.errors import CheckpointError, DiskError, ExportLossError, UsageError
from detect.evaluation.selftest_repeats import Agreement
from detect.inference import load
from detect.inference.exported_model import FORMAT
from detect.inference.runtimes import openvino_runtime
from detect.inference.runtimes.packages import import_runtime
from detect.models import checkpoint
from detect.models.zoo import OPENVINO_FILE
from detect.runtime import cpu_has_bfloat16


@pytest.mark.slow
def test_model_that_loses_too_much_is_not_kept_unless_forced(folder, tmp_path, monkeypatch):
    def worse(*arguments):
        found = original(*arguments)
        found.before.scores["bbox"]["AP"] += 0.02
        return found

    original = export_module().verify
    monkeypatch.setattr("detect.deployment.export.verify", worse)
    settings = {"verify_data": folder / "few.yaml", "output_dir": tmp_path / "out"}
    with pytest.raises(ExportLossError, match=r"2 points of AP.*max_ap_drop=1"):
        detect.export(folder / "boxes.safetensors", "onnx", max_ap_drop=1, **settings)
    assert not list((tmp_path / "out").iterdir())
    kept = detect.export(folder / "boxes.safetensors", "onnx", max_ap_drop=1, force=True, **settings)
    assert kept.path.is_file()
    assert detect.export(folder / "boxes.safetensors", "onnx", max_ap_drop=3, **settings).path.is_file()


@pytest.mark.slow
def test_without_a_named_dataset_the_export_is_verified_on_the_one_of_the_training(folder, tmp_path):
    saved = checkpoint.load(folder / "boxes.safetensors")
    trained = replace(saved, data={"name": "few"}, training={"data": str(folder / "few.yaml"), "format": "auto"})
    checkpoint.save(trained, tmp_path / "trained.safetensors")
    found = detect.export(tmp_path / "trained.safetensors", "onnx", max_ap_drop=100, output_dir=tmp_path / "out")
    assert found.verification is not None


def export_module():
    import detect.deployment.export as module

    return module


# Precision


@pytest.mark.slow
def test_openvino_computes_in_bfloat16_on_request_and_nothing_else_than_exported(exported, monkeypatch):
    hints = compiled_precisions(monkeypatch)
    for precision, hint in (("bf16", "bf16"), ("fp32", "f32"), (None, "f32")):
        hints.clear()
        runtime = detect.load_model(exported["openvino"], precision=precision).runtime
        assert runtime.precision == (precision or "fp32")
        if precision != "bf16" or cpu_has_bfloat16():
            assert set(hints) == {hint}
    for path, precision in ((exported["openvino"], "int8"), (exported["onnx"], "bf16")):
        with pytest.raises(UsageError, match=rf"precision='{precision}'.*exported in fp32"):
            detect.load_model(path, precision=precision)


def compiled_precisions(monkeypatch) -> list[str]:
    """Return a list that receives the number format of each network that OpenVINO compiles from now on."""
    core, hints = openvino_runtime.openvino_core("the test"), []

    class Recorder:
        read_model = core.read_model

        def compile_model(self, *arguments):
            compiled = core.compile_model(*arguments)
            hints.append(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
            return compiled

    monkeypatch.setattr(openvino_runtime, "openvino_core", lambda needed_by: Recorder())
    return hints


def test_only_an_export_in_32_bits_is_computed_in_bfloat16(exported, tmp_path):
    path = Path(shutil.copytree(exported["openvino"], tmp_path / "half"))
    metadata = json.loads((path / OPENVINO_FILE).read_text())
    for stored in ("fp16", "int8"):
        metadata["detect_export"]["precision"] = stored
        (path / OPENVINO_FILE).write_text(json.dumps(metadata))
        with pytest.raises(UsageError, match=f"precision='bf16'.*exported in {stored}"):
            detect.load_model(path, precision="bf16")


@pytest.mark.parametrize("to", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_int8_is_smaller_and_says_on_which_cpus_it_is_slow(folder, tmp_path, exported, monkeypatch, capsys, to):
    monkeypatch.setattr(load, "cpu_has_int8_products", lambda: False)
    settings = {"verify_data": folder / "few.yaml", "output_dir": tmp_path, "calibration_images": 2}
    small = detect.export(folder / "masks.safetensors", to, int8=True, max_ap_drop=100, **settings).path
    assert size(small) < 0.8 * size(exported[to])
    assert "int8 may be slower" in capsys.readouterr().err
    found, expected = (detect.load_model(path)(IMAGES[0], threshold=0.02) for path in (small, exported[to]))
    assert np.median(found.scores[:5]) == pytest.approx(np.median(expected.scores[:5]), abs=0.1)
    assert detect.load_model(small).precision == "int8"
    computed = "bf16" if to == "openvino" and cpu_has_bfloat16() else "fp32"
    assert detect.load_model(small).runtime.facts.float_layers == computed


@pytest.mark.slow
def test_weights_of_16_bits_are_half_the_size(folder, tmp_path, exported):
    half = detect.export(folder / "masks.safetensors", "openvino", fp16=True, output_dir=tmp_path).path
    assert size(half) == pytest.approx(0.5 * size(exported["openvino"]), rel=0.1)


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.glob("*.bin")))


def test_int8_without_a_dataset_is_refused(folder, tmp_path):
    with pytest.raises(UsageError, match=r"int8.*verify_data"):
        detect.export(folder / "boxes.safetensors", "openvino", int8=True, output_dir=tmp_path)


# Mistakes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": "onxx"}, "onnx"),
        ({"to": "onnx", "fp16": True}, "fp16"),
        ({"int8": True, "fp16": True}, "exclude"),
        ({"max_ap_drop": -1}, "max_ap_drop"),
        ({"calibration_images": 0}, "calibration_images"),
        ({"verify_data": "no_such_dataset"}, "no_such_dataset"),
    ],
)
def test_invalid_settings_are_refused(folder, tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        detect.export(folder / "boxes.safetensors", output_dir=tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def test_exported_model_is_not_exported_again(exported):
    for path in exported.values():
        with pytest.raises(UsageError, match="exported already"):
            detect.export(path)


def test_dataset_with_other_classes_is_refused_before_the_export(folder, tmp_path):
    description = render_shapes(tmp_path, {"val": 1})
    annotations = tmp_path / "files" / "val.json"
    content = json.loads(annotations.read_text())
    for number, category in enumerate(content["categories"]):
        category["name"] = f"other {number}"
    annotations.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"class.*other 0"):
        detect.export(folder / "boxes.safetensors", "onnx", verify_data=description, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_and_foreign_onnx_files_are_one_clear_error(exported, tmp_path):
    import onnx

    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "cut.onnx").write_bytes(exported["onnx"].read_bytes()[:2000])
    graph = onnx.load(exported["onnx"])
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "foreign.onnx")
    for name, message in {
        "text.onnx": "not an ONNX model",
        "cut.onnx": "not an ONNX model",
        "foreign.onnx": "not exported by this program",
        "none.onnx": "no such",
    }.items():
        assert_refused(tmp_path / name, message)


def test_damaged_and_foreign_openvino_folders_are_one_clear_error(exported, tmp_path):
    def changed(name: str, file: str, content: bytes | None) -> None:
        """Copy the model to the folder ``name``, with another content of ``file``; None deletes it."""
        folder = tmp_path / name
        shutil.copytree(exported["openvino"], folder)
        (folder / file).unlink()
        if content is not None:
            (folder / file).write_bytes(content)

    path = exported["openvino"]
    metadata = (path / OPENVINO_FILE).read_text()
    newer = metadata.replace(f'"format": {FORMAT},', f'"format": {FORMAT + 1},')
    assert newer != metadata
    changed("foreign", OPENVINO_FILE, None)
    changed("broken", OPENVINO_FILE, b"{")
    changed("list", OPENVINO_FILE, b"[]")
    changed("other keys", OPENVINO_FILE, b'{"names": ["circle"]}')
    changed("newer", OPENVINO_FILE, newer.encode())
    changed("no head", "box_head.xml", None)
    changed("no weights", "dense.bin", None)
    changed("cut weights", "dense.bin", (path / "dense.bin").read_bytes()[:10000])
    changed("cut graph", "dense.xml", (path / "dense.xml").read_bytes()[:10000])
    for name, message in {
        "foreign": r"without model\.json",
        "broken": "damaged",
        "list": "damaged",
        "other keys": "not exported by this program",
        "newer": "newer version",
        "no head": r"lacks box_head\.xml",
        "no weights": r"dense\.xml is damaged",
        "cut weights": r"dense\.xml is damaged",
        "cut graph": r"dense\.xml is damaged",
    }.items():
        assert_refused(tmp_path / name, message)


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        detect.load_model(path)
    assert path.name in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize("to", TARGETS)
def test_full_disk_is_one_clear_error_and_leaves_nothing(folder, tmp_path, to):
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, usual[1]))
    try:
        with pytest.raises(DiskError, match="cannot write"):
            detect.export(folder / "boxes.safetensors", to, output_dir=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert not list(tmp_path.iterdir())


def test_the_package_that_quantizes_is_imported_without_torchs_warning_about_a_missing_gpu(monkeypatch):
    logger = logging.getLogger("torch.utils.cpp_extension")
    monkeypatch.setattr(logger, "filters", [])
    import_runtime("nncf", "`int8`")
    records = [logging.makeLogRecord({"levelno": level}) for level in (logging.WARNING, logging.ERROR)]
    assert [bool(logger.filter(record)) for record in records] == [False, True]


@pytest.mark.parametrize(("same", "explained"), [(1, True), (10, False)])
def test_a_small_fraction_of_equal_detections_is_explained(same, explained):
    evaluation = SimpleNamespace(dataset="few", split="val", scores={"bbox": {"AP": 0.5}})
    text = Verification(evaluation, evaluation, Agreement(same, 10, 0.001, 0.1)).text()
    assert ("count as the same" in text) is explained and text.startswith("few val: bbox AP 0.500 -> 0.500; ")


def test_output_folder_that_is_a_file_is_refused(folder, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="cannot write to the folder"):
        detect.export(folder / "boxes.safetensors", "onnx", output_dir=tmp_path / "out")


def test_missing_package_is_named_with_the_command_that_installs_it():
    with pytest.raises(UsageError, match=r"`int8` needs the package no_such_package.*requirements-export\.txt"):
        import_runtime("no_such_package", "`int8`")


def test_exit_status_of_a_model_that_loses_too_much_is_4(folder, tmp_path, monkeypatch, capsys):
    def lost(*_: object, **__: object) -> None:
        raise ExportLossError("the export loses 2 points; `force=True` keeps it")

    monkeypatch.setattr("detect.deployment.export.export", lost)
    monkeypatch.setattr(sys, "argv", ["export.py", "--model", str(folder / "boxes.safetensors")])
    assert exit_status(export.main) == 4
    assert capsys.readouterr().err == "error: the export loses 2 points; --force keeps it\n"


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("stored", ["bf16", "fp32"])
def test_an_int8_model_computes_the_other_layers_in_bfloat16_where_that_was_measured(
    exported, tmp_path, monkeypatch, stored, native
):
    path = Path(shutil.copytree(exported["openvino"], tmp_path / "quantized"))
    metadata = json.loads((path / OPENVINO_FILE).read_text())
    metadata["detect_export"] |= {"precision": "int8", "float_layers": stored}
    (path / OPENVINO_FILE).write_text(json.dumps(metadata))
    asked: list[str] = []
    core = openvino_runtime.openvino_core("the test")

    class Recorder:
        read_model = core.read_model

        def compile_model(self, model, device, properties):
            asked.append(properties["INFERENCE_PRECISION_HINT"])
            return core.compile_model(model, device, properties)

    monkeypatch.setattr(openvino_runtime, "openvino_core", lambda needed_by: Recorder())
    monkeypatch.setattr(openvino_runtime, "has_bfloat16", lambda device: native)
    assert detect.load_model(path).runtime.precision == "int8"
    assert set(asked) == {"bf16" if stored == "bf16" and native else "f32"}
