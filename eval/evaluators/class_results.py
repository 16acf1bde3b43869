"""What an evaluator of classes or masks returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.item_scores import ItemPixels, ItemScores


@dataclass(frozen=True, slots=True)
class ClassResults:
    """Numbers of a task over classes or masks.

    Attributes:
        metrics: Name -> value, interval and number of images.
        checks: Name of a control -> what it found.
        details: More for results.json: classes, calibration, seeds.
        items: Truth and answer of every image, from which the metrics can be counted again.
        measure_rows: The metrics over some test images, by their row numbers; the main ones alone where the second
            argument is true.
    """

    metrics: dict[str, MetricValue]
    checks: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)
    items: Sequence[ItemScores | ItemPixels] = ()
    measure_rows: Callable[[NDArray, bool], dict[str, MetricValue]] = lambda rows, main: {}
