"""Hierarchical precision, recall and F: a prediction is credited for what it shares with the truth's ancestors."""

import numpy as np
from numpy.typing import NDArray


def hierarchical_overlap(offsets: NDArray, members: NDArray, truth: NDArray) -> NDArray:
    """(P,) how many members of each of P sets are true.

    Args:
        offsets: (P + 1,), where the members of each set begin.
        members: (A,) members of the sets end to end, as places in `truth`.
        truth: (T,) bool.

    Example:
        >>> hierarchical_overlap(np.array([0, 2, 2, 3]), np.array([0, 1, 1]), np.array([False, True])).tolist()
        [1, 0, 1]
    """
    total = np.concatenate([[0], np.cumsum(truth[members])])
    return total[offsets[1:]] - total[offsets[:-1]]


def precision_recall_f(shared: NDArray, predicted: NDArray, true: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Shared over predicted, shared over true, and their harmonic mean; 0 where a denominator is 0.

    With sets that hold every ancestor but the root these are hierarchical precision, recall and F1 (Kiritchenko,
    Matwin, Nock and Famili 2006, Canadian AI); of sums over images the micro average, of each image and then their
    mean the macro average.

    Example:
        >>> [float(value) for value in precision_recall_f(np.array(1), np.array(2), np.array(4))]
        [0.5, 0.25, 0.3333333333333333]
    """
    shared, predicted, true = (np.asarray(value, np.float64) for value in (shared, predicted, true))
    zeros = np.zeros(np.broadcast_shapes(shared.shape, predicted.shape, true.shape))
    precision = np.divide(shared, predicted, out=zeros.copy(), where=predicted > 0)
    recall = np.divide(shared, true, out=zeros.copy(), where=true > 0)
    f_score = np.divide(2 * shared, predicted + true, out=zeros, where=predicted + true > 0)
    return precision, recall, f_score
