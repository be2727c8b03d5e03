"""Flags of other detection programs, and the flags of this toolkit that do the same.

The kits are Ultralytics and YOLOv5 to v7, Detectron2, MMDetection and torchvision's ``references/``.
"""

from __future__ import annotations

from collections.abc import Mapping

from detect.options import Field

# Name of the other kit's flag, with _ for - -> settings that do the same, each with the value to give ("" for the
# user's own). The first one that a program has is suggested.
SAME: dict[str, tuple[tuple[str, str], ...]] = {
    **dict.fromkeys(("conf", "conf_thres", "confidence", "confidence_threshold", "score_thr"), (("threshold", ""),)),
    **dict.fromkeys(("iou", "iou_thres"), (("nms", ""),)),
    **dict.fromkeys(("source", "video_input"), (("input", ""),)),
    **dict.fromkeys(("weights", "checkpoint", "ckpt"), (("pretrained", ""), ("model", ""))),
    **dict.fromkeys(("img", "imgs", "img_size", "imgsize", "image_size", "input_size"), (("imgsz", ""),)),
    **dict.fromkeys(("batch", "batchsize"), (("batch_size", ""),)),
    **dict.fromkeys(("epoch", "num_epochs", "max_epochs"), (("epochs", ""),)),
    **dict.fromkeys(("project", "work_dir", "out_dir", "output", "save_dir"), (("output_dir", ""),)),
    **dict.fromkeys(("lr0", "learning_rate", "base_lr"), (("lr", ""),)),
    **dict.fromkeys(("data_path", "dataset"), (("data", ""),)),
    **dict.fromkeys(("max_det", "detections_per_img"), (("max_detections", ""),)),
    **dict.fromkeys(("nosave", "no_save"), (("annotated", "False"),)),
    **dict.fromkeys(("load_from", "init_weights"), (("pretrained", ""),)),
    "resume_from": (("resume", ""),),
    "save_txt": (("save_labels", "yolo"),),
    "save_crop": (("save_crops", ""),),
    "agnostic_nms": (("one_label_per_object", ""),),
    "hide_conf": (("hide_scores", ""),),
    "line_thickness": (("line_width", ""),),
    "vid_stride": (("stride", ""),),
    "view_img": (("show", ""),),
    "cos_lr": (("schedule", "cosine"),),
    "lr_steps": (("schedule", "multistep"),),
    "half": (("precision", "fp16"), ("fp16", ""), ("amp", "")),
    "task": (("split", ""),),
    "include": (("to", ""),),
}
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
    for field, value in SAME.get(name, ()):
        if field in fields and value in ("", "False", *(fields[field].choices or ())):
            return (f"`{field}={value}`" if value else f"`{field}`"), ""
    return "", next((advice for field, advice in _OTHER_WAYS.get(name, ()) if not field or field in fields), "")
