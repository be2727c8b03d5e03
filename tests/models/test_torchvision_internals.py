"""A torchvision without a name that this package needs gives one clear error."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers.folders import ROOT

DETECTION = "torchvision.models.detection"


def check_without(change: str, name: str) -> None:
    """Run ``change``, then import the guard and check its error."""
    code = f"""
import {DETECTION}
from detect.errors import DetectError
{change}
try:
    import detect.models.pretrained
except DetectError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert name in line and "torchvision 0.21" in line and "torch 2.6" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    "removed",
    [
        "torchvision.models._utils.IntermediateLayerGetter",
        f"{DETECTION}.roi_heads.expand_boxes",
        f"{DETECTION}.rpn.RegionProposalNetwork.filter_proposals",
        f"{DETECTION}._utils.BoxCoder.encode_single",
    ],
)
def test_missing_torchvision_name_is_reported_with_the_supported_versions(removed):
    check_without(f"del {removed}", removed.rpartition(".")[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (f"{DETECTION}.rpn.RegionProposalNetwork", "fg_bg_sampler"),
        ("torchvision.ops.MultiScaleRoIAlign", "scales"),
        (f"{DETECTION}.RetinaNet", "score_thresh"),
    ],
)
def test_renamed_attribute_of_instances_is_reported_with_the_supported_versions(owner, name):
    check_without(
        f"code = {owner}.__init__.__code__\n"
        f"names = tuple('renamed' if name == '{name}' else name for name in code.co_names)\n"
        f"{owner}.__init__.__code__ = code.replace(co_names=names)",
        f"{owner.rpartition('.')[2]} has no attribute '{name}'",
    )


def test_only_the_guard_imports_undocumented_torchvision_modules():
    undocumented = ("torchvision.models._", "torchvision.models.detection.", "torch.nn.modules.")
    for path in (ROOT / "detect").rglob("*.py"):
        if path.name != "torchvision_internals.py":
            lines = [line.split() for line in path.read_text().splitlines() if line.startswith(("from ", "import "))]
            assert not [words[1] for words in lines if words[1].startswith(undocumented)], path
