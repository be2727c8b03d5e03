"""Check that the project keeps to the terms of the field: ``python .ci/vocabulary.py`` (part of ``make check``).

Scans the names and the contents of all files in git. Each finding is one line, ``file:line: word -> what to write``;
the exit status is 1 when there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {".py", ".md", ".html", ".js", ".css", ".yaml", ".ipynb", ".toml", ".txt", ".yml"}

# A word, also as a part of an identifier (snake_case or CamelCase) -> what to write.
WORDS = {
    "picture": "image, or frame in a video",
    "pictures": "images, or frames in a video",
    "trunk": "backbone",
    "trunks": "backbones",
    "colour": "color",
    "colours": "colors",
    "coloured": "colored",
    "grey": "gray",
    "greyscale": "grayscale",
    "truths": "ground truth",
    "stranger": "unknown name",
    "strangers": "unknown names",
    "lender": "source image",
    "likeness": "near-duplicates",
    "mend": "fix",
    "mended": "fixed",
    "mends": "fixes",
    "cure": "fix",
    "cures": "fixes",
    "cured": "fixed",
    "told": "reported, printed, or a plain statement",
    "alike": "similar, near-duplicates",
    "dealt": "split at random",
    "ill": "invalid",
    "dear": "expensive",
    "dearest": "most expensive",
    "whereof": "of which",
    "normalise": "normalize",
    "normalised": "normalized",
    "neighbour": "neighbor",
    "neighbours": "neighbors",
    "centre": "center",
    "licence": "license",
    "licences": "licenses",
}
# A phrase whose words are ordinary by themselves, as a regular expression -> what to write.
PHRASES = {
    r"(?<!ground[ _-])(?<!ground)\btruth\b": "ground truth",
    r"\bfalse alarms?\b": "false positive",
    r"\bby heart\b": "overfitted",
    r"\bdata sets?\b": "dataset",
    r"\bthe clock that only grows\b": "monotonic clock",
    r"\b(feature )?pyramids?\b(?! network)": "FPN",
    r"(?<!non-maximum )\bsuppression\b": "NMS",
    r"\bso many-th\b": "every Nth",
    r"\bas many as there are\b": "all",
    r"\bwhat (it|they) c[ao]me to\b": "result",
    r"\bwhat becomes of\b": "outcome",
    r"\blooks? at (a|an|one|two|the) (image|frame|video)s?\b": "processes the image",
    r"(?<!there )\b(is|are) none\b": "is not a ..., or is missing",
    r"\bthat (is|are) none\b": "not a ..., unsupported",
    r"\bseconds? an? (image|step|epoch)\b": "seconds per image, step or epoch",
    r"\b1 (images|epochs|objects|annotations|steps) ": "the singular",
    r"\b(no|leaves?|makes?|enough) room\b|\broom (for|left)\b": "space, quota or limit",
    r"\b(a|an|the|its|their|what|equal) shares? of\b": "fraction",
    r"\bchange[sd]? (of|in|the) light\b|\b(other|any|more|less) light\b": "brightness/contrast",
    r"\bof no use\b": "invalid",
    r"\bon its way\b": "passes through",
}
# Files that quote what they forbid or translate.
QUOTES = {".ci/vocabulary.py", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"}
# file -> words and phrases (as written above) that are right there.
ALLOWED: dict[str, set[str]] = {}

_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_MARK = "vocabulary: old name"  # in a line that names something old files or users still write
_STORED_IMAGE = re.compile(r'^ *"image/\w+": "[^"]*"')  # output of a notebook in Base64


def findings(name: str, text: str) -> list[tuple[int, str, str]]:
    """Return (line number, what was found, what to write) for a file with the path ``name``; line 0 is its name."""
    allowed = ALLOWED.get(name, set())
    found = []
    for number, line in enumerate([name, *text.splitlines()]):
        if _MARK in line or _STORED_IMAGE.match(line):
            continue
        found += [
            (number, w, WORDS[w]) for w in map(str.lower, _PARTS.findall(line)) if w in WORDS and w not in allowed
        ]
        for phrase, instead in PHRASES.items():
            if phrase not in allowed and (match := re.search(phrase, line, 0 if "none" in phrase else re.IGNORECASE)):
                found.append((number, match[0], instead))
    return found


def main() -> int:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    count = 0
    for name in listed.splitlines():
        path = ROOT / name
        if name in QUOTES or path.suffix not in SUFFIXES or not path.is_file():
            continue
        for number, word, instead in findings(name, path.read_text(encoding="utf-8")):
            print(f"{name}:{number}: '{word}' -> {instead}")
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
