"""Videos keep their frames, times, sizes, colors and sound."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers.clips import (
    BLUE,
    FILM,
    GREEN,
    RED,
    X264,
    about,
    clip,
    ffmpeg_says,
    make,
    names,
    read,
    rendered,
    rewritten,
    sound_seconds,
    tone,
    with_sound,
)

from detect.media import video_decoder
from detect.media.video_writer import VideoWriter, letterbox

# Writing and reading back


def test_written_video_is_read_back(tmp_path):
    frames, reader = read(clip(tmp_path / "x.mp4"))
    assert (reader.fps, reader.size_hw, reader.frame_count, reader.live) == (FILM, (48, 64), 20, False)
    assert [f.time for f in frames] == [i / FILM for i in range(20)]
    assert all(f.image.shape == (48, 64, 3) and f.image.dtype == np.uint8 for f in frames)
    for (y, x), want in {(12, 12): GREEN, (12, 50): RED, (40, 50): BLUE}.items():
        assert frames[9].image[y, x] == about(want), "colors: RGB, not BGR, and the same matrix"
    assert frames[9].image[1, 10].min() > 200 and frames[9].image[1, 30].max() < 240
    assert names(tmp_path) == ["x.mp4"] and reader.warning is None


def test_written_video_has_a_format_that_browsers_play(tmp_path):
    path = clip(tmp_path / "x.mp4")
    assert re.search(r"Video: h264 .*yuv420p\(tv, bt709.* 64x48.* 23\.98 fps", ffmpeg_says(path))
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("fps", [25, 12.5, Fraction(30000, 1001), Fraction(15000, 1001), 1000])
def test_frame_rate_is_exact(tmp_path, fps):
    frames, reader = read(clip(tmp_path / "x.mp4", 6, (32, 32), fps))
    assert reader.fps == fps
    assert [f.time for f in frames] == [i / Fraction(fps) for i in range(6)]


@pytest.mark.parametrize(("claimed", "meant"), [(29.97, Fraction(2997, 100)), (23.976, Fraction(2997, 125))])
def test_decimal_frame_rate_becomes_an_exact_fraction(tmp_path, claimed, meant):
    _, reader = read(clip(tmp_path / "x.mp4", 3, (32, 32), claimed))
    assert abs(reader.fps - meant) < 1e-3


@pytest.mark.parametrize("claimed", [0.0, -1.0, float("nan"), float("inf"), 90000.0])
def test_invalid_frame_rate_becomes_25(claimed):
    assert video_decoder.plausible_rate(claimed) == 25


@pytest.mark.parametrize("fps", [Fraction(1, 5000), Fraction(1, 1500), Fraction(2, 5)])
def test_low_frame_rate_is_exact(tmp_path, fps):
    assert video_decoder.plausible_rate(float(fps)) == fps
    frames, reader = read(clip(tmp_path / "x.mp4", 3, (32, 32), fps))
    assert reader.fps == fps and [f.time for f in frames] == [i / fps for i in range(3)]


def test_h264_level_is_one_that_hardware_decodes(tmp_path):
    path = clip(tmp_path / "x.mp4", 3, (720, 1280))
    content = path.read_bytes()
    level_idc = content[content.index(b"avcC") + 7]
    assert level_idc == 31
    assert [f.time for f in read(path)[0]] == [i / FILM for i in range(3)]


@pytest.mark.parametrize("hw", [(1, 1), (2, 2), (3, 5), (16, 16)])
def test_smallest_videos_can_be_written(tmp_path, hw):
    frames, _ = read(clip(tmp_path / "x.mp4", 5, hw))
    assert len(frames) == 5
    assert frames[0].hw == (hw[0] + hw[0] % 2, hw[1] + hw[1] % 2), "padded to even sides"


def test_single_frame_has_its_duration(tmp_path):
    path = rewritten(rendered(tmp_path / "in.mp4", seconds=0.1), tmp_path / "x.mp4")
    assert "Duration: 00:00:00.10" in ffmpeg_says(path)


# Times


def test_variable_frame_rate_keeps_times_and_sound(tmp_path):
    """10 frames a second for a second, then 30; a bar tells the time, 60 px a second."""
    source, frame = tmp_path / "in.mp4", np.zeros((48, 128, 3), np.uint8)
    true_times = [Fraction(i, 10) for i in range(10)] + [1 + Fraction(i, 30) for i in range(30)]
    with VideoWriter(tmp_path / "mute.mp4", 30, (48, 128)) as out:
        for time in true_times:
            frame[:, : round(time * 60)] = 255
            out.write(frame, time)
    make(source, "-i", tmp_path / "mute.mp4", *tone(2), "-c:v", "copy")
    frames, _ = read(rewritten(source, tmp_path / "x.mp4"))
    assert [float(f.time) for f in frames] == pytest.approx([float(t) for t in true_times], abs=0.001)
    bars = [(f.image[24, :, 0] > 128).sum() for f in frames]
    assert bars == pytest.approx([float(f.time) * 60 for f in frames], abs=2)
    assert "Duration: 00:00:02.0" in ffmpeg_says(tmp_path / "x.mp4")
    assert sound_seconds(tmp_path / "x.mp4") == pytest.approx(2, abs=0.05)


def test_earlier_sound_stays_synchronous(tmp_path):
    """The image begins half a second after the sound; both end at 1.5 s."""
    image = rendered(tmp_path / "p.mp4")
    for suffix in ("mp4", "ts"):  # a transport stream's time begins with the streams in use
        source = make(tmp_path / f"in.{suffix}", "-itsoffset", 0.5, "-i", image, *tone(1.5), *X264, "-c:a", "aac")
        frames, _ = read(source)
        assert float(frames[0].time) == pytest.approx(0.5, abs=0.06)
        path = rewritten(source, tmp_path / "x.mp4")
        frames, _ = read(path)
        assert float(frames[0].time) == 0, "seen from the beginning"
        assert float(frames[1].time) == pytest.approx(0.6, abs=0.06)
        assert sound_seconds(path) == pytest.approx(1.5, abs=0.06)


def test_times_start_at_zero(tmp_path):
    for options in (("-output_ts_offset", "100"), ("-output_ts_offset", "-1", "-avoid_negative_ts", "disabled")):
        frames, _ = read(rendered(tmp_path / "x.mkv", *X264, *options))
        assert [float(f.time) for f in frames] == pytest.approx([i / 10 for i in range(10)], abs=0.002)


def test_frames_with_equal_times_get_increasing_times(tmp_path):
    with VideoWriter(tmp_path / "x.mp4", 25, (32, 32)) as out:
        for time in (0, 0.1, 0.1, 0.05, 0.2):
            out.write(np.zeros((32, 32, 3), np.uint8), Fraction(time))
    times = [f.time for f in read(tmp_path / "x.mp4")[0]]
    assert len(times) == 5 and times == sorted(set(times))


def test_stated_duration_applies_to_the_last_frame(tmp_path):
    with VideoWriter(tmp_path / "x.mp4", 25, (32, 32)) as out:
        for time in (0, 1):
            out.write(np.zeros((32, 32, 3), np.uint8), Fraction(time), Fraction(3))
    assert "Duration: 00:00:04.00" in ffmpeg_says(tmp_path / "x.mp4")


# Colors


@pytest.mark.parametrize(
    ("size", "coded", "tagged"),
    [
        ("1280x720", "bt709", False),
        ("1280x720", "bt709", True),
        ("1280x720", "bt601", True),
        ("640x360", "bt601", False),
        ("640x360", "bt709", True),
    ],
)
def test_colors_equal_those_of_players(tmp_path, size, coded, tagged):
    tag = {"bt709": "bt709", "bt601": "smpte170m"}[coded] if tagged else "unknown"
    green = f"color=0x1EC83C:s={size}:d=0.2:r=10,scale=out_color_matrix={coded},format=yuv420p"
    path = make(tmp_path / "x.mp4", "-f", "lavfi", "-i", f"{green},setparams=colorspace={tag}", *X264)
    assert ("bt709" in ffmpeg_says(path)) == (tag == "bt709")
    frames, _ = read(path)
    assert len(frames) == 2 and frames[0].image[100, 100] == pytest.approx(GREEN, abs=6)


# Sound


@pytest.mark.parametrize(("seconds", "kept"), [(3, 20 / FILM), (0.4, 0.4)])
def test_sound_is_kept_and_cut_to_the_length_of_the_frames(tmp_path, seconds, kept):
    path = clip(tmp_path / "x.mp4", sound_from=with_sound(tmp_path, seconds))
    assert "Audio: aac" in ffmpeg_says(path)
    assert sound_seconds(path) == pytest.approx(float(kept), abs=0.05)
    assert len(read(path)[0]) == 20, "short sound must not cost a frame"


def test_source_without_sound_gives_no_warning(tmp_path, capsys):
    path = clip(tmp_path / "x.mp4", sound_from=clip(tmp_path / "mute.mp4"))
    assert "Audio" not in ffmpeg_says(path)
    assert names(tmp_path) == ["mute.mp4", "x.mp4"] and not capsys.readouterr().err


def test_unreadable_sound_is_a_warning_and_the_video_is_kept(tmp_path, capsys):
    clip(tmp_path / "x.mp4", sound_from=tmp_path / "none.mp4")
    assert re.match("warning: .*x.mp4 has no sound, since the sound of .*none.mp4", capsys.readouterr().err)
    assert len(read(tmp_path / "x.mp4")[0]) == 20
    assert names(tmp_path) == ["x.mp4"]


# Shapes and kinds


TURNS = {
    "-display_rotation 90": np.rot90,
    "-display_rotation 180": lambda a: np.rot90(a, 2),
    "-display_rotation 270": lambda a: np.rot90(a, 3),
    "-display_hflip": np.fliplr,
    "-display_vflip": np.flipud,
}


@pytest.mark.parametrize("flags", TURNS)
def test_rotation_of_a_video_is_applied(tmp_path, flags):
    source, path = clip(tmp_path / "in.mp4"), tmp_path / "x.mp4"
    make(path, *flags.split(), "-i", source, "-c", "copy")
    turned = TURNS[flags](read(source)[0][5].image)
    frames, reader = read(path)
    assert reader.size_hw == turned.shape[:2]
    assert np.abs(frames[5].image.astype(int) - turned).mean() < 3


@pytest.mark.parametrize(
    ("sar", "hw"), [("2/1", (48, 128)), ("1/2", (96, 64)), ("1000/999", (48, 64)), ("99", (48, 64))]
)
def test_non_square_pixels_are_stretched(tmp_path, sar, hw):
    path = rendered(tmp_path / "x.mp4", "-vf", f"setsar={sar}", *X264)
    assert read(path)[1].size_hw == hw


def test_video_that_changes_size_keeps_every_frame(tmp_path):
    parts = [rendered(tmp_path / f"{s}.h264", *X264, size=s) for s in ("64x48", "96x80")]
    source = tmp_path / "in.h264"
    source.write_bytes(b"".join(p.read_bytes() for p in parts))
    frames, reader = read(source)
    assert [f.hw for f in frames] == [(48, 64)] * 10 + [(80, 96)] * 10
    assert reader.warning is None
    written, _ = read(rewritten(source, tmp_path / "x.mp4"))
    assert [f.hw for f in written] == [(48, 64)] * 20
    assert float(written[-1].time) == pytest.approx(1.9, abs=0.01)
    image = written[15].image
    assert image[:, :2].max() < 30 and image[:, -2:].max() < 30, "black at the sides: 96x80 is narrower than 64x48"


def test_letterbox_keeps_the_aspect_ratio():
    image = np.full((10, 40, 3), 200, np.uint8)
    assert letterbox(image, (10, 40)) is image
    fitted = letterbox(image, (20, 20))
    assert fitted.shape == (20, 20, 3)
    np.testing.assert_array_equal(np.flatnonzero(fitted[:, 10, 0]), np.arange(7, 12))
    assert letterbox(np.full((1, 5000, 3), 9, np.uint8), (20, 20)).max() == 9, "never thinner than a pixel"


KINDS = {
    "hevc10.mp4": ("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none"),
    "vp9.webm": ("-c:v", "libvpx-vp9"),
    "alpha.webm": ("-vf", "format=yuva420p", "-c:v", "libvpx-vp9"),
    "av1.mp4": ("-c:v", "libaom-av1", "-cpu-used", "8"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-q:v", "2"),
    "raw.h264": (*X264, "-f", "h264"),
    "animated.gif": (),
    "interlaced.mp4": ("-vf", "tinterlace=4", *X264, "-flags", "+ilme+ildct"),
    "odd.mkv": ("-vf", "crop=63:47", "-c:v", "ffv1"),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_supported_container_is_read(tmp_path, name):
    frames, reader = read(rendered(tmp_path / name, *KINDS[name], seconds=0.5))
    count = 2 if name == "interlaced.mp4" else 5
    assert len(frames) == count and reader.warning is None
    assert [float(f.time) for f in frames] == pytest.approx([i * 0.5 / count for i in range(count)], abs=0.051)
    plain = read(rendered(tmp_path / "plain.mkv", "-c:v", "ffv1", seconds=0.1))[0][0].image
    h, w = frames[0].hw
    assert np.abs(frames[0].image.astype(int) - plain[:h, :w]).mean() < 12


@pytest.mark.parametrize(
    "name", ["-x.mp4", "%03d.mp4", "concat:a|b.mp4", "ein Übermut 日本.mp4", "0.mp4", "rtsp:.mp4"]
)
def test_file_name_is_never_interpreted(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip(Path(name), frames=3, sound_from=with_sound(tmp_path, 1))
    assert "Audio" in ffmpeg_says(Path("./" + name) if ":" not in name else Path("file:" + name))
    assert len(read(Path(name))[0]) == 3
    rewritten(Path(name), Path("out.mp4"))


@pytest.mark.parametrize("stem", ["x" * 251, "日" * 83])
def test_longest_video_names_can_be_written(tmp_path, stem):
    assert len(read(clip(tmp_path / f"{stem}.mp4", 3, sound_from=with_sound(tmp_path, 1)))[0]) == 3
    assert names(tmp_path) == sorted(["mute.mp4", "sound.mp4", f"{stem}.mp4"])
