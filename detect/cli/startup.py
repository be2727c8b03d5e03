"""Start of the programs: state of the process that only programs change, and the first lines of output."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from detect.io.links import publishable_link
from detect.models.zoo import AUTO, DETECTORS

if TYPE_CHECKING:
    from detect.inference.predictor import Predictor


def start_program(quiet: bool = False, workers: int = 0) -> None:
    """Prepare this process for a program; library functions do none of this.

    quiet: hide progress bars.  workers: number of loader processes that need a core each.
    """
    # Imported here, since torch takes seconds and --help does not need it.
    from detect import progress, runtime
    from detect.media.quiet import silence_codecs

    progress.hide_bars(quiet)
    runtime.configure_process(workers)
    silence_codecs()


def typed_command() -> str:
    """Return the command line of this process, ready to be typed again, but without the queries of URLs, which may
    hold keys."""
    words = [Path(sys.argv[0]).name]
    for word in sys.argv[1:]:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        words.append(f"{flag}{equals}{publishable_link(value)}")
    return shlex.join(words)


def report_default_model(model: str, predictor: Predictor) -> None:
    """Print which model the setting ``model`` stands for, if it is "auto"; a fallback has a warning of its own."""
    from detect.progress import report

    if model == AUTO and predictor.name in DETECTORS:
        report(f"`model='{AUTO}'` is {predictor.name}, which detects {len(predictor.class_names)} classes of COCO")


def report_thresholds(predictor: Predictor, name: str = "") -> None:
    """Print the minimum scores of the classes that come from a checkpoint, unless they are the usual ones.

    name: of the model, if a program has several.
    """
    from detect.models.checkpoint import DEFAULT_THRESHOLD
    from detect.progress import report
    from detect.text import thresholds_in_words

    if set(predictor.class_thresholds.values()) != {DEFAULT_THRESHOLD}:
        start = f"{name}: " if name else ""
        report(f"{start}thresholds: {thresholds_in_words(predictor.class_thresholds)} (from the checkpoint)")
