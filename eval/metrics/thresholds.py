"""Per-class decisions by a threshold at maximal F1, as MedFILIP (arXiv 2501.10775) reports them.

The published protocol fits the threshold on the data that it scores. Such numbers are called ``oracle`` here; what a
user can expect is the same with thresholds fitted on validation data, which stands beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics.curves import check_scores, cumulative_counts, roc_area, step_area, top_precision
from phenolip.exceptions import ConfigurationError, DataError

ORACLE = "oracle"  # in the name of every number whose threshold was fitted on the data that it scores
CUTOFFS = (1, 5, 10)
_PER_CLASS = ("f1", "accuracy", "threshold", "auroc", "auprc")


@dataclass(frozen=True, slots=True)
class ThresholdMetrics:
    """Numbers of C classes; NaN where a class cannot be scored.

    Attributes:
        fit_on: "test" where thresholds were fitted on what they score, else "val".
        threshold: (C,) predict the class where its score is at least this.
        f1: (C,) F1 at the threshold.
        accuracy: (C,) share of images that the threshold decides rightly.
        auroc: (C,) area under the ROC curve.
        auprc: (C,) average precision.
        precision_at: Cutoff -> (C,) share of positives among as many highest scores.
        num_positive: (C,) images that show the class.
        num_negative: (C,) images that do not; uncertain ones count in neither.
        excluded: Class -> why it has no number and stays out of the means.
    """

    fit_on: str
    threshold: NDArray
    f1: NDArray
    accuracy: NDArray
    auroc: NDArray
    auprc: NDArray
    precision_at: dict[int, NDArray]
    num_positive: NDArray
    num_negative: NDArray
    excluded: dict[int, str]

    @property
    def num_classes_scored(self) -> int:
        """Classes that the means are over."""
        return len(self.threshold) - len(self.excluded)

    def macro(self) -> dict[str, float]:
        """Means over the classes that can be scored; those that need a threshold say how it was fitted."""
        kept = [column for column in range(len(self.threshold)) if column not in self.excluded]
        fitted = ORACLE if self.fit_on == "test" else "val_fitted"
        named = {
            f"macro_f1_{fitted}": self.f1,
            f"macro_accuracy_at_f1_{fitted}": self.accuracy,
            "macro_auroc": self.auroc,
            "macro_auprc": self.auprc,
            **{f"macro_precision_at_{k}": values for k, values in self.precision_at.items()},
        }
        return {name: float(values[kept].mean()) if kept else float("nan") for name, values in named.items()}


def threshold_metrics(
    scores: NDArray,
    labels: NDArray,
    mask: NDArray | None = None,
    fit_on: Literal["test", "val"] = "val",
    *,
    validation: tuple[NDArray, NDArray] | None = None,
    validation_mask: NDArray | None = None,
    thresholds: NDArray | None = None,
    ks: Sequence[int] = CUTOFFS,
) -> ThresholdMetrics:
    """F1 and accuracy at the threshold of maximal F1, and areas that need none, class by class.

    Args:
        scores: (N, C) the higher, the more likely.
        labels: (N, C) of 1, 0, or -1 for uncertain.
        mask: (N, C) False where a label is uncertain.
        fit_on: "val" fits thresholds on `validation`; "test" on what is scored, for comparison with published tables.
        validation: Scores (V, C) and labels (V, C) of other images.
        validation_mask: (V, C) False where a label of these is uncertain.
        thresholds: (C,) thresholds that were fitted on `validation` before, for a bootstrap, instead of it.
        ks: Cutoffs of precision among the highest scores.

    Raises:
        ConfigurationError: `fit_on` is unknown, or "val" comes without `validation`.
        DataError: Shapes differ, or a score is not finite.

    Example:
        >>> found = threshold_metrics([[0.9], [0.8], [0.7], [0.2]], [[1], [0], [1], [0]], fit_on="test")
        >>> found.threshold.tolist(), found.f1.tolist(), found.accuracy.tolist()
        ([0.7], [0.8], [0.75])
    """
    if fit_on not in ("test", "val"):
        raise ConfigurationError(f"`fit_on` must be 'test' or 'val', got {fit_on!r}.")
    if fit_on == "val" and validation is None and thresholds is None:
        raise ConfigurationError("`validation` must be given where `fit_on` is 'val', got none.")
    scores, labels, known = _table(scores, labels, mask)
    if thresholds is None or fit_on == "test":
        fit = (scores, labels, known) if fit_on == "test" else _table(*validation, validation_mask)
        thresholds, reasons = _fit_thresholds(*fit)
    else:
        reasons = ["" if np.isfinite(threshold) else "no threshold" for threshold in thresholds]
    if len(thresholds) != scores.shape[1]:
        raise DataError(f"`validation` must have {scores.shape[1]} classes, got {len(thresholds)}.")
    num_classes = scores.shape[1]
    values = {name: np.full(num_classes, np.nan) for name in _PER_CLASS}
    precision_at = {k: np.full(num_classes, np.nan) for k in ks}
    excluded: dict[int, str] = {}
    for column in range(num_classes):
        rows = known[:, column]
        column_scores, column_labels = scores[rows, column], labels[rows, column]
        reason = _missing(column_labels, "") or reasons[column]
        if reason:
            excluded[column] = reason
            continue
        threshold = float(thresholds[column])
        f1, accuracy = decide(column_scores, column_labels, threshold)
        _, *counts = cumulative_counts(column_scores, column_labels == 1)
        areas = (roc_area(*counts), step_area(*counts))
        for name, value in zip(_PER_CLASS, (f1, accuracy, threshold, *areas), strict=True):
            values[name][column] = value
        for k in ks:
            precision_at[k][column] = top_precision(*counts, k)
    return ThresholdMetrics(
        fit_on=fit_on,
        precision_at=precision_at,
        num_positive=((labels == 1) & known).sum(axis=0),
        num_negative=((labels == 0) & known).sum(axis=0),
        excluded=excluded,
        **values,
    )


def best_threshold(scores: NDArray, labels: NDArray) -> float:
    """The score t for which "score >= t" has the highest F1; ties go to higher accuracy, then to higher t.

    Raises:
        DataError: No item is positive, so that no threshold has an F1.

    Example:
        >>> best_threshold([0.9, 0.8, 0.7, 0.6, 0.55, 0.3, 0.2], [1, 0, 1, 1, 0, 0, 1])
        0.6
    """
    scores, labels = check_scores(scores, labels)
    if not labels.any():
        raise DataError("A threshold needs at least one positive label, got none.")
    thresholds, true_positives, predicted = cumulative_counts(scores, labels)
    f1 = 2 * true_positives / (predicted + labels.sum())  # one rounding each: equal ratios give equal floats
    gain = 2 * true_positives - predicted  # accuracy but for a constant and a factor, in whole numbers
    best = np.lexsort((np.arange(len(f1)), -gain, -f1))[0]  # thresholds fall: the first is the highest
    return float(thresholds[best])


def decide(scores: NDArray, labels: NDArray, threshold: float) -> tuple[float, float]:
    """F1 and accuracy of "score >= threshold"; F1 is 0 where nothing is positive and nothing predicted so."""
    scores, labels = check_scores(scores, labels)
    predicted = scores >= threshold
    involved = int(predicted.sum()) + int(labels.sum())
    f1 = 2 * int((predicted & labels).sum()) / involved if involved else 0.0
    return f1, float((predicted == labels).mean())


def _fit_thresholds(scores: NDArray, labels: NDArray, known: NDArray) -> tuple[NDArray, list[str]]:
    """(C,) thresholds, NaN where there is none, and why."""
    thresholds, reasons = np.full(scores.shape[1], np.nan), []
    for column in range(scores.shape[1]):
        rows = known[:, column]
        reasons.append(_missing(labels[rows, column], " in validation"))
        if not reasons[-1]:
            thresholds[column] = best_threshold(scores[rows, column], labels[rows, column])
    return thresholds, reasons


def _table(scores: NDArray, labels: NDArray, mask: NDArray | None) -> tuple[NDArray, NDArray, NDArray]:
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    known = labels >= 0 if mask is None else np.asarray(mask, bool) & (labels >= 0)
    if scores.ndim != 2 or not scores.shape == labels.shape == known.shape:
        raise DataError(
            "`scores`, `labels` and `mask` must be tables of one shape, images by classes, got "
            f"{scores.shape}, {labels.shape} and {known.shape}."
        )
    return scores, labels, known


def _missing(labels: NDArray, where: str) -> str:
    if not (labels == 1).any():
        return f"no positive{where}"
    return "" if (labels == 0).any() else f"no negative{where}"
