"""The README speaks of files, flags and names that exist."""

from __future__ import annotations

import dataclasses
import re

import pytest
from helpers.folders import ROOT

from detect.cli import settings as all_settings
from detect.cli.settings.shared import FORMATS
from detect.data.quality.problems import KINDS
from detect.models.zoo import BACKBONES, DETECTORS

PAGES = (
    "README.md",
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
def test_no_figure_is_left_out(page: str) -> None:
    assert not re.search(r"@[A-Z0-9_]+@|TODO|XXX", (ROOT / page).read_text())


def test_every_flag_it_names_exists() -> None:
    known = {
        "--" + field.name.replace("_", "-")
        for settings in vars(all_settings).values()
        if dataclasses.is_dataclass(settings)
        for field in dataclasses.fields(settings)
    } | {"--config", "--help", "--no-amp"}
    not_ours = {"--index-url", "--extra-index-url", "--logdir", "--server"}
    text = re.sub(r"torchrun .* train\.py", "", (ROOT / "README.md").read_text())  # whose flags are its own
    assert set(re.findall(r"--[a-z][a-z-]+", text)) <= known | not_ours


def test_every_model_stands_in_it() -> None:
    text = (ROOT / "README.md").read_text()
    for name in (*BACKBONES, *DETECTORS):
        assert re.search(rf"`(--backbone |--model )?{name}`", text), name


def test_every_format_stands_in_it_and_the_kinds_of_problems_are_counted() -> None:
    text = (ROOT / "README.md").read_text()
    for name in FORMATS[1:]:
        assert f"\n| `{name}` |" in text, name
    assert f"finds {len(KINDS)} kinds of problems" in text
