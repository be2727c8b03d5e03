"""Start of the programs: state of the process that only programs change, and the first lines of output."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from detect.io.links import publishable_link
from detect.models.zoo import AUTO, BUNDLED, DETECTORS
from detect.text import thresholds_in_words

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


def report_model(predictor: Predictor, model: str, threshold: float | None) -> None:
    """Print the model, which ``model`` may leave to the program, and the minimum scores of its classes.

    model, threshold: settings of the program. Without ``threshold``, the minimum scores are those of the checkpoint.
    """
    from detect.media.image_paths import shown
    from detect.models.checkpoint import DEFAULT_THRESHOLD
    from detect.progress import report

    minimums = set(predictor.class_thresholds.values())
    if len(minimums) == 1:
        words = f"threshold {minimums.pop():.3g}"
    else:
        words = f"thresholds {thresholds_in_words(predictor.class_thresholds)}"
    source = " (from the checkpoint)" if threshold is None and words != f"threshold {DEFAULT_THRESHOLD}" else ""
    is_default = model == AUTO and predictor.name in DETECTORS  # a fallback has a warning of its own
    chosen = f" (`model='{AUTO}'`), {len(predictor.class_names)} classes of COCO" if is_default else ""
    report(f"model: {shown(predictor.name)}{chosen}, {words}{source}")


def report_no_detections(predictor: Predictor) -> None:
    """Print which objects a bundled model knows, after it found none; other models were chosen for their classes."""
    from detect.progress import report

    if predictor.name in BUNDLED:
        names = ", ".join(predictor.class_names.names)
        report(f"`model='{predictor.name}'` only detects {names}; `model='v2'` detects the 80 classes of COCO")


def report_thresholds(predictor: Predictor, name: str) -> None:
    """Print the minimum scores of the classes that come from a checkpoint, unless they are the usual ones.

    name: of the model, of which the program may have several.
    """
    from detect.models.checkpoint import DEFAULT_THRESHOLD
    from detect.progress import report

    if set(predictor.class_thresholds.values()) != {DEFAULT_THRESHOLD}:
        report(f"{name}: thresholds: {thresholds_in_words(predictor.class_thresholds)} (from the checkpoint)")
