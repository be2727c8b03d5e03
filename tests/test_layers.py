"""Who may know whom: imports point down, each third party is known by few files, and no setting is dead."""

from __future__ import annotations

import ast
import dataclasses
from functools import cache
from pathlib import Path

import pytest
from helpers.folders import ROOT

from detect.cli import settings

# Bottom to top. A module may import those of the lines below its own, and those of its own package.
LAYERS = (
    ("errors", "sizes"),
    ("files", "progress", "pace", "fields"),
    ("masks", "runtime", "flags", "transfer", "markdown"),
    ("downloads", "outlines", "distributed", "precision"),
    ("types", "links", "stops"),
    ("media",),
    ("drawing", "metrics", "checkpoint", "optim", "runlog", "board", "curves", "learner"),
    ("data.columns", "data.problems", "data.archive", "data.render", "data.likeness", "data.splits", "data.sampling"),
    ("data.table", "data.compose", "data.presets"),
    ("data.draft", "data.backgrounds", "data.mosaic", "data.cutout", "data.photometric"),
    ("data.readers", "data.sample", "data.transforms"),
    ("data.checks", "data.exporters"),
    ("data.cleaning", "data.summary", "data.naming"),
    ("data.spec", "data.dataset", "data.convert", "models", "writers"),
    ("data.discovery", "data.diagnosis", "data.preview", "data.repair", "data.loader"),
    ("data.description",),
    ("predictor", "examples", "fitting"),
    ("engine", "serve"),
    ("run", "replay"),
    ("watch",),
    ("benchmark",),
    ("config",),
    ("start",),
    ("validation", "overfit"),
)  # fmt: skip
# config reads the tables of models, which know nothing else of the project, and checks names by them.
TABLES = "models.zoo"
NAMES = "models.names"
KNOWN_BY = {
    "cv2": {"media", "drawing", "data.transforms", "data.compose", "data.render", "runtime", "benchmark"},
    "pycocotools": {"masks", "metrics", "benchmark"},
    "faster_coco_eval": {"metrics"},
    "albumentations": {"data.photometric"},
    "yaml": {"flags", "data.description", "data.discovery", "data.splits", "data.exporters", "benchmark"},
    "argparse": {"flags", "fields", "data.sample"},
    "safetensors": {"checkpoint", "models"},
    "timm": {"models"},
    "msgspec": {"data.readers", "data.discovery"},
    "scipy": {"data.likeness", "data.checks"},
    "defusedxml": {"data.readers"},
    "shapely": {"outlines", "data.checks"},
    "matplotlib": {"curves", "data.preview"},
    "tensorboard": {"board"},
    **{name: {"serve"} for name in ("fastapi", "starlette", "pydantic", "anyio", "prometheus_client")},
}
SCRIPTS = {
    "TrainSettings": "train.py",
    "EvaluateSettings": "evaluate.py",
    "DetectImageSettings": "detect_image.py",
    "DetectVideoSettings": "detect_video.py",
    "BenchmarkSettings": "benchmark.py",
    "DoctorSettings": "doctor.py",
    "ServeSettings": "serve.py",
}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere in it; ``from a import b`` counts as ``a.b``."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(dotted: str) -> tuple[int, str]:
    """The layer's number, from below, and the part of it that a name below ``detect`` belongs to."""
    for number, layer in enumerate(LAYERS):
        for part in layer:
            if dotted == part or dotted.startswith((f"{part}.", f"{part}_")):
                return number, part
    raise AssertionError(f"{dotted} stands on no layer")


@cache
def modules() -> dict[str, Path]:
    """Every module of the package that holds code, by its dotted name below ``detect``."""
    found = {}
    for path in sorted((ROOT / "detect").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "detect").with_suffix("").parts).removesuffix(".__init__")
        if imports(path) and name not in ("__init__", "data"):
            found[name] = path
    return found


@pytest.mark.parametrize("name", modules())
def test_imports_point_down(name):
    number, part = part_of(name)
    for imported in imports(modules()[name]):
        top, _, below = imported.partition(".")
        if top != "detect":
            continue
        theirs, other = part_of(below)
        assert theirs < number or other == part, f"detect.{name} imports detect.{below}"


def test_config_knows_of_the_models_their_tables_and_names_alone():
    of_config = [path for name, path in modules().items() if part_of(name)[1] == "config"]
    known = {i for path in of_config for i in imports(path) if i.startswith("detect.models")}
    assert all(i.startswith((f"detect.{TABLES}.", f"detect.{NAMES}.")) for i in known)
    assert not {i for i in imports(modules()[NAMES]) if i.partition(".")[0] in ("torch", "torchvision")}
    assert not {i for i in imports(modules()[TABLES]) if i.startswith("detect")}


@pytest.mark.parametrize("library", KNOWN_BY)
def test_a_third_party_is_known_by_few_files(library):
    knowing = {
        part_of(n)[1] for n, path in modules().items() if any(i.split(".")[0] == library for i in imports(path))
    }
    assert knowing <= KNOWN_BY[library]


@pytest.mark.parametrize("script", sorted(p.name for p in ROOT.glob("*.py")))
def test_scripts_leave_the_work_to_the_package(script):
    assert not {i.split(".")[0] for i in imports(ROOT / script)} & (set(KNOWN_BY) - {"argparse"})


def test_only_config_and_scripts_know_flags():
    knowing = [
        name for name, path in modules().items() if any(i.startswith("detect.cli.flags") for i in imports(path))
    ]
    assert {part_of(name)[1] for name in knowing} == {"config", "start"}
    knowing = [name for name, path in modules().items() if any(i.startswith("detect.options") for i in imports(path))]
    assert {part_of(name)[1] for name in knowing} == {"config", "flags"}


def test_every_settings_class_has_its_script():
    public = {n for n, c in vars(settings).items() if dataclasses.is_dataclass(c) and not n.startswith("_")}
    assert public == set(SCRIPTS)


@pytest.mark.parametrize(
    ("settings_class", "name"), [(c, f.name) for c in SCRIPTS for f in dataclasses.fields(getattr(settings, c))]
)
def test_no_setting_is_dead(settings_class, name):
    read = attributes(tree_of(ROOT / SCRIPTS[settings_class]), "settings")
    if settings_class == "TrainSettings":
        tree = tree_of(ROOT / "detect" / "start.py")
        read |= attributes(tree, "settings") | filled(tree)
    # Properties of the class read fields for the script.
    module = getattr(settings, settings_class).__module__
    tree = tree_of((ROOT / module.replace(".", "/")).with_suffix(".py"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in read:
            read |= attributes(node, "self")
    # --save-json, --save-...: one flag a writer, read by name from the table of writers.
    assert name in read or name.startswith("save_"), f"--{name.replace('_', '-')} is never read"


def filled(tree: ast.AST) -> set[str]:
    """The settings that ``Defaults.fill`` is asked for by name."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    fills = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "fill"]
    return {call.args[0].value for call in fills if isinstance(call.args[0], ast.Constant)}


def attributes(tree: ast.AST, of: str) -> set[str]:
    """The names ``x`` of all ``of.x`` below ``tree``."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == of
    }


def test_flags_that_save_are_the_table_of_writers():
    from detect.inference.writers import FORMATS

    saving = {f.name for f in dataclasses.fields(settings.DetectImageSettings) if f.name.startswith("save_")}
    assert saving == {f"save_{name}" for name in FORMATS}
    video = tree_of(ROOT / "detect_video.py")
    saving = {f.name for f in dataclasses.fields(settings.DetectVideoSettings) if f.name.startswith("save_")}
    assert saving <= attributes(video, "settings")
