"""Kalman filter that predicts the box of a moving object."""

from __future__ import annotations

import numpy as np

# Standard deviations as fractions of the box's width (for x and width) or height (for y and height), those of SORT's
# successors: Wojke et al., "Simple Online and Realtime Tracking with a Deep Association Metric", 2017.
_POSITION = 1 / 20
_VELOCITY = 1 / 160


class BoxFilter:
    """State of one object: center, width and height of its box, and how fast they change.

    The model of the motion is a constant velocity with random changes. Each of the four coordinates has its own
    position and velocity, and the four do not influence each other. So the covariance of a coordinate is a symmetric
    2 x 2 matrix, and the filter needs no matrix algebra: all arrays below hold one number per coordinate [4].

    box: first detected box, xyxy in pixels. Times are in frames.
    """

    def __init__(self, box: np.ndarray) -> None:
        self._position = _center_size(box)
        self._velocity = np.zeros(4)
        self._variance = (2 * _POSITION * self._scale) ** 2  # of the position
        self._covariance = np.zeros(4)  # of position and velocity
        self._velocity_variance = (10 * _VELOCITY * self._scale) ** 2

    @property
    def box(self) -> np.ndarray:
        """Estimated box, float64 [4], xyxy in pixels."""
        center, half = self._position[:2], self._position[2:] / 2
        return np.concatenate([center - half, center + half])

    def predict(self, frames: float, *, keep_size: bool = False) -> None:
        """Advance the estimate by a number of frames.

        keep_size: assume that width and height no longer change, as for an object that is not detected: a half-hidden
            object seems to shrink, and its box would soon vanish.
        """
        if keep_size:
            self._velocity[2:] = 0
        self._position = self._position + frames * self._velocity
        self._position[2:] = np.maximum(self._position[2:], 1)  # a shrinking object stays an object
        self._variance = (
            self._variance
            + 2 * frames * self._covariance
            + frames**2 * self._velocity_variance
            + frames * (_POSITION * self._scale) ** 2
        )
        self._covariance = self._covariance + frames * self._velocity_variance
        self._velocity_variance = self._velocity_variance + frames * (_VELOCITY * self._scale) ** 2

    def update(self, box: np.ndarray) -> None:
        """Correct the estimate with a detected box, xyxy in pixels."""
        error = _center_size(box) - self._position
        total = self._variance + (_POSITION * self._scale) ** 2
        gain, velocity_gain = self._variance / total, self._covariance / total
        self._position = self._position + gain * error
        self._velocity = self._velocity + velocity_gain * error
        self._velocity_variance = self._velocity_variance - velocity_gain * self._covariance
        self._covariance = (1 - gain) * self._covariance
        self._variance = (1 - gain) * self._variance

    def rescale(self, ratio_xy: np.ndarray) -> None:
        """Multiply the estimate by the ratios of width and height of a new size of the frames, [2]."""
        ratio = np.tile(ratio_xy, 2)
        self._position, self._velocity = self._position * ratio, self._velocity * ratio
        self._variance, self._covariance = self._variance * ratio**2, self._covariance * ratio**2
        self._velocity_variance = self._velocity_variance * ratio**2

    @property
    def _scale(self) -> np.ndarray:
        """Width and height, twice: the unit of the standard deviations."""
        return np.tile(self._position[2:], 2)


def _center_size(box: np.ndarray) -> np.ndarray:
    """Return (center x, center y, width, height) of a box xyxy; a side has at least one pixel."""
    x0, y0, x1, y1 = box.astype(np.float64)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, 1), max(y1 - y0, 1)])
