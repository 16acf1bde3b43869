"""What an evaluator of classes returns."""

from dataclasses import dataclass, field
from typing import Any

from phenolip.eval.evaluators.base import MetricValue


@dataclass(frozen=True, slots=True)
class ClassResults:
    """Numbers of a class task.

    Attributes:
        metrics: Name -> value, interval and number of images.
        checks: Name of a control -> what it found.
        details: More for results.json: classes, calibration, seeds.
    """

    metrics: dict[str, MetricValue]
    checks: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)
