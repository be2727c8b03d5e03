"""What is taken from the checkpoints of other programs, and what other files are called."""

from __future__ import annotations

import argparse
import gzip
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from helpers.tiny_models import CLASSES, TINY_ARCHITECTURE, as_checkpoint, random_model
from safetensors.torch import save_file
from torch import nn

from detect.errors import CheckpointError, UsageError
from detect.inference.load import load_model
from detect.models import checkpoint
from detect.models.pretrained import build_from_weights, choose_weights
from detect.models.weights import read_weights
from detect.structures.class_names import ClassNames


@pytest.fixture(scope="module")
def state():
    """State dict of a Mask R-CNN with three classes."""
    return random_model().state_dict()


def with_prefix(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def start(path, classes=CLASSES, name="mobilenet_v2", architecture=TINY_ARCHITECTURE):
    model, architecture, used = build_from_weights(architecture, classes, choose_weights(name, str(path)))
    return model, used.unused, used.line


NAMES = list(CLASSES.names)
OPTIMIZER = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
# Program -> its checkpoint, and words of the report.
PROGRAMS = {
    "torchvision": (
        lambda s: {
            "model": s,
            "optimizer": OPTIMIZER,
            "lr_scheduler": {"last_epoch": 1},
            "args": argparse.Namespace(data_path="/data"),
            "epoch": 25,
            "scaler": {"scale": 1.0},
            "model_ema": {"n_averaged": torch.tensor(3), **with_prefix("module.", {k: t + 1 for k, t in s.items()})},
        },
        ("from 'model' of a torchvision training checkpoint, epoch 25", "optimizer", "args", "model_ema"),
    ),
    "sovit": (
        lambda s: {
            "epoch": 3,
            "model_state_dict": with_prefix("module.", s),
            "optimizer_state_dict": OPTIMIZER,
            "train_loss_list": [np.float64(1.5)],
            "val_map": np.arange(3),
            "config": {"NC": 4, "CLASSES": ["__background__", *NAMES]},
            "model_name": "fasterrcnn",
        },
        ("'model_state_dict' of a checkpoint of sovit", "3 class names from 'config.CLASSES'"),
    ),
    "Lightning": (
        lambda s: {
            "state_dict": {**with_prefix("model.", s), "metric.total": torch.zeros(2)},
            "pytorch-lightning_version": "2.4",
            "hyper_parameters": argparse.Namespace(x=1),
            "callbacks": {"c": {"best_model_score": torch.tensor(0.5)}},
            "epoch": 4,
        },
        ("from 'state_dict' of a Lightning checkpoint, epoch 4", "'model.' removed", "1 without it ignored"),
    ),
    "timm": (
        lambda s: {"arch": "x", "epoch": 1, "state_dict": s, "args": argparse.Namespace(), "state_dict_ema": s},
        ("from 'state_dict' of a timm training checkpoint", "state_dict_ema"),
    ),
    "compiled and wrapped": (lambda s: with_prefix("module._orig_mod.", s), ("'module.' removed",)),
    "compiled part": (
        lambda s: {k.replace("backbone.body.", "backbone._orig_mod.body."): t for k, t in s.items()},
        (),
    ),
    "only averaged weights": (lambda s: {"ema": s, "step": 3}, ("from 'ema'",)),
    "another key": (lambda s: {"detector": s, "aux": {"x": torch.zeros(2)}}, ("from 'detector'",)),
    "nested": (lambda s: {"checkpoint": {"net": with_prefix("net.", s)}}, ("from 'checkpoint.net'",)),
    "a list": (lambda s: [s, OPTIMIZER], ()),
    "more tensors that do not fit": (
        lambda s: {"model": {f"x{i}": torch.zeros(1) for i in range(2000)}, "weights": s},
        ("from 'weights'",),
    ),
    "half precision": (lambda s: {k: t.half() if t.ndim > 1 else t for k, t in s.items()}, ()),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_weights_are_taken_from_the_checkpoints_of_other_programs(program, state, tmp_path):
    content, words = PROGRAMS[program]
    torch.save(content(state), tmp_path / "w.pth")
    model, _, report = start(tmp_path / "w.pth")
    for name, tensor in model.state_dict().items():
        if "predictor" not in name:
            assert torch.allclose(tensor, state[name], rtol=1e-2, atol=1e-2), name
    for word in (*words, f" of {len(state)} tensors"):
        assert word in report
    assert "\n" not in report


@pytest.mark.parametrize("file", ["w.pth", "w.bin", "weights"])
def test_the_content_decides_about_the_format_not_the_name(file, state, tmp_path):
    save_file({k: t.contiguous() for k, t in with_prefix("module.", state).items()}, tmp_path / file)
    assert set(read_weights(tmp_path / file).state) == set(state)
    torch.save(state, tmp_path / "w.safetensors")
    assert set(read_weights(tmp_path / "w.safetensors").state) == set(state)


# Class names: content of the file beside the weights -> class names that are used.
CLASS_LISTS = {
    "background first": ({"config": {"CLASSES": ["__background__", *NAMES]}}, NAMES),
    "without background": ({"hyper_parameters": {"class_names": tuple(NAMES)}}, NAMES),
    "attributes": ({"args": argparse.Namespace(classes=NAMES)}, NAMES),
    "name to number": ({"class_to_idx": {"kite": 1, "bird": 3, "balloon": 2}}, NAMES),
    "number to name": ({"cfg": {"id2label": {"0": "kite", "1": "balloon", "2": "bird"}}}, NAMES),
    "categories": ({"categories": [{"id": i, "name": n} for i, n in enumerate(NAMES, start=1)]}, NAMES),
    "twice the same": ({"a": {"classes": NAMES}, "b": {"CLASSES": ["background", *NAMES]}}, NAMES),
    "unused row": ({"classes": ["__background__", "kite", "N/A", "bird"]}, ["kite", "bird"]),
    "last row unused": ({"classes": ["__background__", "kite", "bird", "N/A"]}, None),
    "too few": ({"classes": ["kite"]}, None),
    "no background and too many": ({"classes": ["bench", *NAMES]}, None),
    "background last": ({"classes": [*NAMES, "background"]}, None),
    "two that differ": ({"a": {"classes": NAMES}, "b": {"classes": NAMES[::-1]}}, None),
    "duplicates": ({"classes": ["kite", "kite", "bird"]}, None),
    "sparse numbers": ({"classes": {1: "kite", 5: "balloon", 9: "bird"}}, None),
    "numbers": ({"labels": [1, 2, 3]}, None),
    "other objects": ({"classes": argparse.Namespace()}, None),
}


@pytest.mark.parametrize("case", CLASS_LISTS)
def test_class_names_are_used_only_if_they_clearly_belong_to_the_heads(case, state, tmp_path):
    rest, names = CLASS_LISTS[case]
    torch.save({"model": state, **rest}, tmp_path / "w.pth")
    weights = read_weights(tmp_path / "w.pth")
    assert (list(weights.class_names.names) if weights.class_names else None) == names
    key = "roi_heads.box_predictor.cls_score.bias"
    wanted = ClassNames(("bird", "martian", "kite"))
    model, _, report = start(tmp_path / "w.pth", wanted)
    rows = model.state_dict()[key]
    assert torch.equal(rows[[1, 3]], state[key][[3, 1]]) == (names is not None)
    assert report.endswith("the head for martian") == (names is not None)


def test_layers_whose_rows_are_not_those_of_the_classes_are_new(state, tmp_path):
    agnostic = {**state, "roi_heads.box_predictor.bbox_pred.weight": torch.zeros(4, 512)}
    torch.save({"model": agnostic, "classes": NAMES}, tmp_path / "w.pth")
    model, unused, _ = start(tmp_path / "w.pth")
    assert model.state_dict()["roi_heads.box_predictor.bbox_pred.weight"].abs().sum() > 0
    assert "roi_heads.box_predictor.bbox_pred.weight" in unused


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_of_a_diverged_training_are_refused(value, state, tmp_path):
    torch.save({**state, "backbone.body.0.0.weight": torch.full((32, 3, 3, 3), value)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="1 tensor with NaN or infinite values"):
        start(tmp_path / "w.pth")


def test_integers_are_no_weights(state, tmp_path):
    torch.save({k: (t * 100).to(torch.int8) for k, t in state.items()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="none of its"):
        start(tmp_path / "w.pth")


def resnet(depth_of_layers, is_bottleneck):
    """Return the names of a ResNet's convolutions; all have one value."""
    convolutions = (1, 2, 3) if is_bottleneck else (1, 2)
    blocks = [(layer, block) for layer, n in enumerate(depth_of_layers, start=1) for block in range(n)]
    return {f"layer{i}.{j}.conv{n}.weight": torch.zeros(1, 1, 1, 1) for i, j in blocks for n in convolutions}


# Tensors of other networks -> words of the message.
OTHER_NETWORKS = {
    "Detectron2": (
        {"backbone.bottom_up.res2.0.conv1.weight", "proposal_generator.rpn_head.conv.weight"},
        "Detectron2",
    ),
    "Detectron2 backbone": ({"stem.conv1.weight", "res2.0.conv1.weight"}, "Detectron2"),
    "MMDetection": ({"backbone.layer1.0.conv1.weight", "neck.x.weight", "bbox_head.fc_cls.weight"}, "MMDetection"),
    "YOLO": ({"model.0.conv.weight", "model.0.bn.weight", "model.22.cv2.0.0.conv.weight"}, "YOLO"),
    "DETR": ({"transformer.encoder.layers.0.linear1.weight", "class_embed.weight"}, "DETR"),
    "SSD": ({"backbone.features.0.weight", "head.classification_head.module_list.0.weight"}, "torchvision's SSD"),
    "ResNet-18": (resnet((2, 2, 2, 2), False), "ResNet-18.*`backbone='resnet18'`"),
    "ResNet-101 below a prefix": (with_prefix("module.", resnet((3, 4, 23, 3), True)), "`backbone='resnet101'`"),
    "Vision Transformer": ({"blocks.0.attn.qkv.weight", "patch_embed.proj.weight"}, "Vision Transformer"),
    "Segmentation": ({"backbone.layer1.0.conv1.weight", "classifier.4.weight"}, "segmentation"),
    "LoRA": ({"unet.lora_A.weight"}, "LoRA"),
    "unknown": ({"encoder.w"}, "another network; expected a MobileNetV2"),
}


@pytest.mark.parametrize("name", OTHER_NETWORKS)
def test_weights_of_another_network_are_named(name, tmp_path):
    names, words = OTHER_NETWORKS[name]
    torch.save({"model": {n: torch.zeros(1, 1, 1, 1) for n in sorted(names)}, "epoch": 1}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=rf"w\.pth: none of its {len(names)} tensors? [^\n]*{words}[^\n]*$"):
        start(tmp_path / "w.pth")


def test_numpy_arrays_are_no_tensors(tmp_path):
    arrays = {"backbone.bottom_up.res2.0.conv1.weight": np.zeros((2, 2)), "x": np.zeros(1)}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}))
    with pytest.raises(CheckpointError, match=r"2 NumPy arrays.*Detectron2"):
        read_weights(tmp_path / "w.pkl")
    torch.save({"conv.weight": np.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"1 NumPy array.*torch\.save"):
        read_weights(tmp_path / "w.pth")


def script(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("w/data.pkl", "w/code/__torch__.py", "w/constants.pkl"):
            archive.writestr(name, b"}.")


def archive_of(*names):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x" * 100)

    return write


def text(content):
    return lambda path: path.write_text(content)


def raw(content):
    return lambda path: path.write_bytes(content)


# File -> function that writes it, and words of the message.
FILES = {
    "module.pth": (
        lambda p: torch.save(nn.Linear(2, 2), p),
        r"torch\.save\(model\.state_dict\(\), \"weights\.pth\"\)",
    ),
    "module_inside.pth": (lambda p: torch.save({"model": nn.Linear(2, 2), "epoch": 1}, p), r"pickled module.*Linear"),
    "script.pt": (script, r"TorchScript.*torch\.jit\.load"),
    "weights.zip": (archive_of("folder/best.pth"), r"holds folder/best\.pth; unpack"),
    "arrays.pth": (archive_of("a.npy", "b.npy"), "NumPy"),
    "model.keras": (archive_of("config.json", "model.weights.h5"), "Keras"),
    "photos.pth": (archive_of("a.jpg"), "zip archive without weights"),
    "model.onnx": (raw(b"\x08\x07\x12\x07pytorch\x1a\x032.1" + b"\0" * 90), "ONNX"),
    "onnx.pth": (raw(b"\x08\x08\x12\x07pytorch" + b"\0" * 90), "ONNX"),
    "model.h5": (raw(b"\x89HDF\r\n\x1a\n" + b"\0" * 90), "HDF5.*Keras"),
    "page.pth": (text("\n <!DOCTYPE html>\n<html><title>404</title>"), r"web page.*download"),
    "page.safetensors": (text("<html>"), r"web page.*download"),
    "error.pth": (text("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"), "XML"),
    "pointer.pth": (text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), "git lfs pull"),
    "pointer.safetensors": (text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), "git lfs"),
    "empty.pth": (raw(b""), r"empty.*download it again"),
    "empty.safetensors": (raw(b""), r"empty.*download it again"),
    "zeros.pth": (raw(b"\0" * 5000), "zero bytes"),
    "index.json": (text(json.dumps({"weight_map": {"a": "b.safetensors"}})), "JSON"),
    "notes.pth": (text("the weights are on the other disk"), "a text file"),
    "image.pth": (raw(b"\x89PNG\r\n\x1a\n" + b"\0" * 90), "PNG"),
    "packed.pth.gz": (lambda p: p.write_bytes(gzip.compress(b"x" * 99)), "gzip; unpack"),
    "yolo.weights": (raw(bytes(range(256))), "Darknet"),
    "random.pth": (raw(bytes(range(255, 0, -1))), "not a weights file"),
    "numbers.pth": (lambda p: torch.save({"epoch": 3, "loss": [1.0]}, p), "no dictionary of tensors"),
    "optimizer.pth": (lambda p: torch.save({"optimizer": OPTIMIZER}, p), "no dictionary of tensors"),
    "state.pth": (
        lambda p: torch.save({"architecture": {}, "optimizer": {}, "schedule": {}, "model": {}}, p),
        r"resume state.*last\.safetensors",
    ),
}


@pytest.mark.parametrize("file", FILES)
def test_files_without_usable_weights_are_named_in_one_line(file, tmp_path):
    write, words = FILES[file]
    write(tmp_path / file)
    with pytest.raises(CheckpointError, match=rf"{file} [^\n]*{words}[^\n]*$"):
        read_weights(tmp_path / file)


@pytest.mark.parametrize("file", [name for name in FILES if name.endswith((".safetensors", ".h5"))])
def test_the_same_files_are_named_where_a_model_is_expected(file, tmp_path):
    write, words = FILES[file]
    write(tmp_path / file)
    with pytest.raises(CheckpointError, match=rf"{file} is not a checkpoint [^\n]*{words}[^\n]*$"):
        load_model(tmp_path / file)


def test_truncated_safetensors_are_named(state, tmp_path):
    checkpoint.save(as_checkpoint(random_model()), tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    for size in (9, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "w.safetensors").write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=r"w\.safetensors is a damaged or incomplete \.safetensors file"):
            read_weights(tmp_path / "w.safetensors")


def test_a_folder_is_named(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        choose_weights("mobilenet_v2", str(tmp_path))


def test_names_in_a_file_cannot_break_the_lines_of_a_message(state, tmp_path):
    torch.save(
        {"mo\ndel\x1b[2J": {**state, "x\ny": torch.zeros(1)}, "args\n": {"a": 1}, "classes": NAMES}, tmp_path / "w.pth"
    )
    _, unused, line = start(tmp_path / "w.pth")
    report = f"{line}{unused}"
    assert report.isprintable() and "mo?del" in report and "x?y" in report
