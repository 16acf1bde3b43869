"""Decisions for one of several classes: recall and F1 of each class, and their means."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics.curves import auroc


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Numbers of C classes; NaN where a class has no image.

    Attributes:
        recall: (C,) share of the images of a class that are decided for it.
        precision: (C,) share of the decisions for a class that are right; 0 where there is none.
        f1: (C,) their harmonic mean.
        num_images: (C,) images of each class.
        num_decided: (C,) decisions for each class.
    """

    recall: NDArray
    precision: NDArray
    f1: NDArray
    num_images: NDArray
    num_decided: NDArray


def class_scores(decisions: NDArray, codes: NDArray, num_classes: int) -> ClassScores:
    """Recall, precision and F1 of each class.

    Shapes (N images): decisions (N,), codes (N,) columns.

    Example:
        >>> class_scores(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).recall.tolist()
        [1.0, 0.5]
    """
    hits = np.bincount(codes[decisions == codes], minlength=num_classes)
    num_images = np.bincount(codes, minlength=num_classes)
    num_decided = np.bincount(decisions, minlength=num_classes)
    present = num_images > 0
    recall = np.where(present, hits / np.maximum(num_images, 1), np.nan)
    precision = np.where(present, hits / np.maximum(num_decided, 1), np.nan)
    f1 = np.where(present, 2 * hits / np.maximum(num_images + num_decided, 1), np.nan)
    return ClassScores(recall, precision, f1, num_images, num_decided)


def macro(values: NDArray) -> float:
    """Mean over the classes that have a value; NaN where none has."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def macro_auroc(scores: NDArray, labels: NDArray) -> float:
    """Mean over classes of the area of its score against its label, uncertain images (-1) left out.

    Classes without a positive or without a negative are left out; NaN where none is left.

    Shapes (N images, C classes): scores (N, C), labels (N, C).
    """
    areas = []
    for column in range(labels.shape[1]):
        known = labels[:, column] >= 0
        areas.append(auroc(scores[known, column], labels[known, column]))
    return macro(np.array(areas))
