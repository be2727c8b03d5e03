"""The program ffmpeg: its command line, and its errors in words."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterable
from typing import Any

import imageio_ffmpeg

from detect.errors import MediaError

_PREFIXES = re.compile(r"^(\[[^\]]*\]\s*)+(Error opening input: )?")
# Lines that follow every failure; another line holds the cause.
_GENERIC_ERRORS = re.compile(
    r"^(Error opening (in|out)put files?\b|Conversion failed|Terminating thread|Task finished)"
)


def command(*arguments: str) -> list[str]:
    """Return the command line of ffmpeg with ``arguments``.

    The program is the one that imageio-ffmpeg brings, else the system's, which may be built without x264. It must be
    version 5.1 or later. Raises MediaError when there is none.
    """
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise MediaError("ffmpeg is not installed: install it so that the command 'ffmpeg' runs") from None
    return [program, "-hide_banner", "-nostdin", "-nostats", "-y", *arguments]


def separate_process_group() -> dict[str, Any]:
    """Return arguments of subprocess.Popen that keep Ctrl-C from ffmpeg, which has to finish its file."""
    if hasattr(subprocess, "CREATE_NEW_PROCESS_GROUP"):  # Windows
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def start(*arguments: str, **pipes: Any) -> subprocess.Popen[bytes]:
    """Start ffmpeg with ``arguments`` in a process group of its own, which Ctrl-C does not reach.

    pipes: stdin, stdout and stderr of subprocess.Popen.
    """
    return subprocess.Popen(command(*arguments), **{"stdin": subprocess.DEVNULL, **pipes}, **separate_process_group())


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run ffmpeg with ``arguments`` and return the finished process, with its log in ``stderr``.

    An exception while it runs, such as KeyboardInterrupt, kills it.
    """
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.run(command(*arguments), check=False, **pipes, **separate_process_group())


def crash_message(code: int) -> str | None:
    """Return a message when the return code says that a signal ended ffmpeg, else None."""
    if code >= 0:
        return None
    if -code in (signal.SIGTERM, getattr(signal, "SIGKILL", None)):
        return f"ffmpeg was killed (signal {-code})"
    return f"ffmpeg crashed (signal {-code}); update imageio-ffmpeg"


def last_error(log: Iterable[str], default: str = "ffmpeg ended without an error message") -> str:
    """Return the last line of ffmpeg's log that states a cause, without the names of ffmpeg's parts in front."""
    lines = [_PREFIXES.sub("", line).strip() for line in log]
    causes = [line for line in lines if line and not _GENERIC_ERRORS.match(line)]
    return (causes or [line for line in lines if line] or [default])[-1]
