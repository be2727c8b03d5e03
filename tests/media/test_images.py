"""Reading and writing of image files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.image_bytes import as_it_lies
from PIL import Image

from detect.errors import DiskError, MediaError, UsageError
from detect.io.files import make_folder
from detect.media.image_paths import find_all_images, find_images
from detect.media.images import image_hw, read_image, write_image

RED, GREEN, BLUE = (230, 20, 40), (30, 200, 60), (20, 40, 220)


def corners(hw: tuple[int, int] = (20, 30)) -> np.ndarray:
    """Red with a green upper left and a blue lower right quarter."""
    image = np.full((*hw, 3), RED, np.uint8)
    image[: hw[0] // 2, : hw[1] // 2] = GREEN
    image[hw[0] // 2 :, hw[1] // 2 :] = BLUE
    return image


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = corners()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "x.png", Image.fromarray(as_it_lies(upright, orientation)), exif=exif)
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
def test_every_color_mode_becomes_rgb(tmp_path, mode, value, rgb):
    suffix = ".tif" if mode in ("CMYK", "I;16") else ".png"
    image = read_image(saved(tmp_path / f"x{suffix}", Image.new(mode, (6, 4), value)))
    assert image.dtype == np.uint8 and image.shape == (4, 6, 3)
    assert image.flags.c_contiguous and image.flags.writeable
    assert image[2, 3].tolist() == list(rgb)


def test_transparent_palette_is_blended_with_white(tmp_path):
    image = Image.fromarray(corners()).quantize(8)
    path = saved(tmp_path / "x.png", image, transparency=image.getpixel((0, 0)))
    assert read_image(path)[0, 0].tolist() == [255, 255, 255]
    assert abs(read_image(path)[0, -1].astype(int) - RED).max() < 8


@pytest.mark.parametrize("read", [read_image, image_hw])
@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_file_that_is_not_an_image_is_named(tmp_path, read, content):
    path = tmp_path / "x.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=re.escape(str(path))):
        read(path)
    with pytest.raises(MediaError, match="folder"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".gif"])
def test_truncated_image_is_an_error(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / f"x{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match="x" + re.escape(suffix)):
        read_image(path)


def test_decompression_bomb_is_refused(tmp_path):
    for size, held in (("30000 30000", "900,000,000"), ("15000 12000", "180,000,000")):
        (tmp_path / "x.ppm").write_bytes(f"P6 {size} 255\n".encode() + b"\0" * 100)
        with pytest.raises(MediaError, match=f"has {held} pixels, more than the limit of .* make it smaller"):
            read_image(tmp_path / "x.ppm")


def test_images_are_found_by_file_folder_and_pattern(tmp_path):
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


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("photos [2024]/*.jpg", ["a.jpg", "b [1].jpg", "b [2].jpg"]),
        ("photos [[]2024]/*.jpg", ["a.jpg", "b [1].jpg", "b [2].jpg"]),
        ("*/*.jpg", ["a.jpg", "b [1].jpg", "b [2].jpg"]),
        ("photos [2024]/b [1].jpg", ["b [1].jpg"]),
        ("photos [2024]/b [*].jpg", ["b [1].jpg", "b [2].jpg"]),
        ("photos [2024]/[a].jpg", ["a.jpg"]),
        ("*/b [[]1].jpg", ["b [1].jpg"]),
        ("**/b [?].jpg", ["b [1].jpg", "b [2].jpg"]),
        ("photos [2024]", ["a.jpg", "b [1].jpg", "b [2].jpg"]),
        (" photos [2024]/a.jpg ", ["a.jpg"]),
        ("'photos [2024]/a.jpg'", ["a.jpg"]),
        ("photos [2024]\\a.jpg", ["a.jpg"]),
        ("photos\\ [2024]/a.jpg", ["a.jpg"]),
        ("photos [2024]\\*.jpg", ["a.jpg", "b [1].jpg", "b [2].jpg"]),
        ("photos [2024]/ ", ["a.jpg", "b [1].jpg", "b [2].jpg"]),
    ],
)
def test_existing_names_are_taken_literally_and_other_spellings_are_tried(tmp_path, monkeypatch, source, names):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos [2024]").mkdir()
    for name in ("a.jpg", "b [1].jpg", "b [2].jpg"):
        (tmp_path / "photos [2024]" / name).touch()
    assert [path.name for path in find_images(source)] == names
    (tmp_path / "photos 2").mkdir()
    (tmp_path / "photos 2" / "other.jpg").touch()  # what the pattern means if its folder is not taken literally
    if "*/" not in source:
        assert [path.name for path in find_images(source)] == names


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("photos [2024]/*.png", ["the folder photos [2024] exists, but not *.png"]),
        ("photos [2024]/a[1]*.png", ["the folder photos [2024] exists", "photos [2024]/a[[]1]*.png"]),
        ("photo [2024]/*.jpg", ["'photo [[]2024]/*.jpg'"]),
        ("photos [2024]/b.jpg", ["no such file", "the folder photos [2024] exists, but not b.jpg"]),
        ("C:\\photos\\a.jpg", ["a path of Windows"]),
        ("photos\\a.jpg", ["a path of Windows"]),
        ("  ", ["the input is empty"]),
    ],
)
def test_input_that_names_nothing_is_explained_in_one_line(tmp_path, monkeypatch, source, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos [2024]").mkdir()
    (tmp_path / "photos [2024]" / "a.jpg").touch()
    with pytest.raises(MediaError) as error:
        find_images(source)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value), error.value


def test_folder_without_images_is_an_error_only_if_no_other_input_has_one(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.jpg").touch()
    assert find_all_images([str(tmp_path / "empty"), str(tmp_path / "a.jpg")]) == [tmp_path / "a.jpg"]
    assert "no image in the folder" in capsys.readouterr().err
    for sources in ([str(tmp_path / "empty")], [], [str(tmp_path / "a.jpg"), str(tmp_path / "gone.jpg")]):
        with pytest.raises(MediaError):
            find_all_images(sources)


@pytest.mark.parametrize(("source", "words"), [("/none", "no such"), ("", "no image in"), ("/*.jpg", "no image")])
def test_finding_nothing_is_an_error(tmp_path, source, words):
    with pytest.raises(MediaError, match=words):
        find_images(f"{tmp_path}{source}")


def test_empty_input_is_not_the_current_folder():
    with pytest.raises(MediaError, match="the input is empty"):
        find_images("")


def test_tilde_is_the_home_folder_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "~nobody.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    assert find_images("~/a.png") == [tmp_path / "a.png"]
    assert find_images("~nobody.png") == [Path("~nobody.png")]
    with pytest.raises(MediaError, match="no such file"):
        find_images("~nobody_else.png")


def test_image_too_large_for_jpeg_is_an_error(tmp_path):
    with pytest.raises(MediaError, match=r"70000x1 pixels, but a side of a JPEG has at most 65,500"):
        write_image(tmp_path / "x.jpg", np.zeros((1, 70000, 3), np.uint8))


def test_written_image_has_its_colors_and_no_temporary_file_remains(tmp_path):
    for name in ("x.png", "x.jpg", "X.JPEG", "x.bmp"):
        write_image(tmp_path / name, corners())
        assert abs(read_image(tmp_path / name)[2, 2].astype(int) - GREEN).max() < 8
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", ["x.xyz", "x", "none/x.jpg"])
def test_image_that_cannot_be_written_is_named(tmp_path, name):
    with pytest.raises((MediaError, DiskError), match=re.escape(f"cannot write {tmp_path / name}")):
        write_image(tmp_path / name, corners())
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_created_is_an_error(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=re.escape(str(tmp_path / "file" / "x"))):
        make_folder(tmp_path / "file" / "x")
