"""Video sources and streams: names without secrets, time-outs, and streams that stall or end."""

from __future__ import annotations

import http.server
import os
import re
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from detect.errors import MediaError
from detect.media import ffmpeg, video_reader
from detect.media.video_decoder import Decoder
from detect.media.video_reader import VideoReader
from detect.media.video_source import Source
from detect.media.video_writer import VideoWriter

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


# Names


@pytest.mark.parametrize(
    ("text", "kind", "shown", "name"),
    [
        ("0", "camera", "camera 0", "camera_0"),
        ("01", "camera", "camera 1", "camera_1"),
        ("/dev/null", "camera", "camera /dev/null", "camera_null"),  # a device like any camera
        ("rtsp://u:pw@cam.lan:554/live/ch1?k=pw", "stream", "rtsp://cam.lan:554/live/ch1", "cam.lan_ch1"),
        ("RTSP://cam.lan", "stream", "RTSP://cam.lan", "cam.lan"),
        ("http://h/a%20b/../x%2F%24.mp4", "stream", "http://h/a%20b/../x%2F%24.mp4", "h"),
        ("http://h/x.y.mp4", "stream", "http://h/x.y.mp4", "h_x.y"),
        ("rtsp://[fe80::1]/s", "stream", "rtsp://[fe80::1]/s", "fe80_1_s"),
        ("udp://@239.0.0.1:1234", "stream", "udp://239.0.0.1:1234", "239.0.0.1"),
        ("udp://:1234", "stream", "udp://:1234", "1234"),
        ("rtsp://u:p@ss@h/s", "stream", "rtsp://h/s", "h_s"),
    ],
)
def test_source_has_a_safe_name(text, kind, shown, name):
    source = Source.parse(text)
    assert (source.kind, source.shown, source.name, source.address) == (kind, shown, name, text)


def test_path_that_is_a_number_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("0").touch()
    assert Source.parse("./0").kind == Source.parse(Path("0")).kind == "file"
    assert Source.parse("./0").name == "0"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("none.mp4", "no such video file: none.mp4"),
        ("C:\\none.mp4", "no such video file"),
        ("concat:a.mp4|b.mp4", "no such video file"),
        ("rstp://h/x", r"unknown kind of stream 'rstp://': did you mean .*rtsp://"),
        ("lavfi://testsrc", "unknown kind of stream"),
        ("rtsp://[h/x", "not a valid URL"),
    ],
)
def test_invalid_source_is_an_error(text, words):
    with pytest.raises(MediaError, match=words):
        Source.parse(text)


def test_redacted_text_holds_no_secret():
    source = Source.parse("rtsp://me:s3cret@h/x?token=t0ken")
    text = source.redact("open rtsp://me:s3cret@h/x?token=t0ken: me:s3cret@h said no to token=t0ken")
    assert "s3cret" not in text and "t0ken" not in text and "rtsp://h/x" in text
    assert Source.parse("rtsp://h/x").redact("a bad day") == "a bad day"
    text = source.redact("Error opening 'https://you:pw@other:80/a.ts?k=key1': no https://h/b?key2, or so.")
    assert text == "Error opening 'https://other:80/a.ts': no https://h/b, or so."


@pytest.mark.parametrize("address", ["http://h/x?1", "http://h/x?t=1", "udp://@h:1"])
def test_text_without_a_secret_is_not_changed(address):
    said = "HTTP error 401 after 10 s: start=1 at a@b"
    assert Source.parse(address).redact(said) == said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among the files")
def test_pipe_is_refused_as_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "x.mp4")
    with pytest.raises(MediaError, match="is a pipe"):
        Source.parse(tmp_path / "x.mp4")


def test_long_name_leaves_space_for_endings(tmp_path):
    (tmp_path / ("ü" * 125 + ".mp4")).touch()
    name = Source.parse(tmp_path / ("ü" * 125 + ".mp4")).name
    assert "ü" * 110 in name and len(f"{name}_99.jsonl".encode()) < 255


# Streams


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.content``, with ``server.tell_length``, at ``server.pause`` seconds a tenth of it, and breaks
    off after ``server.stop`` bytes; then hangs for ``server.hang`` seconds."""

    def do_GET(self) -> None:
        given = self.server.given
        content, begin = given["content"], 0
        if found := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
            begin = int(found[1])
        self.send_response(206 if begin else 200)
        if given.get("tell_length", True):
            self.send_header("Content-Length", str(len(content) - begin))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        part = len(content) // 10 + 1
        for at in range(begin, min(len(content), given.get("stop", 10**9)), part):
            try:
                self.wfile.write(content[at : at + part])
            except OSError:
                return
            time.sleep(given.get("pause", 0))
        self.server.let_go.wait(given.get("hang", 0))

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(**given):
    """The base URL of a server that gives out ``content``."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.given, server.let_go = given, threading.Event()
    server.daemon_threads = True
    threading.Thread(target=partial(server.serve_forever, 0.05), daemon=True).start()
    try:
        yield f"http://me:s3cret@127.0.0.1:{server.server_port}"
    finally:
        server.let_go.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> dict[str, bytes]:
    """10 frames a second: 3 s as mp4, and as a transport stream 9 s, of which ffmpeg needs 5 to know it."""
    folder = tmp_path_factory.mktemp("served")
    made = {}
    for suffix, seconds, options in (("mp4", 3, ("-movflags", "+faststart")), ("ts", 9, ())):
        source = ["-f", "lavfi", "-i", f"testsrc=s=96x64:d={seconds}:r=10", *X264, "-g", "5"]
        command = ffmpeg.command("-loglevel", "error", *source, *options, str(folder / f"x.{suffix}"))
        subprocess.run(command, check=True)
        made[suffix] = (folder / f"x.{suffix}").read_bytes()
    return made


def test_recording_on_a_server_loses_no_frame(content):
    with served(content=content["mp4"]) as base, VideoReader(f"{base}/a/x.mp4?t=1") as reader:
        assert not reader.live and reader.frame_count == 30 and reader.sound is None
        frames = []
        for frame in reader:
            time.sleep(0.01)
            frames.append(frame)
    assert [f.time for f in frames] == [Fraction(i, 10) for i in range(30)]
    assert reader.warning is None
    assert reader.source.name == "127.0.0.1_x"


def test_truncated_recording_is_read_up_to_its_end(content):
    half = len(content["mp4"]) // 2
    with served(content=content["mp4"], stop=half) as base, VideoReader(f"{base}/x.mp4") as reader:
        count = len(list(reader))
    assert 3 < count < 30
    assert "is damaged or incomplete" in reader.warning and "s3cret" not in reader.warning


def test_live_stream_is_timed_by_arrival(content):
    began = time.monotonic()
    with served(content=content["ts"], tell_length=False, pause=0.1) as base, VideoReader(f"{base}/x") as reader:
        assert reader.live and reader.frame_count == 0
        frames = list(reader)
    times = [f.time for f in frames]
    assert times[0] == 0 and times == sorted(set(times))
    assert times[-1] < time.monotonic() - began, "not by the timestamps of the file"
    assert re.match(r"http://127.0.0.1:\d+/x has ended", reader.warning) and "s3cret" not in reader.warning


def test_stalled_stream_ends(content, monkeypatch):
    monkeypatch.setattr(video_reader, "STALL_SECONDS", 0.5)
    most = len(content["ts"]) * 9 // 10
    stalling = served(content=content["ts"], tell_length=False, stop=most, pause=0.1, hang=600)
    began = time.monotonic()
    with stalling as base, VideoReader(f"{base}/x") as reader:
        assert list(reader)
    assert "has sent nothing for 0 s and counts as ended" in reader.warning
    assert time.monotonic() - began < 300


def test_stream_over_tcp_is_read(content):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                for at in range(0, len(content["ts"]), 1500):
                    connection.sendall(content["ts"][at : at + 1500])
                    time.sleep(0.005)

        thread = threading.Thread(target=serve)
        thread.start()
        with VideoReader(f"tcp://127.0.0.1:{server.getsockname()[1]}") as reader:
            assert reader.live and len(list(reader)) > 1
        thread.join()


def test_stream_over_udp_that_stops_keeps_its_frames(content, monkeypatch):
    monkeypatch.setattr(video_reader, "STALL_SECONDS", 1.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", port))
            for at in range(0, len(content["ts"]), 1316):
                while not over.wait(0.01):
                    try:
                        sender.send(content["ts"][at : at + 1316])
                        break
                    except ConnectionRefusedError:  # nobody listens yet
                        pass

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with VideoReader(f"udp://127.0.0.1:{port}") as reader:
            assert list(reader)
    finally:
        over.set()
        thread.join()
    assert "has sent nothing for 1 s" in reader.warning


def test_stream_that_cannot_be_opened_is_an_error(capfd):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for scheme in ("rtsp", "http", "rtmp"):
        with pytest.raises(MediaError, match=f"the stream {scheme}://127.0.0.1:{port}/x cannot be opened: ") as error:
            VideoReader(f"{scheme}://me:s3cret@127.0.0.1:{port}/x?key=s3cret")
        assert "s3cret" not in str(error.value)
    assert capfd.readouterr() == ("", ""), "one message, ours"


def test_silent_stream_times_out(monkeypatch):
    monkeypatch.setattr(video_reader, "OPEN_SECONDS", 0.5)
    began = time.monotonic()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(MediaError, match=r"rtsp://127.0.0.1:\d+/x cannot be opened: no frame within 0 s"),
    ):
        VideoReader(f"rtsp://127.0.0.1:{server.getsockname()[1]}/x")
    assert time.monotonic() - began < 60


def test_response_that_is_not_a_video_is_an_error():
    with served(content=b"<html>no</html>" * 50) as base, pytest.raises(MediaError, match="cannot be opened: Invalid"):
        VideoReader(f"{base}/x.mp4")


def test_segmented_streams_are_read_at_their_native_rate():
    assert "-re" in video_reader._options("https://h/Live.M3U8?x=1")
    assert "-re" not in video_reader._options("http://h/x.mp4")
    assert video_reader._options("RTSP://h/x")[:2] == ("-rtsp_transport", "tcp")


@pytest.mark.parametrize("scheme", ["rtsp", "http", "tcp", "rtmp"])
def test_ffmpeg_ends_when_a_server_stops_sending(scheme, monkeypatch):
    """So that none is left behind by a program that was killed."""
    monkeypatch.setattr(video_reader, "SILENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x"
        orphan = Decoder(address, video_reader._options(address))
        try:
            assert orphan._process.wait(300) != 0
        finally:
            orphan.close()


def test_contained_reading_refuses_a_playlist(tmp_path):
    with VideoWriter(tmp_path / "secret.mp4", 10, (32, 48)) as out:
        for _ in range(3):
            out.write(np.zeros((32, 48, 3), np.uint8))
    listed = tmp_path / "list.txt"
    listed.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with VideoReader(listed) as video:
        assert len(list(video)) == 3, "which is why contained exists"
    with pytest.raises(MediaError, match="not a supported video"):
        VideoReader(listed, contained=True)
    with VideoReader(tmp_path / "secret.mp4", contained=True) as video:
        assert len(list(video)) == 3
