"""Rendered images and video of input/, each with its ground truth as a COCO file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from detect.data.synthetic.balloons import Balloon
from detect.data.synthetic.canvas import Image, to_uint8
from detect.data.synthetic.coco_file import CocoGroundTruth
from detect.data.synthetic.scene_backgrounds import PHOTOGRAPHS, meadow, sky
from detect.data.synthetic.scenes import (
    BALLOON_ID,
    LATEX,
    Placement,
    compose,
    draw,
    light_for,
    make_balloons,
    scattered,
    string_points,
)
from detect.media.images import read_image
from detect.media.video_writer import VideoWriter

# Names an earlier module; kept, so that the files stay byte-identical.
DESCRIPTION = "rendered by python -m detect.data.synthetic.datasets input"
CATEGORIES = {BALLOON_ID: "balloon"}
VIDEO_HW, VIDEO_FPS, VIDEO_SECONDS = (360, 640), 24, 10
_SEEDS = {"balloons_1": 46, "balloons_2": 34, "balloons": 13}


def render_inputs(folder: Path) -> None:
    """Write balloons_1.jpg, balloons_2.jpg and balloons.mp4 into ``folder``, each with a COCO file."""
    for name, render in (("balloons_1", _balloons_1), ("balloons_2", _balloons_2)):
        ground_truth = CocoGroundTruth(CATEGORIES, DESCRIPTION)
        ground_truth.write_image(folder / f"{name}.jpg", render(np.random.default_rng(_SEEDS[name])))
        ground_truth.write(folder / f"{name}.json")
    _video(np.random.default_rng(_SEEDS["balloons"]), folder / "balloons.mp4")


def _balloons_1(rng: np.random.Generator) -> Image:
    """Return ten balloons over a meadow: a bunch of six, two in the air and two in the grass."""
    canvas = meadow(rng, (600, 900))
    hand = (350.0, 590.0)
    placements = [
        Placement(252, 205, 72, -0.35, hand),
        Placement(430, 190, 70, 0.3, hand),
        Placement(340, 130, 74, 0.0, hand),
        Placement(290, 290, 70, -0.2, hand),
        Placement(412, 290, 68, 0.22, hand),
        Placement(350, 235, 76, 0.02, hand),
        Placement(655, 120, 44, 0.15, (668, 270)),
        Placement(800, 235, 27, -0.2, (790, 330)),
        Placement(640, 505, 62, 1.9),
        Placement(752, 520, 66, -2.2),
    ]
    return compose(canvas, make_balloons(placements, rng, shadow=0.08), light_for(canvas, rng), rng)


def _balloons_2(rng: np.random.Generator) -> Image:
    """Return many small balloons in the sky."""
    canvas = sky(rng, (800, 1200))
    balloons = make_balloons(scattered(rng, (800, 1200), count=60), rng, shadow=0.0)
    return compose(canvas, balloons, light_for(canvas, rng), rng)


@dataclass(frozen=True)
class Flight:
    """Motion of one balloon of the video.

    balloon: the balloon at rest.
    start_xy: start, px.
    velocity_xy: px/s.
    sway, period, phase: amplitude in px, period in s and phase in radians of the horizontal oscillation.
    """

    balloon: Balloon
    start_xy: tuple[float, float]
    velocity_xy: tuple[float, float]
    sway: float
    period: float
    phase: float

    def at(self, seconds: float) -> Balloon:
        """Return the balloon at a time in seconds, with its string trailing behind."""
        turn = 2 * np.pi * seconds / self.period + self.phase
        x = self.start_xy[0] + self.velocity_xy[0] * seconds + self.sway * np.sin(turn)
        y = self.start_xy[1] + self.velocity_xy[1] * seconds
        balloon = replace(self.balloon, center_xy=(x, y), angle=0.16 * np.cos(turn))
        end = balloon.knot_xy + np.array([-0.5 * self.sway * np.cos(turn), 2.4 * balloon.radius])
        # The same seed in every frame, so that the string keeps its shape.
        return replace(balloon, string=string_points(balloon.knot_xy, end, np.random.default_rng(7)))


def _video(rng: np.random.Generator, path: Path) -> None:
    """Write a video of balloons rising in front of a photograph, with a box per frame and visible balloon."""
    canvas = _video_background()
    flights, light = _flights(rng, count=14), light_for(canvas, rng)
    ground_truth = CocoGroundTruth(CATEGORIES, f"{DESCRIPTION}; one image per frame")
    with VideoWriter(path, VIDEO_FPS, VIDEO_HW) as video:
        for frame in range(VIDEO_FPS * VIDEO_SECONDS):
            image = canvas.copy()
            # Balloons are drawn however small their visible part, so that none appears suddenly at the border.
            parts = draw(image, [f.at(frame / VIDEO_FPS) for f in flights], light, min_fraction=0.0)
            video.write(to_uint8(image))
            image_id = ground_truth.add_image(path.name, VIDEO_HW, frame=frame)
            for track, part in enumerate(parts, start=1):
                if part is not None:
                    ground_truth.add_annotation(image_id, BALLOON_ID, part, with_mask=False, track_id=track)
    ground_truth.write(path.with_suffix(".json"))


def _video_background() -> np.ndarray:
    """Return a slightly blurred photograph of a cat, float32 [360, 640, 3], values 0..1."""
    height, width = VIDEO_HW
    photograph = read_image(PHOTOGRAPHS[1])
    rows = photograph.shape[1] * height // width
    top = (photograph.shape[0] - rows) // 3
    large = cv2.resize(photograph[top : top + rows], (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(large, (0, 0), 1.2).astype(np.float32) / 255


def _flights(rng: np.random.Generator, count: int) -> list[Flight]:
    """Return flights from below the image to above it, sorted from far and slow to near and fast."""
    height, width = VIDEO_HW
    color = rng.permutation(len(LATEX))[:count]
    radii = np.sort(rng.uniform(16, 52, count))
    columns = rng.permutation(np.linspace(0.08, 0.92, count)) * width
    depths = rng.permutation(np.linspace(0.3, 2.2, count))  # start, in multiples of the image height
    flights = []
    for n in range(count):
        stretch = rng.uniform(1.1, 1.25)
        balloon = Balloon(
            (0, 0), radii[n], LATEX[color[n]], stretch=stretch, knot=stretch, taper=rng.uniform(0.2, 0.45),
            opacity=rng.uniform(0.8, 0.98), blur=0.6, shadow=0.05,
        )  # fmt: skip
        rise = 34 + 0.4 * radii[n] + rng.uniform(0, 10)
        start = (columns[n], depths[n] * height)
        velocity = (rng.uniform(-9, 9), -rise)
        flights.append(Flight(balloon, start, velocity, rng.uniform(4, 12), rng.uniform(3, 5), rng.uniform(0, 6)))
    return flights
