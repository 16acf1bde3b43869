"""Metrics over the images of each value of a metadata column: modality, sex, age, skin type and whatever there is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.run_record import describe_metrics


def item_breakdowns(
    columns: Mapping[str, Sequence[str]], measure: Callable[[NDArray], Mapping[str, MetricValue]]
) -> list[dict[str, Any]]:
    """One entry a column: each of its values with the number of images, and metrics with n and interval.

    Args:
        columns: Name -> the value of each of the N images.
        measure: The metrics over some images, by their row numbers.
    """
    entries = []
    for name, values in columns.items():
        array = np.array(values, dtype=object)
        rows = []
        for key in sorted(set(values)):
            inside = np.flatnonzero(array == key)
            metrics = describe_metrics(measure(inside))["metrics"]
            rows.append({"key": key, "name": key or "(none)", "n": len(inside), "metrics": metrics})
        entries.append({"by": name, "rows": rows})
    return entries
