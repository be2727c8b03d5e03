"""Names of other detection programs, and those of this toolkit that do the same.

The programs are Ultralytics and YOLOv5 to v7, Detectron2, MMDetection and torchvision's ``references/``.
"""

from __future__ import annotations

# Name in the other program, with _ for - -> settings that do the same, each with the value to give ("" for the
# user's own). The first one that is known where the name was given is suggested.
SETTINGS: dict[str, tuple[tuple[str, str], ...]] = {
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

# Name in other packages -> name in the package ``detect``.
FUNCTIONS = dict.fromkeys(("load", "model", "Model", "YOLO", "predict"), "load_model")

# Attribute of detections in other packages -> what to write after the name of the ``Detections`` here.
DETECTIONS = {
    "save": "draw().save(...)",
    "show": "draw().show()",
    "plot": "draw()",
    "xyxy": "boxes",
    "conf": "scores",
    "confidence": "scores",
    "cls": "labels",
    "class_id": "labels",
    "mask": "masks",
    "tracker_id": "track_ids",
    "pandas": "to_pandas()",
    "tojson": "to_json()",
}
