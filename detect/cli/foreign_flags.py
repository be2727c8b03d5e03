"""Advice about flags of other detection programs, whose equal settings ``detect.foreign_names`` lists."""

from __future__ import annotations

from collections.abc import Mapping

from detect.foreign_names import SETTINGS
from detect.options import Field

# What to do where no setting of the program does the same: advice, and before it a setting that only those programs
# have for which it is true ("" for all). The first that is true is given.
_CLASSES = (("pretrained", "the classes come from the dataset"), ("", "the classes come from the model"))
_PROCESSES = (("pretrained", "for several GPUs, run torchrun --nproc_per_node=N train.py"),)
_NO_WINDOW = (("annotated", "images are drawn into the output folder; detect_video.py shows frames with --show"),)
_OTHER_WAYS: dict[str, tuple[tuple[str, str], ...]] = {
    **dict.fromkeys(("num_classes", "nc", "single_cls"), _CLASSES),
    **dict.fromkeys(("num_gpus", "world_size"), _PROCESSES),
    **dict.fromkeys(("show", "view_img"), _NO_WINDOW),
    **dict.fromkeys(("nosave", "no_save"), (("show", "the annotated video is always written"),)),
    **dict.fromkeys(("opts", "cfg_options"), (("", "each setting has a flag of its own, see --help"),)),
    "exist_ok": (("output_dir", "each run gets a folder of its own, NAME_2 if NAME exists"),),
    "save_conf": (("save_json", "the scores are in the files of --save-json and --save-coco"),),
}


def advice_for_flag(name: str, fields: Mapping[str, Field]) -> tuple[str, str]:
    """Return the setting of this program that does the same as the flag ``name`` of another kit, and advice.

    name: with ``_`` for ``-``.  fields: settings of this program.
    The setting is spelled as in messages, such as `` `save_labels='yolo'` ``. Each part is "" where there is none.
    """
    for field, value in SETTINGS.get(name, ()):
        if field in fields and value in ("", "False", *(fields[field].choices or ())):
            return (f"`{field}={value}`" if value else f"`{field}`"), ""
    return "", next((advice for field, advice in _OTHER_WAYS.get(name, ()) if not field or field in fields), "")
