"""Nested, stratified subsets of labelled images: 1 % lies within 10 %, and every class keeps a positive."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError


def nested_subsets(labels: NDArray, fractions: Sequence[float], *, exclusive: bool, seed: int) -> list[NDArray]:
    """Rows of one subset a fraction, each subset within every larger one.

    Classes that exclude each other keep their shares, rounded, with at least one image each. Where an image may show
    several, rows come in random order after one positive of each class, the rarest class first.

    Shapes (N images, C classes): labels (N, C) of 1, 0 and -1; returns sorted row numbers.

    Raises:
        ConfigurationError: A fraction is not above 0 and at most 1.

    Example:
        >>> rows = nested_subsets(np.eye(2, dtype=int)[[0] * 8 + [1] * 2], [0.1, 0.5], exclusive=True, seed=0)
        >>> [len(part) for part in rows]
        [2, 5]
    """
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise ConfigurationError(f"`fractions` must be above 0 and at most 1, got {fraction}.")
    rng = np.random.default_rng(seed)
    if not exclusive:
        order = _positives_first(labels, rng)
        num_first = len({column for column in range(labels.shape[1]) if (labels[:, column] == 1).any()})
        sizes = [max(num_first, round(fraction * len(labels))) for fraction in fractions]
        return [np.sort(order[:size]) for size in sizes]
    orders = [rng.permutation(np.flatnonzero(labels[:, column] == 1)) for column in range(labels.shape[1])]
    return [
        np.sort(np.concatenate([order[: max(1, round(fraction * len(order)))] for order in orders if len(order)]))
        for fraction in fractions
    ]


def _positives_first(labels: NDArray, rng: np.random.Generator) -> NDArray:
    order = rng.permutation(len(labels))
    shown = labels[order] == 1
    first: dict[int, None] = {}  # ordered, each row once
    for column in np.argsort(shown.sum(axis=0), kind="stable"):
        if shown[:, column].any() and not shown[list(first), column].any():
            first[int(shown[:, column].argmax())] = None
    rest = [row for row in range(len(order)) if row not in first]
    return order[[*first, *rest]]
