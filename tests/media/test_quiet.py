"""Libraries of C are silenced without losing what the program itself prints."""

from __future__ import annotations

import subprocess
import sys

from helpers.folders import ROOT


def test_a_warning_is_not_lost_while_another_thread_decodes_a_tiff():
    code = """
import os, threading
from detect.media.quiet import libtiff_silenced, silence_codecs
from detect.progress import warn
silence_codecs()
started = threading.Event()
def decode():
    with libtiff_silenced():
        os.write(2, b"from libtiff")
        started.set()
        threading.Event().wait(0.3)
thread = threading.Thread(target=decode)
thread.start()
started.wait()
warn("kept")
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "warning: kept\n"
