"""Pictures come upright in RGB whatever their file holds; videos keep frames, rate, colours and sound."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detect.errors import MediaError, UsageError
from detect.files import make_folder
from detect.media import video
from detect.media.images import find_images, image_hw, read_image, write_image
from detect.media.video import VideoReader, VideoWriter

RED, GREEN, BLUE = (230, 20, 40), (30, 200, 60), (20, 40, 220)
FILM = Fraction(24000, 1001)


def corners(hw: tuple[int, int] = (20, 30)) -> np.ndarray:
    """Red with a green upper left and a blue lower right quarter."""
    picture = np.full((*hw, 3), RED, np.uint8)
    picture[: hw[0] // 2, : hw[1] // 2] = GREEN
    picture[hw[0] // 2 :, hw[1] // 2 :] = BLUE
    return picture


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


# Pictures


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(tmp_path, orientation):
    upright = corners()
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "x.png", Image.fromarray(np.ascontiguousarray(undo(upright))), exif=exif)
    np.testing.assert_array_equal(read_image(path), upright)
    assert image_hw(path) == (20, 30)


@pytest.mark.parametrize(
    ("mode", "value", "rgb"),
    [
        ("L", 90, (90, 90, 90)),
        ("1", 1, (255, 255, 255)),
        ("RGB", RED, RED),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (*RED, 0), (255, 255, 255)),
        ("LA", (90, 255), (90, 90, 90)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", 90 * 257, (90, 90, 90)),
    ],
)
def test_every_colour_mode_becomes_rgb(tmp_path, mode, value, rgb):
    suffix = ".tif" if mode in ("CMYK", "I;16") else ".png"
    image = read_image(saved(tmp_path / f"x{suffix}", Image.new(mode, (6, 4), value)))
    assert image.dtype == np.uint8 and image.shape == (4, 6, 3)
    assert image.flags.c_contiguous and image.flags.writeable
    assert image[2, 3].tolist() == list(rgb)


def test_a_palette_with_transparency_is_laid_on_white(tmp_path):
    image = Image.fromarray(corners()).quantize(8)
    path = saved(tmp_path / "x.png", image, transparency=image.getpixel((0, 0)))
    assert read_image(path)[0, 0].tolist() == [255, 255, 255]
    assert abs(read_image(path)[0, -1].astype(int) - RED).max() < 8


@pytest.mark.parametrize("read", [read_image, image_hw])
@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_what_is_no_picture_is_named(tmp_path, read, content):
    path = tmp_path / "x.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=re.escape(str(path))):
        read(path)
    with pytest.raises(MediaError, match="folder"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".gif"])
def test_half_a_picture_is_an_error(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / f"x{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match="x" + re.escape(suffix)):
        read_image(path)


def test_a_decompression_bomb_is_refused(tmp_path):
    header = b"P6 30000 30000 255\n"
    (tmp_path / "x.ppm").write_bytes(header + b"\0" * 100)
    with pytest.raises(MediaError, match="pixels; make it smaller"):
        read_image(tmp_path / "x.ppm")


def test_a_file_a_folder_and_a_pattern_find_pictures(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.JPG", "a.png", ".hidden.png", "sub/c.jpg", "[1].jpg"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")

    def names(source: str) -> list[str]:
        return [p.relative_to(tmp_path).as_posix() for p in find_images(f"{tmp_path}{source}")]

    assert names("/a.png") == ["a.png"]
    assert names("/[1].jpg") == ["[1].jpg"]  # a file of that name, not a pattern
    assert names("") == ["[1].jpg", "a.png", "b.JPG"]
    assert names("/*.png") == ["a.png"]
    assert names("/**/*.jpg") == ["[1].jpg", "sub/c.jpg"]
    assert names("/*") == ["[1].jpg", "a.png", "b.JPG"]


@pytest.mark.parametrize(("source", "words"), [("/none", "no such"), ("", "no picture in"), ("/*.jpg", "no picture")])
def test_finding_nothing_is_an_error(tmp_path, source, words):
    with pytest.raises(MediaError, match=words):
        find_images(f"{tmp_path}{source}")


def test_writing_keeps_colours_and_leaves_no_scraps(tmp_path):
    for name in ("x.png", "x.jpg", "X.JPEG", "x.bmp"):
        write_image(tmp_path / name, corners())
        assert abs(read_image(tmp_path / name)[2, 2].astype(int) - GREEN).max() < 8
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", ["x.xyz", "x", "none/x.jpg"])
def test_a_picture_that_cannot_be_written_is_named(tmp_path, name):
    with pytest.raises(MediaError, match=re.escape(f"cannot write {tmp_path / name}")):
        write_image(tmp_path / name, corners())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=re.escape(str(tmp_path / "file" / "x"))):
        make_folder(tmp_path / "file" / "x")


# Videos


def clip(path: Path, frames: int = 20, hw: tuple[int, int] = (47, 63), fps=FILM, **options) -> Path:
    with VideoWriter(path, fps, hw, **options) as out:
        for i in range(frames):
            frame = corners(hw)
            frame[:4, : 2 * i] = 255
            out.write(frame)
    return path


def with_sound(folder: Path, seconds: float) -> Path:
    path = folder / "sound.mp4"
    picture = clip(folder / "mute.mp4")
    tone = ["-f", "lavfi", "-t", str(seconds), "-i", "sine=440"]
    subprocess.run([*video._ffmpeg(), "-i", picture, *tone, "-c:v", "copy", path], check=True)
    return path


def ffmpeg_says(path: Path) -> str:
    command = [video._ffmpeg()[0], "-hide_banner", "-i", path]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def sound_seconds(path: Path) -> float:
    command = [video._ffmpeg()[0], "-i", path, "-map", "0:a", "-f", "null", "-"]
    says = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    hours, minutes, seconds = re.findall(r"time=(\d+):(\d+):([\d.]+)", says)[-1]
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def test_a_video_reads_back_as_written(tmp_path):
    path = clip(tmp_path / "x.mp4")
    with VideoReader(path) as reader:
        frames = list(reader)
        assert (reader.fps, reader.size_hw, reader.frame_count) == (FILM, (48, 64), 20)
    assert len(frames) == 20
    assert all(f.shape == (48, 64, 3) and f.dtype == np.uint8 for f in frames)
    for (y, x), want in {(12, 12): GREEN, (12, 50): RED, (40, 50): BLUE}.items():
        assert abs(frames[9][y, x].astype(int) - want).max() < 12, "colours: RGB, not BGR, and the same matrix"
    assert frames[9][1, 10].min() > 200 and frames[9][1, 30].max() < 240
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"]


def test_a_video_is_what_browsers_play(tmp_path):
    path = clip(tmp_path / "x.mp4")
    assert re.search(r"Video: h264 .*yuv420p\(tv, bt709.* 64x48.* 23\.98 fps", ffmpeg_says(path))
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("fps", [25, 12.5, Fraction(30000, 1001), Fraction(15000, 1001)])
def test_the_frame_rate_is_kept_exactly(tmp_path, fps):
    with VideoReader(clip(tmp_path / "x.mp4", 6, (32, 32), fps)) as reader:
        assert reader.fps == fps


@pytest.mark.parametrize("claimed", [0.0, -1.0, float("nan"), float("inf"), 90000.0])
def test_a_senseless_frame_rate_becomes_25(claimed):
    assert video._exact_rate(claimed) == 25


@pytest.mark.parametrize(("seconds", "kept"), [(3, 20 / FILM), (0.4, 0.4)])
def test_sound_is_kept_and_never_longer_than_the_picture(tmp_path, seconds, kept):
    path = clip(tmp_path / "x.mp4", sound_from=with_sound(tmp_path, seconds))
    assert "Audio: aac" in ffmpeg_says(path)
    assert sound_seconds(path) == pytest.approx(float(kept), abs=0.05)
    with VideoReader(path) as reader:
        assert len(list(reader)) == 20, "short sound must not cost a frame"


def test_a_source_without_sound_is_no_trouble(tmp_path):
    path = clip(tmp_path / "x.mp4", sound_from=clip(tmp_path / "mute.mp4"))
    assert "Audio" not in ffmpeg_says(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mute.mp4", "x.mp4"]


def test_sound_that_cannot_be_read_does_not_cost_the_picture(tmp_path):
    with pytest.raises(MediaError, match="has no sound"):
        clip(tmp_path / "x.mp4", sound_from=tmp_path / "none.mp4")
    with VideoReader(tmp_path / "x.mp4") as reader:
        assert len(list(reader)) == 20
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"]


def test_a_video_is_turned_as_its_file_says(tmp_path):
    source, turned = clip(tmp_path / "x.mp4"), tmp_path / "turned.mp4"
    command = [*video._ffmpeg(), "-display_rotation", "90", "-i", source, "-c", "copy", turned]
    subprocess.run(command, check=True)
    with VideoReader(turned) as reader:
        assert reader.size_hw == (64, 48)
        assert next(iter(reader)).shape == (64, 48, 3)


@pytest.mark.parametrize("content", [b"", b"not a video" * 100, None])
def test_what_is_no_video_is_named(tmp_path, content, capfd):
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=re.escape(str(path))):
        VideoReader(path)
    assert capfd.readouterr() == ("", ""), "one message, ours"


def test_a_video_without_frames_is_an_error(tmp_path):
    path = clip(tmp_path / "x.mp4")
    path.write_bytes(path.read_bytes()[:1500])  # the header alone
    with pytest.raises(MediaError, match="no frame"):
        VideoReader(path)


def test_an_exception_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "x.mp4", 25, (32, 32)) as out:
        out.write(np.zeros((32, 32, 3), np.uint8))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_ffmpegs_failure_is_told_in_its_words(tmp_path):
    with pytest.raises(MediaError, match="No such file or directory"):
        clip(tmp_path / "none" / "x.mp4", frames=500)


def test_no_frame_or_a_wrong_one_is_refused(tmp_path):
    with pytest.raises(MediaError, match="not one frame"), VideoWriter(tmp_path / "x.mp4", 25, (32, 32)):
        pass
    with pytest.raises(ValueError, match="uint8"), VideoWriter(tmp_path / "x.mp4", 25, (32, 32)) as out:
        out.write(np.zeros((32, 30, 3), np.uint8))
    assert not list(tmp_path.iterdir())
