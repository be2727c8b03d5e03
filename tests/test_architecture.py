"""Rules for the code base as a whole: import order of packages, third-party libraries, settings, vocabulary."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from helpers.folders import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from detect.data.augmentation import Augmentation

PACKAGE = ROOT / "detect"

# Packages from the bottom to the top. A package imports only from lower lines and from itself.
LAYERS = (
    ("errors", "text", "foreign_names"),
    ("options", "progress"),
    ("runtime", "distributed"),
    ("structures", "io"),
    ("media",),
    ("models", "data"),
    ("inference",),
    ("evaluation",),
    ("training", "deployment", "serving"),
    ("cli",),
)
# (importing module, imported module) of the imports that point up, all of them inside a function.
UPWARD = {("structures.detections", "media.drawing"), ("structures.detections", "media.drawing_style")}

# Third-party library -> packages or modules that may import it.
IMPORTED_BY = {
    "cv2": ("media", "data.augmentation", "data.synthetic", "runtime"),
    "pycocotools": ("structures.masks", "evaluation"),
    "faster_coco_eval": ("evaluation",),
    "albumentations": ("data.augmentation",),
    "yaml": ("io.yaml_files", "data"),
    "argparse": ("cli",),
    "safetensors": ("models",),
    "timm": ("models.backbones",),
    "msgspec": ("data.readers", "data.discovery", "evaluation"),
    "scipy": ("data.near_duplicates", "data.quality", "evaluation.intervals", "inference.tracking"),
    "defusedxml": ("data.readers",),
    "shapely": ("structures.polygons", "data.quality"),
    "matplotlib": ("media.figures", "data.quality"),
    "jinja2": ("evaluation.report",),
    "tensorboard": ("training.logging",),
    "wandb": ("training.logging.services",),
    "mlflow": ("training.logging.services",),
    "clearml": ("training.logging.services",),
    "pandas": ("structures.detections",),
    "supervision": ("structures.detections",),
    "filelock": ("io",),
    "openvino": ("inference.runtimes", "deployment"),
    "onnxruntime": ("inference.runtimes",),
    "onnx": ("deployment",),
    "nncf": ("deployment",),
    "fastapi": ("serving",),
    "starlette": ("serving",),
    "pydantic": ("serving",),
    "anyio": ("serving",),
    "h11": ("serving.image_urls",),
    "prometheus_client": ("serving",),
}
# Settings class -> modules that read its fields.
SETTINGS = {
    "detect.training.config.TrainConfig": (
        "training/config",
        "training/trainer",
        "training/setup",
        "training/fitting",
        "training/initial_model",
        "cli/commands/train",
    ),
    "detect.training.config.CrossValidationConfig": (
        "training/config",
        "training/cross_validation",
        "training/fold_data",
        "training/trainer",
        "training/setup",
        "training/fitting",
        "training/initial_model",
    ),
    "detect.cli.commands.train.TrainSettings": (
        "training/config",
        "training/trainer",
        "training/setup",
        "training/fitting",
        "training/initial_model",
        "cli/commands/train",
    ),
    "detect.cli.settings.evaluate.EvaluateSettings": ("cli/commands/evaluate", "cli/settings/evaluate"),
    "detect.cli.settings.detection.DetectImageSettings": (
        *("cli/commands/detect_image", "cli/settings/detection", "media/drawing", "media/labels"),
        "media/drawing_style",
    ),
    "detect.cli.settings.detection.DetectVideoSettings": (
        *("cli/commands/detect_video", "cli/settings/detection", "media/drawing", "media/labels"),
        "media/drawing_style",
    ),
    "detect.cli.settings.export.ExportSettings": ("cli/commands/export", "cli/settings/export"),
    "detect.cli.commands.doctor.CheckSettings": ("cli/commands/doctor",),
    "detect.cli.commands.doctor.FixSettings": ("cli/commands/doctor",),
    "detect.cli.commands.doctor.ConvertSettings": ("cli/commands/doctor",),
    "detect.cli.commands.doctor.PreviewSettings": ("cli/commands/doctor",),
    "detect.serving.config.ServeConfig": (
        "cli/commands/serve",
        "serving/app",
        "serving/config",
        "serving/json_images",
        "serving/service",
        "serving/uploads",
        "serving/video_jobs",
    ),
}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules() -> dict[str, Path]:
    """Return every module below ``detect`` by its dotted name, such as ``io.files``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            found[name] = path
    return found


@cache
def imports(path: Path) -> frozenset[str]:
    """Return the dotted names that a file imports anywhere in it; ``from a import b`` counts as ``a.b``."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def layer_of(dotted: str) -> int:
    """Return the number of the layer, from the bottom, of a dotted name below ``detect``."""
    package = dotted.partition(".")[0]
    for number, layer in enumerate(LAYERS):
        if package in layer:
            return number
    raise AssertionError(f"detect.{dotted} belongs to no layer")


def imported_modules(path: Path) -> set[str]:
    """Return the modules below ``detect`` that a file imports."""
    found = set()
    for dotted in imports(path):
        if dotted.startswith("detect."):
            below = dotted.removeprefix("detect.")
            while below and below not in modules():
                below = below.rpartition(".")[0]
            if below:
                found.add(below)
    return found


@pytest.mark.parametrize("name", modules())
def test_imports_point_down(name):
    package = name.partition(".")[0]
    for imported in imported_modules(modules()[name]):
        is_lower = layer_of(imported) < layer_of(name) or imported.partition(".")[0] == package
        assert is_lower or (name, imported) in UPWARD, f"detect.{name} imports detect.{imported}"


def test_models_and_data_do_not_import_each_other():
    for name, path in modules().items():
        for one, other in (("models", "data"), ("data", "models")):
            if name.startswith(f"{one}."):
                assert not {m for m in imported_modules(path) if m.split(".")[0] == other}, name


@pytest.mark.parametrize("library", IMPORTED_BY)
def test_a_third_party_library_is_imported_in_few_places(library):
    importing = {n for n, path in modules().items() if any(i.split(".")[0] == library for i in imports(path))}
    allowed = IMPORTED_BY[library]
    assert not {n for n in importing if not any(n == a or n.startswith(f"{a}.") for a in allowed)}


def test_every_imported_library_is_a_declared_dependency():
    files = (*(f"requirements{x}.txt" for x in ("", "-serve", "-app", "-dev", "-trackers")), "setup.py")
    declared = "".join((ROOT / name).read_text() for name in files).lower()
    names = {
        "cv2": "opencv-python-headless",
        "yaml": "pyyaml",
        "PIL": "pillow",
        "faster_coco_eval": "faster-coco-eval",
    }
    names |= {"prometheus_client": "prometheus-client", "imageio_ffmpeg": "imageio-ffmpeg"}
    optional = {"supervision"}  # asks for another build of OpenCV, so users install it themselves
    of_others = {"starlette", "pydantic", "anyio"}  # parts of FastAPI
    for path in modules().values():
        for library in {i.split(".")[0] for i in imports(path)} - set(sys.stdlib_module_names) - {"detect"}:
            if library not in optional | of_others:
                assert names.get(library, library) in declared, f"{path} imports {library}"


def test_no_dependency_installs_a_second_opencv():
    """opencv-python and opencv-python-headless overwrite each other's files."""
    lines = [line for path in ROOT.glob("requirements*.txt") for line in path.read_text().splitlines()]
    waiting = [Requirement(line.split("#")[0]) for line in lines if line and line[0] not in "#-"]
    names = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in names and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            names.add(name)
            with contextlib.suppress(metadata.PackageNotFoundError):  # of another system
                waiting += map(Requirement, metadata.requires(name) or ())
    assert {name for name in names if name.startswith("opencv")} == {"opencv-python-headless"}


@pytest.mark.parametrize(
    "script", ["train.py", "evaluate.py", "detect_image.py", "detect_video.py", "doctor.py", "serve.py"]
)
def test_a_script_only_calls_its_command(script):
    tree = tree_of(ROOT / script)
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert {i.split(".")[0] for i in imports(ROOT / script)} == {"sys", "detect"}


def test_only_cli_knows_flags():
    for name, path in modules().items():
        if not name.startswith("cli."):
            assert not {i for i in imports(path) if i.startswith("argparse")}, name


@pytest.mark.parametrize("settings_class", SETTINGS)
def test_no_setting_is_unused(settings_class):
    module, _, class_name = settings_class.rpartition(".")
    fields = {f.name for f in dataclasses.fields(getattr(importlib.import_module(module), class_name))}
    read = set()
    for name in SETTINGS[settings_class]:
        for node in ast.walk(tree_of(PACKAGE / f"{name}.py")):
            if isinstance(node, ast.Attribute):
                read.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                read.add(node.value)
    if "strengths" in read:  # the method that reads the preset and every strength
        read |= {"aug", *(field.name for field in dataclasses.fields(Augmentation))}
    unused = {
        name for name in fields - read if not name.startswith("save_")
    }  # --save-X: read through the writers' table
    assert not unused


def test_importing_the_package_is_fast_and_changes_no_state_of_the_process():
    code = """
import os, sys, warnings
os.umask(0o027)
filters = list(warnings.filters)
import detect
assert not {"torch", "cv2", "numpy", "PIL"} & set(sys.modules), "heavy imports"
assert warnings.filters == filters
assert os.umask(0) == 0o027
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.slow
def test_importing_everything_leaves_pillow_opencv_and_the_umask_alone():
    code = """
import os
os.umask(0o027)
import cv2, PIL.Image
before = cv2.utils.logging.getLogLevel(), PIL.Image.MAX_IMAGE_PIXELS
import detect
for name in detect.__all__:
    getattr(detect, name)
import detect.media.images, detect.media.video_reader
assert (cv2.utils.logging.getLogLevel(), PIL.Image.MAX_IMAGE_PIXELS) == before
assert os.umask(0) == 0o027
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_public_names_can_be_imported_and_listed():
    import detect

    assert set(detect.__all__) <= set(dir(detect))


@pytest.mark.parametrize("name", ["load", "loadmodel", "YOLO"])
def test_an_unknown_public_name_suggests_the_one_that_does_the_same(name):
    import detect

    with pytest.raises(AttributeError, match=f"no attribute '{name}'; did you mean load_model"):
        getattr(detect, name)
    for name in detect.__all__:
        assert getattr(detect, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'load_modle'"):
        _ = detect.load_modle


def test_the_vocabulary_check_finds_words_of_other_fields():
    sys.path.insert(0, str(ROOT / ".ci"))
    try:
        vocabulary = importlib.import_module("vocabulary")
    finally:
        sys.path.pop(0)
    text = "def train_pictures(): ...\nTrunkWeights = 1\n"  # vocabulary: old name
    text += "the truth of an image\nground truth\nground_truth = 2\n"  # vocabulary: old name
    assert [(line, word.lower()) for line, word, _ in vocabulary.findings("a.py", text)] == [
        (1, "pictures"),  # vocabulary: old name
        (2, "trunk"),  # vocabulary: old name
        (3, "truth"),  # vocabulary: old name
    ]
    assert [line for line, _, _ in vocabulary.findings("a_picture.py", "")] == [0]  # vocabulary: old name
