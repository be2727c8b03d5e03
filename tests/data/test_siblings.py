"""Names of images that come from one source: which are grouped, and which are not."""

from __future__ import annotations

import numpy as np
import pytest

from detect.data.near_duplicates import signatures as signatures_of
from detect.data.siblings import clip_groups, sibling_leaks, source_groups

OTHERS = [f"x{letter}.jpg" for letter in "abcdefgh"]
HASHES = ["0f" * 16, "1e" * 16, "XbQ2mR7tLk9pWz4nJc8v"]


def grouped(names: list[str]) -> list[list[str]]:
    """Return the groups of more than one name, in the order of the names."""
    groups = source_groups(names).tolist()
    members = [
        [name for name, group in zip(names, groups, strict=True) if group == one] for one in dict.fromkeys(groups)
    ]
    return [group for group in members if len(group) > 1]


@pytest.mark.parametrize(
    "names",
    [
        [f"cat_jpg.rf.{digest}.jpg" for digest in HASHES],
        [f"cat_1_jpeg.rf.{digest}.jpg" for digest in HASHES],
        ["cat.jpg", "cat_aug1.jpg", "cat_augmented_2.jpg", "cat-aug-3.png"],
        ["cat_aug_0.jpg", "cat_aug_1.jpg"],
        ["aug_0_cat.jpg", "aug_1_cat.jpg", "cat.jpg"],
        ["cat.jpg", "cat (1).jpg", "cat(2).jpg"],
        ["cat.jpg", "cat copy.jpg", "cat copy 2.jpg", "cat - Copy.jpg", "cat - Copy (2).jpg", "Copy of cat.jpg"],
        ["cat.jpg", "cat_flip.jpg", "cat_flipped.jpg", "cat_rot90.jpg", "cat_blur.png", "cat_flip_rot90.jpg"],
        ["cat_flip.jpg", "cat_rot90.jpg"],
        ["cat_original.jpg", "cat_hflip.jpg"],
        ["CAT.JPG", "cat_Flip.jpg"],
        ["a/cat.jpg", "a/cat_flip.jpg"],
        ["train/cat.jpg", "val/cat_flip.jpg"],
    ],
)
def test_copies_of_one_image_are_grouped(names):
    assert grouped([*OTHERS[:4], *names, *OTHERS[4:]]) == [names]


@pytest.mark.parametrize(
    "names",
    [
        [f"img_{i:03d}.jpg" for i in range(500)],
        [f"image ({i}).jpg" for i in range(1, 60)],
        ["download.jpg", *(f"download ({i}).jpg" for i in range(1, 30))],
        ["download.jpg", *(f"download ({i}).jpg" for i in range(1, 7))],
        ["scan (1).jpg", "scan (2).jpg"],
        ["a/1.jpg", "b/1.jpg"],
        ["cat_1.jpg", "cat_2.jpg", "dog_1.jpg"],
        ["lone_flip.jpg", "other.jpg"],
        [f"flip_{i}.jpg" for i in range(9)],
        [f"image_jpg.rf.{i:032x}.jpg" for i in range(40)],  # one name for all uploads
        ["photocopy.jpg", "photo.jpg", "pilot.jpg", "pilot_light.jpg"],
    ],
)
def test_different_images_are_not_grouped(names):
    assert grouped([*OTHERS, *names]) == []


def signatures(*clips: int) -> np.ndarray:
    """Return a signature per frame of clips with these numbers of frames; neighbors are similar."""
    rng = np.random.default_rng(0)
    rows = []
    for frames in clips:
        one, other = rng.standard_normal((2, 200))
        for angle in np.linspace(0, 1.5, frames):
            rows.append(np.cos(angle) * one + np.sin(angle) * other)
    return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


def test_frames_of_clips_are_grouped_if_neighbors_are_similar():
    sizes = [12] * 8
    names = [f"cam{clip}_{frame:06d}.jpg" for clip, size in enumerate(sizes) for frame in range(size)]
    groups = clip_groups(names, signatures(*sizes))
    assert len(np.unique(groups)) == 8
    assert all(len(set(groups[12 * clip : 12 * (clip + 1)].tolist())) == 1 for clip in range(8))
    assert len(np.unique(clip_groups(names))) == len(names), "names alone do not say so"
    other = np.random.default_rng(1).standard_normal((len(names), 200)).astype(np.float32)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    assert len(np.unique(clip_groups(names, other))) == len(names), "numbered images that differ"


def test_identical_images_with_numbers_are_no_clip_whatever_rounding_makes_of_them():
    names = [f"{i}.png" for i in range(10)]
    for seed in range(100):
        thumbnail = np.random.default_rng(seed).integers(0, 256, (1, 16, 16, 3), np.uint8)
        vectors = np.tile(signatures_of(thumbnail), (10, 1))
        assert len(np.unique(clip_groups(names, vectors))) == 10


@pytest.mark.parametrize("name", ["walk_mp4-{0}_jpg.rf.{0:032x}.jpg", "video1_frame_{0}.jpg", "clip3_{0:06d}.jpg"])
def test_words_for_clips_in_names_suffice(name):
    names = [name.format(i) for i in range(6)] + [f"x{chr(i)}.jpg" for i in range(200, 240)]
    groups = clip_groups(names)
    assert len(set(groups[:6].tolist())) == 1 and len(np.unique(groups)) == 41


@pytest.mark.parametrize("clips", [1, 2])
def test_a_clip_with_most_of_the_images_is_divided_into_ranges_of_consecutive_frames(clips):
    names = [f"clip{clip}_{frame:05d}.jpg" for clip in range(clips) for frame in range(100)]
    shuffled = np.random.default_rng(0).permutation(len(names))
    groups = clip_groups([names[i] for i in shuffled])[np.argsort(shuffled)]
    _, sizes = np.unique(groups, return_counts=True)
    assert 10 <= len(sizes) <= 40 and sizes.max() <= 0.15 * len(names)
    changes = np.flatnonzero(np.diff(groups))
    assert len(changes) == len(sizes) - 1, "each range is contiguous"


def test_siblings_in_another_split_are_leaks_of_the_later_split():
    leaks = sibling_leaks(
        {
            "train": ["cat.jpg", "dog_jpg.rf.00000000.jpg", "only.jpg"],
            "val": ["cat_aug1.jpg", "new.jpg"],
            "test": ["dog_jpg.rf.11111111.jpg", "new_flip.jpg", "alone.jpg"],
        }
    )
    assert {split: [tuple(leak) for leak in found] for split, found in leaks.items()} == {
        "train": [],
        "val": [(0, "cat.jpg", "train")],
        "test": [(0, "dog_jpg.rf.00000000.jpg", "train"), (1, "new.jpg", "val")],
    }


@pytest.mark.parametrize("name", ["{:04d}.jpg", "{:04d}_flip.jpg", "img ({}).jpg", "frame_{:06d}.jpg", "{}_aug1.jpg"])
def test_images_that_are_numbered_in_each_split_are_no_siblings(name):
    names = [f"{i:04d}.jpg" for i in range(6)] + [name.format(i) for i in range(6)]
    leaks = sibling_leaks({"train": [f"train/{n}" for n in names], "val": [f"val/{n}" for n in names[2:]]})
    assert leaks == {"train": [], "val": []}


def test_equal_names_of_roboflow_copies_are_siblings():
    assert sibling_leaks({"train": ["a_jpg.rf.00000000.jpg"], "val": ["a_jpg.rf.11111111.jpg"]})["val"]


def test_frames_of_one_of_many_clips_in_two_splits_are_leaks():
    several = {
        "train": [f"video_{clip}_{i:04d}.jpg" for clip in "abcdefgh" for i in range(5)],
        "val": ["video_a_0005.jpg", "video_z_0001.jpg"],
    }
    assert [leak.row for leak in sibling_leaks(several)["val"]] == [0]


@pytest.mark.parametrize(("in_val", "leaks"), [(range(50, 60), 0), (range(0, 60, 7), 9)])
def test_a_long_clip_leaks_if_it_is_split_frame_by_frame(in_val, leaks):
    frames = [f"frame_{i:04d}.jpg" for i in range(60)]
    val = [frames[i] for i in in_val]
    train = [frame for frame in frames if frame not in val]
    assert len(sibling_leaks({"train": train, "val": val})["val"]) == leaks
    numbered = {split: [n.replace("frame", "img") for n in of] for split, of in (("train", train), ("val", val))}
    assert sibling_leaks(numbered)["val"] == [], "numbers alone are no frames"


def test_clips_are_recognized_by_their_images_too():
    names = {
        "train": [f"cam{clip}_{i}.jpg" for clip in range(9) for i in range(8)],
        "val": [f"cam{clip}_{i}.jpg" for clip in range(9) for i in range(8, 12)],
    }
    vectors = signatures(*[12] * 9).reshape(9, 12, -1)
    of_split = {"train": vectors[:, :8].reshape(72, -1), "val": vectors[:, 8:].reshape(36, -1)}
    assert len(sibling_leaks(names, of_split)["val"]) == 36


def test_no_names_have_no_siblings():
    assert sibling_leaks({"train": [], "val": []}) == {"train": [], "val": []}
    assert len(source_groups([])) == 0


def test_splits_without_images_have_no_siblings():
    assert sibling_leaks({"train": [], "val": []}, dict.fromkeys(("train", "val"), np.zeros((0, 4)))) == {
        "train": [],
        "val": [],
    }
