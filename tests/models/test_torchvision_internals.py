"""A torchvision without a name that this package needs gives one clear error."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers.folders import ROOT


@pytest.mark.parametrize(
    ("removed", "name"),
    [
        ("torchvision.models._utils.IntermediateLayerGetter", "IntermediateLayerGetter"),
        ("torchvision.models.detection.roi_heads.expand_boxes", "expand_boxes"),
        ("torchvision.models.detection.rpn.RegionProposalNetwork.filter_proposals", "filter_proposals"),
    ],
)
def test_missing_torchvision_name_is_reported_with_the_supported_versions(removed, name):
    code = f"""
import torchvision.models.detection
from detect.errors import DetectError
del {removed}
try:
    import detect.models.pretrained
except DetectError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert name in line and "torchvision 0.21" in line and "torch 2.6" in line


def test_only_the_guard_imports_undocumented_torchvision_modules():
    undocumented = ("torchvision.models._", "torchvision.models.detection.", "torch.nn.modules.")
    for path in (ROOT / "detect").rglob("*.py"):
        if path.name != "torchvision_internals.py":
            lines = [line.split() for line in path.read_text().splitlines() if line.startswith(("from ", "import "))]
            assert not [words[1] for words in lines if words[1].startswith(undocumented)], path
