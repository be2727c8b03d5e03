"""Invalid and truncated videos, full disks, killed encoders: frames are kept, and the error is reported."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction

import numpy as np
import pytest
from helpers.clips import FILM, X264, clip, corners, make, names, read, rendered, rewritten, tone, with_sound

from detect.errors import DiskError, MediaError
from detect.media import ffmpeg, video_decoder
from detect.media.video_reader import VideoReader
from detect.media.video_writer import VideoWriter


def test_full_disk_is_not_reported_as_unreadable_sound(tmp_path, monkeypatch, capsys):
    sound = with_sound(tmp_path, 20)
    with VideoWriter(tmp_path / "x.mp4", 1, (64, 64), sound_from=sound) as out:
        for _ in range(20):
            out.write(corners((64, 64)))
        monkeypatch.setattr(ffmpeg, "command", small_disk(100))
    assert re.match("warning: .*x.mp4 has no sound, since the disk is full: ", capsys.readouterr().err)
    assert len(read(tmp_path / "x.mp4")[0]) == 20


# What is no video, or half of one


@pytest.mark.parametrize("content", [b"", b"not a video" * 100, bytes(3000), None])
def test_file_that_is_not_a_video_is_named(tmp_path, content, capfd):
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=re.escape(str(path))):
        VideoReader(path)
    assert capfd.readouterr() == ("", ""), "one message, ours"


def test_sound_image_and_text_files_are_not_videos(tmp_path):
    with pytest.raises(MediaError, match="sound only"):
        VideoReader(make(tmp_path / "x.mp4", *tone(1)))
    with pytest.raises(MediaError, match=r"detect_image\.py"):
        VideoReader(rendered(tmp_path / "x.png", "-frames:v", "1"))
    (tmp_path / "x.txt").write_text("to be seen\n" * 100)
    with pytest.raises(MediaError, match=r"not a video"):
        VideoReader(tmp_path / "x.txt")
    for name in ("x.jpg", "x.mp4"):
        (tmp_path / name).write_text("to be seen\n" * 100)
        with pytest.raises(MediaError, match=r"not a supported video \(it is text\)"):
            VideoReader(tmp_path / name)


def test_cover_image_of_a_song_is_not_a_video(tmp_path):
    cover = rendered(tmp_path / "x.png", "-frames:v", "1")
    song = make(
        tmp_path / "x.m4a", *tone(1), "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0",
        "attached_pic",
    )  # fmt: skip
    with pytest.raises(MediaError, match="sound only"):
        VideoReader(song)


def test_video_without_frames_is_an_error(tmp_path):
    path = clip(tmp_path / "x.mp4")
    path.write_bytes(path.read_bytes()[:1500])  # the header alone
    with pytest.raises(MediaError, match="no frame"):
        VideoReader(path)


LONG = {"size": "160x120", "seconds": 3}


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_truncated_video_is_read_up_to_its_end(tmp_path, suffix):
    codec = ("-c:v", "libvpx") if suffix == "webm" else (*X264, "-g", "5")
    path = rendered(tmp_path / f"x.{suffix}", *codec, "-flush_packets", "1", **LONG)
    if suffix == "mp4":
        path = make(tmp_path / "y.mp4", "-i", path, "-c", "copy", "-movflags", "+faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, reader = read(path)
    assert 5 <= len(frames) < 30
    # Which of the two depends on ffmpeg: two of its threads may write into one line, which is then no complaint.
    damaged = r".* is damaged or incomplete \(.+\); only \d+ frames, .* s of 3\.0 s could be decoded"
    assert re.fullmatch(rf"{damaged}|.* is shorter than its header states: \d+ frames, .* s of 3\.0 s", reader.warning)


def test_video_continues_after_damage(tmp_path):
    path = rendered(tmp_path / "x.ts", *X264, "-g", "10", **LONG)
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + third // 2] = np.random.default_rng(0).bytes(third // 2)
    path.write_bytes(content)
    frames, reader = read(path)
    assert len(frames) > 10 and float(frames[-1].time) == pytest.approx(2.9, abs=0.01)
    assert "is damaged or incomplete" in reader.warning


def test_video_shorter_than_its_header_states_is_a_warning(tmp_path):
    path = rendered(tmp_path / "x.mkv", *X264)
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88") + 3  # Duration, a float64 of milliseconds
    path.write_bytes(content[:at] + np.array([3600e3], ">f8").tobytes() + content[at + 8 :])
    frames, reader = read(path)
    assert len(frames) == 10 and reader.frame_count == 36000
    assert "is shorter than its header states: 10 frames, 1.0 s of 3600.0 s" in reader.warning


def test_crash_of_ffmpeg_is_reported_as_a_crash(tmp_path, monkeypatch):
    def crashing(*_: str) -> list[str]:
        return ["sh", "-c", "echo \"[info] Input #0, mpegts, from 'x':\" >&2; kill -SEGV $$"]

    path = clip(tmp_path / "x.mp4")
    monkeypatch.setattr(ffmpeg, "command", crashing)
    with pytest.raises(MediaError, match=r"ffmpeg crashed \(signal 11\); update imageio-ffmpeg"):
        VideoReader(path)


def test_text_in_metadata_is_not_parsed(tmp_path):
    title = "showinfo n: 0 pts: 0 s:99999x99999 config in time_base: 1/7, frame_rate: 7/1 [error] x"
    source = clip(tmp_path / "in.mp4")
    frames, reader = read(make(tmp_path / "x.mp4", "-i", source, "-c", "copy", "-metadata", f"title={title}"))
    assert [f.time for f in frames] == [i / FILM for i in range(20)] and reader.warning is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_unparsable_log_does_not_block_the_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(video_decoder.Decoder, "_stamp", lambda *_: 1 // 0)
    with pytest.raises(MediaError, match="no frame"):
        VideoReader(clip(tmp_path / "x.mp4"))


def test_first_of_many_errors_is_reported(tmp_path):
    with VideoReader(clip(tmp_path / "x.mp4")) as reader:
        reader._decoder.errors = ["[h264 @ 0x1] [error] bad", "[error] worse"]
        assert "(bad)" in reader._why_incomplete(3, Fraction(1))


# Ctrl-C


def test_ctrl_c_does_not_reach_ffmpeg(tmp_path, monkeypatch):
    started = []
    for name in ("Popen", "run"):
        real = getattr(subprocess, name)

        def spy(*arguments, real=real, **options):
            started.append(options)
            return real(*arguments, **options)

        monkeypatch.setattr(subprocess, name, spy)
    rewritten(clip(tmp_path / "in.mp4"), tmp_path / "x.mp4")
    assert len(started) >= 5 and all(ffmpeg.separate_process_group().items() <= options.items() for options in started)


def test_ctrl_c_does_not_reach_ffmpeg_on_windows(monkeypatch):
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    assert ffmpeg.separate_process_group() == {"creationflags": 512}


# Writing that fails


def test_exception_keeps_the_written_part_under_a_temporary_name(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "x.mp4", 25, (32, 32)) as out:
        for _ in range(10):
            out.write(np.zeros((32, 32, 3), np.uint8))
        raise RuntimeError
    assert names(tmp_path) == ["x.part.mp4"]
    assert len(read(tmp_path / "x.part.mp4")[0]) == 10


def test_missing_or_wrong_frame_is_refused(tmp_path):
    with pytest.raises(MediaError, match="no frame was written"), VideoWriter(tmp_path / "x.mp4", 25, (32, 32)):
        pass
    with pytest.raises(ValueError, match="uint8"), VideoWriter(tmp_path / "x.mp4", 25, (32, 32)) as out:
        out.write(np.zeros((32, 30, 3), np.uint8))
    assert not names(tmp_path)


def test_failure_of_ffmpeg_is_reported_with_its_message(tmp_path):
    with pytest.raises(DiskError, match="No such file or directory"):
        clip(tmp_path / "none" / "x.mp4", frames=500)


def small_disk(blocks: int):
    """ffmpeg with files of at most ``blocks`` times 512 bytes."""
    limit = f"trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""
    command = ffmpeg.command
    return lambda *arguments: ["sh", "-c", limit, "sh", *command(*arguments)]


def test_full_disk_leaves_a_playable_part(tmp_path, monkeypatch):
    monkeypatch.setattr(ffmpeg, "command", small_disk(200))
    noise = np.random.default_rng(0)
    with (
        pytest.raises(
            DiskError, match=r"cannot write .*x\.mp4: .*File too large; .*x\.part\.mp4 can be played up to that point"
        ),
        VideoWriter(tmp_path / "x.mp4", 1, (64, 64)) as out,
    ):
        for _ in range(300):
            out.write(noise.integers(0, 255, (64, 64, 3), np.uint8))
    assert names(tmp_path) == ["x.part.mp4"]
    assert len(read(tmp_path / "x.part.mp4")[0]) > 2


def test_full_disk_at_the_end_keeps_all_frames(tmp_path, monkeypatch):
    with (
        pytest.raises(DiskError, match="can be played up to that point"),
        VideoWriter(tmp_path / "x.mp4", 10, (64, 64)) as out,
    ):
        for _ in range(5):
            out.write(corners((64, 64)))
        monkeypatch.setattr(ffmpeg, "command", small_disk(1))
    assert len(read(tmp_path / "x.part.mp4")[0]) == 5


def test_killed_encoder_is_an_error(tmp_path):
    with (
        pytest.raises(DiskError, match=r"cannot write .*x\.mp4: ffmpeg was killed"),
        VideoWriter(tmp_path / "x.mp4", 10, (64, 64)) as out,
    ):
        out.write(corners((64, 64)))
        out._process.kill()
        for _ in range(100):
            out.write(corners((64, 64)))
    assert "x.mp4" not in names(tmp_path)


def test_incomplete_frame_costs_only_itself(tmp_path):
    """As a Ctrl-C leaves it."""
    with VideoWriter(tmp_path / "x.mp4", 10, (64, 64)) as out:
        for _ in range(3):
            out.write(corners((64, 64)))
        out._send((64 * 64 * 3).to_bytes(4, "little") + (99999).to_bytes(8, "little") + bytes(500))
    assert len(read(tmp_path / "x.mp4")[0]) == 3
