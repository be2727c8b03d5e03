"""datasets/NAME.yaml: the description of a dataset.

It names the format, the classes where the format does not, and for each split the folder of the images, the
annotation file, and optionally ``files`` (only these) or ``without`` (all but these). ``download`` or ``render`` say
where files that are not there come from.
"""

from __future__ import annotations

import hashlib
import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from detect.data.discovery.folder import spec_of_folder
from detect.data.readers import READERS
from detect.data.readers.parsing import is_file
from detect.data.spec import DatasetSpec
from detect.errors import DataError, UsageError
from detect.progress import warn
from detect.text import first_few, unknown

DATASETS = Path(__file__).resolve().parents[2] / "datasets"
# What a description and its sections may hold, and of which kind; what they need is said where they are checked.
_KEYS = {"name": str, "format": str, "classes": list, "root": str, "download": dict, "render": dict, "splits": dict}
_SPLIT_KEYS = {"images": str, "annotations": str, "files": list, "without": list}
_DOWNLOAD_KEYS = {"url": str, "sha256": dict, "images": dict, "via_sizes": list}
_RENDER_KEYS = {"kind": str, "seed": int}
_KIND_WORDS = {str: "text", int: "a whole number", list: "a list of texts", dict: "a mapping"}


def find_spec(data: str, data_root: str | Path | None = None, form: str = "auto", *, keep: bool = True) -> DatasetSpec:
    """The dataset called ``data``: a name (datasets/NAME.yaml), the path of a YAML file, or a folder.

    data_root: the folder of the dataset's files where they lie elsewhere than in datasets/NAME/.
    form: the format of what lies in a folder, where it holds several.  keep: see ``spec_of_folder``.
    Raises UsageError for an unknown name or key.
    """
    is_file_name = data.endswith((".yaml", ".yml"))
    path = Path(data) if is_file_name else DATASETS / f"{data}.yaml"
    if os.path.isdir(data):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        if Path(data).name != data or not is_file(path):
            return _of_folder(Path(data), data_root, form, keep)
        warn(f"--data {data} is the dataset of that name; the folder is --data .{os.sep}{data}")
    if not is_file(path):
        if is_file_name:
            raise UsageError(f"no such dataset description: {path}")
        if data.endswith((".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")):
            raise UsageError(f"--data {data} is an archive; unpack it first, and give the folder")
        if os.path.exists(data):  # noqa: PTH110
            raise UsageError(f"--data {data} is neither a folder nor a description, which is a .yaml file")
        if Path(data).name != data:
            raise UsageError(f"no such folder: {data}")
        raise UsageError(unknown("dataset", data, sorted(p.stem for p in DATASETS.glob("*.yaml"))))
    if data_root and not Path(data_root).is_dir():
        raise DataError(f"--data-root {data_root} is not a folder")
    content = _load(path)
    if form not in ("auto", content["format"]):
        raise UsageError(f"--format {form}: {path} is of the format {content['format']}")
    classes = content.get("classes")
    return DatasetSpec(
        name=content.get("name", path.stem),
        format=content["format"],
        root=Path(data_root) if data_root else path.parent / content.get("root", path.stem),
        splits=content["splits"],
        classes=tuple(classes) if classes else None,
        download=content.get("download"),
        render=content.get("render"),
        root_given=data_root is not None,
    )


def _of_folder(folder: Path, data_root: str | Path | None, form: str, keep: bool) -> DatasetSpec:
    if data_root:
        raise UsageError(f"--data-root is for datasets with a name, and --data {folder} is a folder itself")
    place = str(folder.resolve()).encode("utf-8", "surrogateescape")
    elsewhere = f"{folder.resolve().name}-{hashlib.sha256(place).hexdigest()[:8]}.yaml"
    return spec_of_folder(folder, form, DATASETS / "splits" / elsewhere, keep)


def _load(path: Path) -> dict[str, Any]:
    """The checked content of a description. DataError where it is not YAML, UsageError where it is something else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} does not describe a dataset: it should hold 'format' and 'splits'")
    if "names" in content and "format" not in content:
        raise UsageError(f"{path} is YOLO's description of a dataset; give its folder, {path.parent}")
    _check(content, _KEYS, ("format", "splits"), str(path))
    if content["format"] not in READERS:
        raise UsageError(f"{path}: {unknown('format', content['format'], READERS)}")
    classes = content.get("classes") or []
    if len(set(classes)) < len(classes):
        raise UsageError(f"{path}: 'classes' names one twice: {', '.join(classes)}")
    if content.get("download") is not None:
        _check(content["download"], _DOWNLOAD_KEYS, ("url",), f"{path}: download")
        for key, kind in (("sha256", str), ("images", int)):
            strange = [n for n, value in content["download"].get(key, {}).items() if not isinstance(value, kind)]
            if strange:
                raise UsageError(f"{path}: download: {key} of {first_few(strange)} should be {_KIND_WORDS[kind]}")
    if content.get("render") is not None:
        _check(content["render"], _RENDER_KEYS, ("kind", "seed"), f"{path}: render")
    for split, part in content["splits"].items():
        _check(part, _SPLIT_KEYS, ("images", "annotations"), f"{path}: split {split}")
    return content


def _check(content: Any, kinds: Mapping[str, type], needed: Sequence[str], where: str) -> None:
    """UsageError for a key that is unknown, missing or holds another kind of value."""
    if not isinstance(content, dict):
        raise UsageError(
            f"{where} is {reprlib.repr(content)}, it should be a mapping with the keys {', '.join(needed)}"
        )
    for key, value in content.items():
        if key not in kinds:
            raise UsageError(f"{where}: {unknown('key', key, kinds)}")
        texts_only = not isinstance(value, list) or all(isinstance(v, str) for v in value)
        if not (isinstance(value, kinds[key]) and texts_only):
            raise UsageError(f"{where}: '{key}' is {reprlib.repr(value)}, it should be {_KIND_WORDS[kinds[key]]}")
    for key in needed:
        if content.get(key) is None:
            raise UsageError(f"{where} lacks the key '{key}'")
