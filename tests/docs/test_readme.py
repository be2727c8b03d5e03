"""README and docs name files, flags and models that exist."""

from __future__ import annotations

import dataclasses
import re

import pytest
from helpers.folders import ROOT

from benchmarks import settings as benchmark_settings
from detect.cli.commands import doctor, evaluate, train
from detect.cli.settings import detection
from detect.cli.settings import export as export_settings
from detect.data.readers import READERS
from detect.data.validation.problems import KINDS
from detect.models.zoo import BACKBONES, DETECTORS
from detect.serving import config as serving_config

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/api.md",
    "docs/inference.md",
    "docs/video.md",
    "docs/export.md",
    "docs/performance.md",
    "docs/evaluation.md",
    "docs/datasets.md",
    "docs/training.md",
    "docs/models.md",
    "docs/data.md",
    "docs/training_speed.md",
    "docs/results.md",
    "docs/serving.md",
    "weights/README.md",
    "input/README.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", path.read_text())
    assert all((path.parent / link).exists() for link in links), links


@pytest.mark.parametrize("page", PAGES)
def test_no_placeholder_is_left(page: str) -> None:
    assert not re.search(r"@[A-Z0-9_]+@|TODO|XXX", (ROOT / page).read_text())


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/inference.md",
        "docs/video.md",
        "docs/export.md",
        "docs/performance.md",
        "docs/datasets.md",
        "docs/evaluation.md",
        "docs/training.md",
    ],
)
def test_every_flag_that_is_named_exists(page: str) -> None:
    fields = [
        field
        for module in (detection, doctor, evaluate, export_settings, serving_config, train, benchmark_settings)
        for settings in vars(module).values()
        if dataclasses.is_dataclass(settings)
        for field in dataclasses.fields(settings)
    ]
    known = {"--" + field.name.replace("_", "-") for field in fields} | {"--config", "--help"}
    known |= {f"--no-{field.name.replace('_', '-')}" for field in fields if "bool" in str(field.type)}
    others = {"--index-url", "--extra-index-url", "--logdir", "--server", "--out-type", "--image-root-url"}
    text = re.sub(r"torchrun .* (train|detect_image)\.py", "", (ROOT / page).read_text())  # the flags of torchrun
    assert set(re.findall(r"--[a-z][a-z0-9-]+", text)) <= known | others


def test_readme_names_every_model() -> None:
    text = (ROOT / "README.md").read_text()
    for name in (*BACKBONES, *DETECTORS):
        assert re.search(rf"`(--backbone |--model )?{name}`", text), name


def test_every_format_is_named_and_the_kinds_of_problems_are_counted() -> None:
    text = (ROOT / "README.md").read_text()
    for name in READERS:
        assert f"\n| `{name}` |" in text, name
    assert f"finds {len(KINDS)} kinds of problems" in (ROOT / "docs" / "datasets.md").read_text()
