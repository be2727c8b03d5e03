"""Coverage of the 95 % intervals of AP, by simulation: how many of them contain the AP of 100,000 images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import report
from benchmarks.report import Result
from benchmarks.settings import IntervalsSettings
from detect import progress
from detect.evaluation.half_samples import Matches, average_precisions, half_samples, nan_mean
from detect.evaluation.intervals import (
    images_with_objects,
    interval_of_difference,
    interval_of_fraction,
    with_all_images,
)

METRICS = ("AP", "AP50")
_TRUE_IMAGES = 100_000
_IOU_LEVELS = np.linspace(-0.3, 2.5, 10)  # quality from which a detection is correct at each IoU threshold


@dataclass(frozen=True)
class Scenario:
    """Simulated detections of a model.

    classes: number of classes.
    present: lowest and highest fraction of the images that have objects of a class; classes lie between on a
        logarithmic scale.
    noisy: whether scores say nothing about correctness.
    quality: mean quality of a detection of an object; 1.2 gives an AP of about 0.5.
    false_positives: mean number per image and class.
    """

    classes: int = 1
    present: tuple[float, float] = (1.0, 1.0)
    noisy: bool = False
    quality: float = 1.2
    false_positives: float = 2.0

    @property
    def fractions(self) -> np.ndarray:
        """Fraction of the images that have objects of each class, float64 [K]."""
        return np.geomspace(*self.present, self.classes)


SCENARIOS = {
    "informative, 1 class": Scenario(),
    "noisy, 1 class": Scenario(noisy=True),
    "informative, 3 classes": Scenario(3),
    "noisy, 3 classes": Scenario(3, noisy=True),
    "informative, 20 classes in 5 to 50 % of the images": Scenario(20, (0.05, 0.5)),
    "noisy, 20 classes in 5 to 50 % of the images": Scenario(20, (0.05, 0.5), noisy=True),
    "nearly perfect, 1 class": Scenario(quality=3.5, false_positives=0.5),
}


def run(settings: IntervalsSettings) -> Result:
    """Simulate test sets of each scenario and size, and two equal models on the same images."""
    rows, facts = [], []
    tasks = [(name, images) for name in SCENARIOS for images in settings.images]
    for name, images in progress.bar(tasks, desc="simulation"):
        covered, true = coverage(SCENARIOS[name], images, settings.simulations)
        rows.append([name, str(images), f"{true[0]:.3f}", f"{true[1]:.3f}", *(f"{100 * c:.1f} %" for c in covered)])
        facts.append({"scenario": name, "images": images, "true": true.tolist(), "covered": covered.tolist()})
    equal = {images: declared_different(Scenario(3), images, settings.simulations) for images in settings.images}
    table = report.table(("scores, classes", "images", "true AP", "true AP50", "AP covered", "AP50 covered"), rows)
    words = ", ".join(f"{100 * fraction:.1f} % at {images} images" for images, fraction in equal.items())
    text = (
        f"{settings.simulations} simulations for each row.\n\n{table}\n\nTwo equal models (informative, 3 classes) are"
        f" declared different in {words}."
    )
    return text, {"coverage": facts, "equal_models_declared_different": equal}


def coverage(scenario: Scenario, images: int, simulations: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the fraction of the intervals of AP and AP50 that contain the true value, and the true values.

    Both float64 [2]. seed: of all random numbers.
    """
    rng = np.random.default_rng(seed)
    true = nan_mean(average_precisions(simulate(scenario, _TRUE_IMAGES, rng), np.ones((1, _TRUE_IMAGES), bool)))[:, 0]
    covered = np.zeros(len(METRICS))
    for number in range(simulations):
        matches = simulate(scenario, images, rng)
        values = average_precisions(matches, _samples(images, number))
        for m in range(len(METRICS)):
            low, high = interval_of_fraction(values[:, m], images_with_objects(matches))
            covered[m] += low <= true[m] <= high
    return covered / simulations, true


def declared_different(scenario: Scenario, images: int, simulations: int, *, seed: int = 0) -> float:
    """Return the fraction of the pairs of equal models whose interval of the difference of AP excludes 0."""
    rng = np.random.default_rng(seed)
    different = 0
    for number in range(simulations):
        scenes = _scenes(scenario, images, rng)
        samples = _samples(images, number)
        one, other = (average_precisions(_detect(scenario, *scenes, rng), samples)[:, 0] for _ in range(2))
        low, high = interval_of_difference(other - one, images)
        different += low > 0 or high < 0
    return different / simulations


def simulate(scenario: Scenario, images: int, rng: np.random.Generator) -> list[Matches]:
    """Return the matched detections of each class in ``images`` images of different difficulty."""
    return _detect(scenario, *_scenes(scenario, images, rng), rng)


def _scenes(
    scenario: Scenario, images: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Return the difficulty of each image, float64 [I], and of each class the number of objects per image, int64 [I],
    and the quality of a detection of each object before the model's own part, float64 [N]."""
    difficulty = rng.normal(0, 1, images)
    classes = []
    for fraction in scenario.fractions:
        objects = (rng.random(images) < fraction) * (1 + rng.poisson(2, images))
        classes.append((objects, np.repeat(-0.7 * difficulty, objects) + rng.normal(0, 0.7, objects.sum())))
    return difficulty, classes


def _detect(
    scenario: Scenario,
    difficulty: np.ndarray,
    classes: Sequence[tuple[np.ndarray, np.ndarray]],
    rng: np.random.Generator,
) -> list[Matches]:
    matches = []
    for fraction, (objects, common) in zip(scenario.fractions, classes, strict=True):
        images = np.arange(len(difficulty))
        wrong = rng.poisson(scenario.false_positives * fraction * np.exp(0.5 * difficulty - 0.125))
        quality = scenario.quality + common + rng.normal(0, 0.7, len(common))
        scores = np.concatenate([quality + rng.normal(0, 0.7, len(quality)), rng.normal(-0.6, 1.1, wrong.sum())])
        image = np.concatenate([np.repeat(images, objects), np.repeat(images, wrong)])
        correct = np.zeros((len(_IOU_LEVELS), len(scores)), bool)
        correct[:, : len(quality)] = quality > _IOU_LEVELS[:, None]
        order = rng.permutation(len(scores)) if scenario.noisy else np.argsort(-scores)
        matches.append(Matches(image[order], correct[:, order], np.ones_like(correct), objects))
    return matches


def _samples(images: int, seed: int) -> np.ndarray:
    return with_all_images(half_samples(images, 50, seed))
