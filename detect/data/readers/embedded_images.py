"""Images that annotation files hold as base64 text, unpacked into a folder of their own.

The dataset itself is never changed. The files are kept, and unpacked again only if an annotation file changes.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from detect import progress
from detect.data.file_listing import is_file
from detect.data.image_names import match_to_files
from detect.data.unvalidated_split import UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.io.files import disk_errors_naming, write_bytes
from detect.io.resources import datasets_folder

_BAR_MIN_IMAGES = 200  # number of images from which a progress bar is shown


def unpack_images(builder: UnvalidatedSplitBuilder, files: Sequence[str], load: Callable[[Path], str]) -> None:
    """Unpack each image of ``builder`` that has no file but whose annotation file holds it.

    files: annotation file of each image, relative to ``builder.annotations``.
    load: function that returns the image of an annotation file as base64 text, "" if there is none.
    """
    missing = [row for row, name in enumerate(builder.names) if not is_file(builder.images / name)]
    if not missing:
        return
    # Of an image that has a file of another name, the file is used, not its copy.
    matched = match_to_files(builder.images, builder.names, [builder.names[row] for row in missing])
    folder = _folder_for(builder.annotations)
    for row in progress.bar(missing, desc="unpacking images", min_items=_BAR_MIN_IMAGES):
        if builder.names[row] not in matched:
            try:
                unpacked = _unpack(builder.annotations / files[row], folder / builder.names[row], load)
            except ValueError as error:
                builder.skip("unreadable_image", Location(files[row], "", f"its image is not base64: {error}"), row)
                continue
            if unpacked:
                builder.unpacked = folder
                builder.note("embedded_image", row, value=f"in {folder.name}")


def _folder_for(annotations: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(annotations.resolve())).hexdigest()
    return datasets_folder() / "unpacked" / f"{annotations.resolve().name}-{digest[:8]}"


def _unpack(source: Path, image: Path, load: Callable[[Path], str]) -> bool:
    """Write the image in ``source`` to ``image``, unless that is done. Return False if there is none.

    The file gets the time of ``source``, by which later calls recognize that ``source`` has not changed.
    Raises ValueError for invalid base64.
    """
    time = source.stat().st_mtime_ns
    if is_file(image) and image.stat().st_mtime_ns == time:
        return True
    text = load(source)
    if not text:
        image.unlink(missing_ok=True)
        return False
    content = base64.b64decode(text.rpartition("base64,")[2])  # some programs write data:image/png;base64,...
    with disk_errors_naming(image):
        image.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(image, content)
    os.utime(image, ns=(time, time))
    return True
