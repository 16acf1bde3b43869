"""Whether confidences mean what they say, and when to answer "none of these"."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError

NUM_BINS = 15  # Guo et al. 2017, arXiv 1706.04599
Binning = Literal["equal_width", "equal_mass"]
_GOLDEN = (5**0.5 - 1) / 2
_LOG_TEMPERATURES = (-7.0, 7.0)  # e^-7 to e^7: from a hundred-thousandth of the usual 1/100 to no opinion at all
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One row of a reliability table.

    Attributes:
        lower: Lowest confidence of the bin: its edge for equal width, the lowest that occurs for equal mass.
        upper: Highest confidence, likewise.
        n: Predictions in the bin.
        confidence: Their mean confidence.
        accuracy: Share of them that is right.
        ci95: Wilson 95 % interval of the accuracy.
    """

    lower: float
    upper: float
    n: int
    confidence: float
    accuracy: float
    ci95: tuple[float, float]


def reliability_table(
    confidences: NDArray, correct: NDArray, *, binning: Binning = "equal_width", num_bins: int = NUM_BINS
) -> list[ReliabilityBin]:
    """Confidence against accuracy, bin by bin; empty bins are left out.

    Args:
        confidences: (N,) probability of the answer that was given.
        correct: (N,) whether it was right.
        binning: "equal_width" cuts 0 to 1 into equal parts, closed above; "equal_mass" puts about as many predictions
            into each, equal confidences always into one.
        num_bins: Bins at most.

    Raises:
        ConfigurationError: `binning` is unknown or `num_bins` below 1.
        DataError: There is no prediction, or a confidence outside 0 to 1.
    """
    confidences, correct = _check_confidences(confidences, correct)
    codes = _bins(confidences, binning, num_bins)
    rows = []
    for code in np.unique(codes):
        inside = codes == code
        edges = (code / num_bins, (code + 1) / num_bins)
        if binning == "equal_mass":
            edges = (confidences[inside].min(), confidences[inside].max())
        n, right = int(inside.sum()), int(correct[inside].sum())
        mean = float(confidences[inside].mean())
        rows.append(ReliabilityBin(float(edges[0]), float(edges[1]), n, mean, right / n, wilson_interval(right, n)))
    return rows


def calibration_errors(values: Mapping[str, float]) -> NDArray:
    """(M,) those of some named values that are expected calibration errors, NaN for the others."""
    return np.array([value if name.startswith("ece_") else np.nan for name, value in values.items()])


def expected_calibration_error(
    confidences: NDArray, correct: NDArray, *, binning: Binning = "equal_width", num_bins: int = NUM_BINS
) -> float:
    """Mean distance between confidence and accuracy of the bins, weighted by their size.

    Example:
        >>> round(expected_calibration_error([0.9, 0.9, 0.6, 0.6], [1, 1, 1, 0]), 4)
        0.1
    """
    confidences, correct = _check_confidences(confidences, correct)
    gaps = np.bincount(_bins(confidences, binning, num_bins), weights=confidences - correct)
    return float(np.abs(gaps).sum() / len(confidences))


def brier_score(probabilities: NDArray, labels: NDArray) -> float:
    """Mean squared distance of class probabilities from the truth, summed over classes: 0 is best, 2 worst.

    Shapes (N images, C classes): probabilities (N, C), labels (N,) columns.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise DataError(f"`probabilities` must be (N, C) with N labels, got {probabilities.shape}, {labels.shape}.")
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def softmax(logits: NDArray, temperature: float = 1.0) -> NDArray:
    """Probabilities of (N, C) logits divided by a temperature."""
    return np.exp(_log_softmax(np.asarray(logits, np.float64) / temperature))


def fit_temperature(logits: NDArray, labels: NDArray) -> float:
    """The temperature under which the labels are likeliest, by golden section; fit it on validation data.

    The likelihood has one peak in 1 / T. The answer stays between e^-7 and e^7, which it meets where the classes are
    told apart without an error, or not at all.

    Shapes (N images, C classes): logits (N, C), labels (N,) columns.

    Raises:
        DataError: There is no image, or a logit is not finite.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels) or not np.isfinite(logits).all():
        raise DataError(f"`logits` must be (N, C), finite, with N labels, got {logits.shape} and {labels.shape}.")

    def loss(log_temperature: float) -> float:
        return -_log_softmax(logits / np.exp(log_temperature))[np.arange(len(labels)), labels].mean()

    low, high = _LOG_TEMPERATURES
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    losses = [loss(point) for point in inner]
    while high - low > 1e-7:
        if losses[0] <= losses[1]:
            high, inner[1], losses[1] = inner[1], inner[0], losses[0]
            inner[0] = high - _GOLDEN * (high - low)
            losses[0] = loss(inner[0])
        else:
            low, inner[0], losses[0] = inner[0], inner[1], losses[1]
            inner[1] = low + _GOLDEN * (high - low)
            losses[1] = loss(inner[1])
    return float(np.exp((low + high) / 2))


def none_of_these_threshold(normal_scores: NDArray, max_false_positive_rate: float = 0.05) -> float:
    """The lowest threshold under which few normal images get a finding; below it the answer is "none of these".

    Args:
        normal_scores: (N,) best score over the findings of normal validation images.
        max_false_positive_rate: Share of these that may reach the threshold, from 0 to below 1.

    Example:
        >>> none_of_these_threshold([0.1, 0.2, 0.3, 0.4], 0.25)
        0.4
    """
    scores = np.sort(np.asarray(normal_scores, np.float64))
    if not 0 <= max_false_positive_rate < 1:
        raise ConfigurationError(
            f"`max_false_positive_rate` must be from 0 to below 1, got {max_false_positive_rate}."
        )
    if not len(scores) or not np.isfinite(scores).all():
        raise DataError(f"`normal_scores` must be finite and at least one, got {len(scores)}.")
    reached = 1 - np.searchsorted(scores, scores, side="left") / len(scores)  # share at or above each score
    allowed = scores[reached <= max_false_positive_rate + 1e-12]
    return float(allowed[0]) if len(allowed) else float(np.nextafter(scores[-1], np.inf))


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """Wilson 95 % interval of a share k / n."""
    share, square = hits / n, _Z95**2 / n
    middle = (share + square / 2) / (1 + square)
    half = _Z95 * np.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def _bins(confidences: NDArray, binning: Binning, num_bins: int) -> NDArray:
    """(N,) number of the bin of each confidence."""
    if num_bins < 1:
        raise ConfigurationError(f"`num_bins` must be at least 1, got {num_bins}.")
    if binning == "equal_width":
        return np.clip(np.ceil(confidences * num_bins).astype(int) - 1, 0, num_bins - 1)
    if binning == "equal_mass":
        _, ties, counts = np.unique(confidences, return_inverse=True, return_counts=True)
        middles = (np.cumsum(counts) - counts / 2)[ties]  # middle of each tie, so that order decides nothing
        return np.minimum((middles * num_bins / len(confidences)).astype(int), num_bins - 1)
    raise ConfigurationError(f"`binning` must be 'equal_width' or 'equal_mass', got {binning!r}.")


def _log_softmax(logits: NDArray) -> NDArray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _check_confidences(confidences: NDArray, correct: NDArray) -> tuple[NDArray, NDArray]:
    confidences, correct = np.asarray(confidences, np.float64), np.asarray(correct, bool)
    if confidences.ndim != 1 or confidences.shape != correct.shape or not len(confidences):
        raise DataError(
            "`confidences` and `correct` must be rows of one length, at least 1, got "
            f"{confidences.shape} and {correct.shape}."
        )
    if not ((confidences >= 0) & (confidences <= 1 + 1e-9)).all():
        raise DataError("`confidences` must lie between 0 and 1.")
    return np.minimum(confidences, 1.0), correct
