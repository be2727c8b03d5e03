"""Videos of detect_video.py play in a browser; most files that OpenCV writes do not."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from detect.media.video_writer import VideoWriter

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PAGE = """<video id="v" src="clip.mp4" muted autoplay></video><script>
const v = document.getElementById("v");
const tell = (what) => fetch("/tell?" + what);
v.addEventListener("error", () => tell("error " + v.error.message));
v.addEventListener("timeupdate", () => { if (v.currentTime > 0.5) tell("time " + v.currentTime); });
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/tell?"):
            self.server.reported.append(self.path.removeprefix("/tell?"))
            self.server.heard.set()
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_browser_plays_the_video(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4", Fraction(24), (91, 161)) as video:
        for i in range(72):
            frame = np.zeros((91, 161, 3), np.uint8)
            frame[:, 2 * i : 2 * i + 10] = 255
            video.write(frame)
    (tmp_path / "page.html").write_text(PAGE)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    server.reported, server.heard = [], threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--autoplay-policy=no-user-gesture-required", f"--user-data-dir={tmp_path / 'profile'}"]
    page = f"http://127.0.0.1:{server.server_port}/page.html"
    with subprocess.Popen(
        [CHROMIUM, *flags, "--remote-debugging-port=0", page], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as browser:
        try:
            assert server.heard.wait(timeout=600), "the browser said nothing"
        finally:
            browser.terminate()
            server.shutdown()
            server.server_close()
    assert server.reported[0].startswith("time"), server.reported
