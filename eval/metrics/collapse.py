"""Do embeddings still tell things apart: mean cosine of two of them, and how many directions they use."""

import numpy as np
from numpy.typing import NDArray

_ROWS = 16_384  # rows decomposed at a time


def mean_pairwise_cosine(embeds: NDArray) -> float:
    """Mean cosine of two different rows, all pairs; near 1 where all rows point one way. NaN for fewer than two rows.

    ``(|sum of unit rows|^2 - N) / (N (N - 1))``, so that no matrix of pairs is needed.

    Example:
        >>> mean_pairwise_cosine(np.eye(3))
        0.0
    """
    total, num_rows = np.zeros(embeds.shape[1]), len(embeds)
    if num_rows < 2:
        return float("nan")
    for start in range(0, num_rows, _ROWS):
        part = np.asarray(embeds[start : start + _ROWS], np.float64)
        total += (part / np.linalg.norm(part, axis=1, keepdims=True)).sum(axis=0)
    return float((total @ total - num_rows) / (num_rows * (num_rows - 1)))


def effective_rank(embeds: NDArray) -> float:
    """Number of directions that the rows use around their mean: exp of the entropy of the normalised singular values.

    Between 1 and the width (Roy and Vetterli 2007, EUSIPCO); 0 where all rows are equal. Rows are decomposed in
    chunks, of which the triangular factors alone are kept.

    Example:
        >>> round(effective_rank(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])), 6)
        2.0
    """
    mean = np.mean(embeds, axis=0, dtype=np.float64)
    factor = np.zeros((0, embeds.shape[1]))
    for start in range(0, len(embeds), _ROWS):
        part = np.asarray(embeds[start : start + _ROWS], np.float64) - mean
        factor = np.linalg.qr(np.concatenate([factor, part]), mode="r")
    values = np.linalg.svd(factor, compute_uv=False)
    if values.max(initial=0.0) <= 1e-7:  # no wider than the rounding of float32
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
