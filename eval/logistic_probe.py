"""Logistic regression on fixed features, its strength of regularisation chosen on validation images."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

STRENGTHS = tuple(10.0**power for power in range(-4, 5))  # the grid of docs/class-tasks.md; C of scikit-learn
MAX_ITERATIONS = 300


@dataclass(frozen=True, slots=True)
class ProbeFit:
    """One probe.

    Attributes:
        probabilities: (T, C) of the test images.
        strength: The C that was chosen.
        validation_accuracy: What it was chosen by.
        num_unfinished: Fits of the grid that stopped before they converged.
    """

    probabilities: NDArray
    strength: float
    validation_accuracy: float
    num_unfinished: int


def fit_probe(
    train: tuple[NDArray, NDArray],
    validation: tuple[NDArray, NDArray],
    test: NDArray,
    *,
    exclusive: bool,
    strengths: Sequence[float] = STRENGTHS,
) -> ProbeFit:
    """Fits one probe a strength and keeps the one with the highest validation accuracy, ties to the stronger prior.

    Features are standardised by mean and spread of the training images. Where images may show several classes there
    is one regression a class, and accuracy means that all labels of an image are right.

    Shapes (C classes, D width): features (n, D), labels (n, C) of 1 and 0; -1 counts as 0 here.

    Args:
        train: Features and labels to fit on.
        validation: Features and labels to choose by.
        test: Features to give probabilities for.
        exclusive: Whether each image shows exactly one class.
        strengths: Values of C, ascending.
    """
    mean, spread = train[0].mean(axis=0, dtype=np.float64), train[0].std(axis=0, dtype=np.float64)
    spread[spread <= 1e-6 * np.abs(mean)] = 1.0  # constant but for the rounding of float32: it says nothing
    features, held_out, asked = ((part - mean) / spread for part in (train[0], validation[0], test))
    labels, truth = train[1] == 1, validation[1] == 1
    fit = _paths_of_one if exclusive else _paths_of_several
    best, unfinished = None, 0
    for strength, (chances, answers, stopped) in zip(
        strengths, fit(features, labels, held_out, asked, strengths), strict=True
    ):
        unfinished += stopped
        accuracy = float(_right(chances, truth, exclusive).mean())
        if best is None or accuracy > best[1]:
            best = (strength, accuracy, answers)
    return ProbeFit(best[2], best[0], best[1], unfinished)


def _right(chances: NDArray, truth: NDArray, exclusive: bool) -> NDArray:
    """(N,) whether the decisions on each image are all right."""
    if exclusive:
        return chances.argmax(axis=1) == truth.argmax(axis=1)
    return ((chances >= 0.5) == truth).all(axis=1)


def _paths_of_one(features, labels, held_out, asked, strengths):
    codes, num_classes = labels.argmax(axis=1), labels.shape[1]
    present = np.unique(codes)
    if len(present) == 1:  # nothing to tell apart
        constant = np.eye(num_classes)[present]
        for _ in strengths:
            yield constant.repeat(len(held_out), axis=0), constant.repeat(len(asked), axis=0), 0
        return
    model = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)
    for strength in strengths:
        stopped = _fit(model.set_params(C=strength), features, codes)
        yield *(_whole(model.predict_proba(part), model.classes_, num_classes) for part in (held_out, asked)), stopped


def _paths_of_several(features, labels, held_out, asked, strengths):
    models = [LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True) for _ in range(labels.shape[1])]
    for strength in strengths:
        chances, answers, stopped = np.empty((len(held_out), len(models))), np.empty((len(asked), len(models))), 0
        for column, model in enumerate(models):
            truth = labels[:, column]
            if truth.all() or not truth.any():
                chances[:, column] = answers[:, column] = float(truth[0])
                continue
            stopped += _fit(model.set_params(C=strength), features, truth)
            chances[:, column] = model.predict_proba(held_out)[:, 1]
            answers[:, column] = model.predict_proba(asked)[:, 1]
        yield chances, answers, stopped


def _fit(model: LogisticRegression, features: NDArray, codes: NDArray) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(features, codes)
    return int(any(issubclass(entry.category, ConvergenceWarning) for entry in caught))


def _whole(chances: NDArray, present: NDArray, num_classes: int) -> NDArray:
    whole = np.zeros((len(chances), num_classes))
    whole[:, present] = chances
    return whole
