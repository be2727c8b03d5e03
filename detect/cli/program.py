"""The console script ``detect`` of an installed package: ``detect train ...`` is ``python train.py ...``."""

from __future__ import annotations

import sys
from importlib import import_module

from detect.cli.exit_status import exit_status
from detect.cli.version import versions
from detect.errors import UsageError
from detect.text import unknown

# Subcommand -> (module in detect.cli.commands, help).
COMMANDS = {
    "train": ("train", "fine-tune a Faster R-CNN or Mask R-CNN on a dataset"),
    "evaluate": ("evaluate", "compute the COCO metrics of a model on a dataset"),
    "export": ("export", "convert a model to ONNX or OpenVINO and measure what it costs"),
    "image": ("detect_image", "detect objects in images and draw them"),
    "video": ("detect_video", "detect objects in a video and draw them"),
    "doctor": ("doctor", "check, fix, convert and preview a dataset"),
    "serve": ("serve", "serve models over HTTP"),
}


def main() -> int:
    """Run the subcommand named by the first word of the command line and return its exit status."""
    return exit_status(_run)


def _run() -> int | None:
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print("usage: detect COMMAND [flags]\n\ncommands (detect COMMAND --help lists the flags; detect --version):")
        print("\n".join(f"  {name:<10}{help}" for name, (_, help) in COMMANDS.items()))
        return 0 if words else 2
    if words[0] == "--version":
        print(versions())
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise UsageError(unknown("command", name, COMMANDS))
    sys.argv = [f"detect {name}", *rest]
    return import_module(f"detect.cli.commands.{COMMANDS[name][0]}").main()
