"""Agreement of reviewers beyond chance: Cohen's kappa of two, Fleiss' of more, with bootstrap intervals by article.

Pure numpy. Answers are coded 0, 1, ...; questions of one article are resampled together, since they are not
independent of each other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 2000
MIN_GROUPS = 10  # with fewer articles, resampling them tells nothing
_BLOCK = 100  # resamples in memory at once

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far reviewers agree.

    Attributes:
        kappa: 1 is full agreement, 0 that of chance; None where chance alone would agree on everything.
        ci95: 95 % percentile interval; None where kappa is, or with fewer than ``MIN_GROUPS`` articles.
        observed: Share of agreeing pairs of answers.
        num_questions: Questions that every reviewer answered.
    """

    kappa: float | None
    ci95: tuple[float, float] | None
    observed: float | None
    num_questions: int


def agreement(
    codes: NDArray[np.integer],
    num_categories: int,
    groups: NDArray[np.integer],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Kappa of all reviewers over all questions.

    Args:
        codes: (questions, reviewers), each from 0 below ``num_categories``.
        num_categories: How many answers there are.
        groups: (questions,), which article a question belongs to.
        num_resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Source: Cohen 1960; Fleiss 1971, of whose formula Cohen's differs in each reviewer's own shares as chance.
    """
    if len(codes) == 0:
        return Agreement(None, None, None, 0)
    is_pair = codes.shape[1] == 2
    counts = _pair_counts(codes, num_categories) if is_pair else _category_counts(codes, num_categories)
    statistic = cohen_kappa if is_pair else fleiss_kappa(codes.shape[1])
    total = counts.sum(axis=0)[None]
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa = float(statistic(total)[0])
        interval = _interval(counts, groups, statistic, num_resamples, seed)
    if not np.isfinite(kappa):
        kappa = interval = None
    return Agreement(kappa, interval, float(_observed(codes, num_categories)), len(codes))


def cohen_kappa(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kappa of (..., K * K) flattened confusion matrices, first reviewer by second; NaN where undefined.

    Example:
        >>> cohen_kappa(np.array([[20.0, 5.0, 10.0, 15.0]])).round(3).tolist()
        [0.4]
    """
    size = round(confusion.shape[-1] ** 0.5)
    shares = confusion.reshape(*confusion.shape[:-1], size, size)  # (..., K, K)
    shares = shares / shares.sum(axis=(-2, -1), keepdims=True)
    observed = np.trace(shares, axis1=-2, axis2=-1)
    chance = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
    return (observed - chance) / (1 - chance)


def fleiss_kappa(num_reviewers: int) -> Statistic:
    """Kappa of (..., 2 + K): questions, sum of agreement within them, answers of each kind; NaN where undefined."""

    def kappa(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        num_questions, within, answers = sums[..., 0], sums[..., 1], sums[..., 2:]
        observed = within / num_questions
        shares = answers / (num_reviewers * num_questions)[..., None]
        chance = (shares**2).sum(axis=-1)
        return (observed - chance) / (1 - chance)

    return kappa


def _pair_counts(codes: NDArray[np.integer], size: int) -> NDArray[np.float64]:
    """(questions, K * K): which cell of the confusion matrix a question falls into."""
    return np.eye(size * size)[codes[:, 0] * size + codes[:, 1]]


def _category_counts(codes: NDArray[np.integer], size: int) -> NDArray[np.float64]:
    """(questions, 2 + K): what `fleiss_kappa` sums."""
    answers = np.eye(size)[codes].sum(axis=1)  # (questions, K)
    return np.column_stack([np.ones(len(codes)), _agreement_within(answers), answers])


def _agreement_within(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the pairs of reviewers that agree, of each question: (questions, K) counts -> (questions,)."""
    num_reviewers = answers.sum(axis=1)
    return (answers * (answers - 1)).sum(axis=1) / (num_reviewers * (num_reviewers - 1))


def _observed(codes: NDArray[np.integer], size: int) -> np.float64:
    return _agreement_within(np.eye(size)[codes].sum(axis=1)).mean()


def _interval(
    counts: NDArray[np.float64], groups: NDArray[np.integer], statistic: Statistic, num_resamples: int, seed: int
) -> tuple[float, float] | None:
    """Percentiles over resampled groups; resamples in which kappa is undefined are left out."""
    _, places = np.unique(groups, return_inverse=True)
    num_groups = int(places.max()) + 1
    if num_groups < MIN_GROUPS:
        return None
    sums = np.zeros((num_groups, counts.shape[1]))
    np.add.at(sums, places, counts)
    generator = np.random.default_rng(seed)
    shares = np.full(num_groups, 1 / num_groups)
    values = np.concatenate(
        [
            statistic(generator.multinomial(num_groups, shares, size=min(_BLOCK, num_resamples - start)) @ sums)
            for start in range(0, num_resamples, _BLOCK)
        ]
    )
    values = values[np.isfinite(values)]
    return tuple(np.percentile(values, [2.5, 97.5]).tolist()) if len(values) else None
