"""State of the process that only programs change: threads, memory, progress bars, silent codecs."""

from __future__ import annotations


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
