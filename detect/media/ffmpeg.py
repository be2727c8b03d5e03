"""ffmpeg as a program: where it is, and what it complains of."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterable
from typing import Any

import imageio_ffmpeg

from detect.errors import MediaError

_PREFIXES = re.compile(r"^(\[[^\]]*\]\s*)+(Error opening input: )?")
# What it says at every failure, and what went wrong is told in another line.
_EMPTY_WORDS = re.compile(r"^(Error opening (in|out)put files?\b|Conversion failed|Terminating thread|Task finished)")


def command(*arguments: str) -> list[str]:
    """The command line of the ffmpeg that imageio-ffmpeg brings, else of the system's, with levels in its log.

    In this order, since some systems' ffmpeg is built without x264. It must be ffmpeg 5.1 or later.
    """
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise MediaError("no ffmpeg on this machine: install it and see that 'ffmpeg' runs") from None
    return [program, "-hide_banner", "-nostdin", "-nostats", "-y", *arguments]


def own_group() -> dict[str, Any]:
    """What keeps a Ctrl-C from a process that is started with it: that is for us, and ffmpeg is to finish."""
    if hasattr(subprocess, "CREATE_NEW_PROCESS_GROUP"):  # Windows
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def crash(code: int) -> str | None:
    """What the return code ``code`` of ffmpeg tells where a signal ended it; else None."""
    if code >= 0:
        return None
    if -code in (signal.SIGTERM, getattr(signal, "SIGKILL", None)):
        return f"ffmpeg was killed (signal {-code})"
    return f"ffmpeg crashed (signal {-code}); update imageio-ffmpeg"


def complaint(log: Iterable[str], default: str = "ffmpeg ended without a word") -> str:
    """The last line of ffmpeg's ``log`` that tells a cause, without the names of its parts in front."""
    lines = [_PREFIXES.sub("", line).strip() for line in log]
    told = [line for line in lines if line and not _EMPTY_WORDS.match(line)]
    return (told or [line for line in lines if line] or [default])[-1]
