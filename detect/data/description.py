"""Descriptions of datasets, files NAME.yaml, and the lookup of a dataset by name, file or folder.

A description holds ``format``, ``splits`` (see ``DatasetSpec.splits``) and optionally ``name``, ``classes``, ``root``,
``iscrowd`` and ``download`` or ``render`` for missing files.
"""

from __future__ import annotations

import hashlib
import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detect.data.discovery.folder_splits import spec_of_folder
from detect.data.file_listing import FileListing, is_file
from detect.data.readers import READERS
from detect.data.spec import DatasetSpec
from detect.errors import DataError, UsageError
from detect.io.resources import datasets_folder, resource
from detect.io.yaml_files import YamlError, read_yaml
from detect.progress import warn
from detect.text import first_few, unknown

# Allowed keys of a description and of its sections, with the type of their values.
_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str, "format": str, "classes": (list, dict), "root": str, "iscrowd": str, "download": dict, "render": dict,
    "splits": dict,
}  # fmt: skip
_SPLIT_KEYS = {"images": str, "annotations": str, "files": list, "without": list}
_DOWNLOAD_KEYS = {"url": str, "sha256": dict, "images": dict, "via_sizes": list}
_RENDER_KEYS = {"kind": str, "seed": int}
# Places of texts: a class may be called ``no`` and an image ``007``.
_TEXTS = [
    *((key,) for key in ("name", "format", "classes", "root")),
    ("classes", "*"),
    *(("splits", "*", key) for key in _SPLIT_KEYS),
    *(("download", key) for key in ("url", "sha256", "via_sizes")),
    ("render", "kind"),
]
_TYPE_WORDS: dict[type | tuple[type, ...], str] = {
    str: "text",
    int: "a whole number",
    list: "a list of texts",
    dict: "a mapping",
    (list, dict): "a list of texts, or a mapping",
}
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")


def find_spec(
    data: str,
    data_root: str | Path | None = None,
    format: str = "auto",
    *,
    save_splits: bool = True,
    draw_splits: bool = True,
) -> DatasetSpec:
    """Return the dataset ``data``: the name of a description, the path of a YAML file, or a folder.

    Descriptions are searched in the folder ``datasets`` of the current folder, then among those of the toolkit.

    data_root: folder of the dataset's files, if they are not in the folder that the description names.
    format: annotation format to use in a folder that holds several.
    save_splits, draw_splits: what to do with a folder without a val split, see ``spec_of_folder``.
    Raises UsageError for an unknown name or key, DataError for unusable files.
    """
    path = _folder_or_description(data)
    if path.is_dir():
        return _spec_of_folder(path, data_root, format, save_splits=save_splits, draw_splits=draw_splits)
    if os.path.isdir(data):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        warn(f"`data='{data}'` is the dataset described in {path}; for the folder use `data='.{os.sep}{data}'`")
    if data_root and not Path(data_root).is_dir():
        raise DataError(f"`data_root={data_root}` is not a folder")
    content = _load(path)
    if format not in ("auto", content["format"]):
        raise UsageError(f"`format='{format}'`: {path} has the format {content['format']}")
    bundled = path.parent == resource("datasets")
    files = (datasets_folder() if bundled else path.parent) / content.get("root", path.stem)
    classes = content.get("classes")
    return DatasetSpec(
        name=content.get("name", path.stem),
        format=content["format"],
        root=Path(data_root) if data_root else files,
        splits=content["splits"],
        classes=tuple(classes) if classes else None,
        merged=_merged(classes),
        download=content.get("download"),
        render=content.get("render"),
        root_given=data_root is not None,
        iscrowd=content.get("iscrowd", "keep"),
    )


def check_exists(data: str) -> None:
    """Check that there is a dataset ``data``, as in ``find_spec``, without reading it.

    Raises UsageError for an unknown name, and DataError for a folder without files.
    """
    path = _folder_or_description(data)
    if path.is_dir() and not any(names for _, _, names in os.walk(path, followlinks=True)):
        FileListing.of(path).check_has_images()


def _folder_or_description(data: str) -> Path:
    """Return the folder or the description that ``data`` names; a description wins over a folder of the same name."""
    is_yaml = data.endswith((".yaml", ".yml"))
    path = Path(data) if is_yaml else description_path(data)
    is_folder = os.path.isdir(data)  # noqa: PTH112 - Path.is_dir raises for names that are too long
    if is_folder and (Path(data).name != data or path is None or is_yaml):
        return Path(data)
    if path is None or not is_file(path):
        raise UsageError(_why_not_found(data, is_yaml))
    return path


def description_path(name: str) -> Path | None:
    """Return the path of the description NAME.yaml, None when there is none."""
    return next((path for folder in _description_folders() if is_file(path := folder / f"{name}.yaml")), None)


def described_datasets() -> list[str]:
    """Return the names of all datasets with a description, sorted."""
    return sorted({path.stem for folder in _description_folders() for path in folder.glob("*.yaml")})


def _description_folders() -> tuple[Path, Path]:
    return Path.cwd() / "datasets", resource("datasets")


def _why_not_found(data: str, is_yaml: bool) -> str:
    if is_yaml:
        return f"no such dataset description: {data}"
    if data.endswith(_ARCHIVES):
        return f"`data='{data}'` is an archive; unpack it first, and give the folder"
    if os.path.exists(data):  # noqa: PTH110 - Path.exists raises for names that are too long
        return f"`data='{data}'` is neither a folder nor a YAML file"
    if Path(data).name != data:
        return f"no such folder: {data}"
    return unknown("dataset", data, described_datasets())


def _spec_of_folder(folder: Path, data_root: str | Path | None, format: str, **splitting: bool) -> DatasetSpec:
    if data_root:
        raise UsageError(f"`data_root` is for datasets with a description, but `data='{folder}'` is a folder")
    digest = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    fallback = datasets_folder() / "splits" / f"{folder.resolve().name}-{digest[:8]}.yaml"
    return spec_of_folder(folder, format, fallback, **splitting)


def _load(path: Path) -> dict[str, Any]:
    """Return the checked content of a description. Raises DataError for invalid YAML, UsageError for wrong content."""
    try:
        content = read_yaml(path, _TEXTS)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except YamlError as error:
        raise DataError(str(error)) from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} does not describe a dataset: it should hold 'format' and 'splits'")
    if "names" in content and "format" not in content:
        raise UsageError(f"{path} is YOLO's description of a dataset; give its folder, {path.parent}")
    _check(content, _KEYS, ("format", "splits"), str(path))
    if content["format"] not in READERS:
        raise UsageError(f"{path}: {unknown('format', content['format'], READERS)}")
    _check_classes(content.get("classes") or [], path)
    if content.get("iscrowd", "keep") not in ("keep", "ignore"):
        raise UsageError(f"{path}: {unknown('value of iscrowd', content['iscrowd'], ('keep', 'ignore'))}")
    if content.get("download") is not None:
        _check_download(content["download"], f"{path}: download")
    if content.get("render") is not None:
        _check(content["render"], _RENDER_KEYS, ("kind", "seed"), f"{path}: render")
    for split, part in content["splits"].items():
        _check(part, _SPLIT_KEYS, ("images", "annotations"), f"{path}: split {split}")
    return content


def _merged(classes: list[str] | dict[str, list[str]] | None) -> dict[str, str]:
    """Return {name in the annotations: class} of a mapping of classes, {} for a list."""
    items = classes.items() if isinstance(classes, dict) else ()
    return {name: new for new, names in items for name in names}


def _check_classes(classes: list[str] | dict[str, Any], path: Path) -> None:
    names = list(classes)
    if isinstance(classes, dict):
        for new, merged in classes.items():
            if not isinstance(merged, list) or not merged or not all(isinstance(name, str) for name in merged):
                raise UsageError(
                    f"{path}: 'classes' has {new}: {reprlib.repr(merged)}; expected a list of class names"
                )
        names = [name for merged in classes.values() for name in merged]
    if len(set(names)) < len(names):
        raise UsageError(f"{path}: 'classes' lists a name twice: {', '.join(names)}")


def _check_download(download: Any, where: str) -> None:
    _check(download, _DOWNLOAD_KEYS, ("url",), where)
    for key, kind in (("sha256", str), ("images", int)):
        wrong = [name for name, value in download.get(key, {}).items() if not isinstance(value, kind)]
        if wrong:
            raise UsageError(f"{where}: {key} of {first_few(wrong)} should be {_TYPE_WORDS[kind]}")


def _check(content: Any, types: Mapping[str, type | tuple[type, ...]], required: Sequence[str], where: str) -> None:
    """Raise UsageError for a key that is unknown or missing, or whose value has the wrong type."""
    if not isinstance(content, dict):
        keys = ", ".join(required)
        raise UsageError(f"{where} is {reprlib.repr(content)}; expected a mapping with the keys {keys}")
    for key, value in content.items():
        if key not in types:
            raise UsageError(f"{where}: {unknown('key', key, types)}")
        only_texts = not isinstance(value, list) or all(isinstance(v, str) for v in value)
        if not (isinstance(value, types[key]) and only_texts):
            raise UsageError(f"{where}: '{key}' is {reprlib.repr(value)}; expected {_TYPE_WORDS[types[key]]}")
    for key in required:
        if content.get(key) is None:
            raise UsageError(f"{where} lacks the key '{key}'")
