"""Is a paired difference more than luck, and are several of them: sign-flip test and Holm's correction."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics.bootstrap import BLOCK

NUM_FLIPS = 10_000


def sign_flip_p_value(differences: NDArray, *, num_flips: int = NUM_FLIPS, seed: int | Sequence[int] = 0) -> float:
    """Two-sided p-value that paired differences have no direction, by flipping their signs at random.

    Under the null each difference is as likely with the other sign. ``(1 + flips as extreme) / (1 + flips)`` is valid
    at any number of flips (Phipson and Smyth 2010); its smallest value is 1 / (1 + flips).

    Args:
        differences: (U,) one a unit that is independent of the others: for clustered queries the sum of a cluster.
        num_flips: Random signs drawn.
        seed: Seed of the draws.

    Example:
        >>> sign_flip_p_value(np.zeros(5))
        1.0
    """
    differences = np.asarray(differences, np.float64)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    observed, rng = abs(differences.sum()), np.random.default_rng(seed)
    slack = 1e-9 * np.abs(differences).sum()  # sums in another order may differ in their last digits
    rows, extreme = max(1, BLOCK // len(differences)), 0
    for start in range(0, num_flips, rows):
        size = min(rows, num_flips - start)
        signs = rng.integers(0, 2, size=(size, len(differences)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ differences) >= observed - slack).sum())
    return (1 + extreme) / (1 + num_flips)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being several, in the same order: Holm's step-down procedure (1979).

    The chance that any true null falls below a level is at most that level, whatever the dependence.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()
