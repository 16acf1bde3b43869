"""Linear probing: how much of a labelled set a linear map of frozen image features can tell apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.datasets_scripts.labelled_splits import LabelledSplits
from phenolip.eval.class_checks import answer_collapse, embedding_spread, majority_class, shuffled_labels
from phenolip.eval.evaluators.base import MetricValue, SupportsEncoding
from phenolip.eval.evaluators.class_results import ClassResults
from phenolip.eval.item_scores import ItemScores
from phenolip.eval.label_subsets import nested_subsets
from phenolip.eval.logistic_probe import ProbeFit, fit_probe
from phenolip.eval.metrics.calibration import brier_score, calibration_errors, expected_calibration_error
from phenolip.eval.metrics.classification import class_scores, macro, macro_auroc
from phenolip.eval.metrics.grouped_bootstrap import grouped_intervals, num_resamples_for
from phenolip.eval.probe_features import FEATURES, probe_features
from phenolip.exceptions import ConfigurationError, DataError

PREFIX = "probe"
FRACTIONS = (0.01, 0.1, 1.0)
NUM_SEEDS = 5
MAIN = ("accuracy", "macro_auroc", "macro_recall")  # of parts of the images, at the last fraction


class LinearProbeEvaluator:
    """Logistic regression on 1, 10 and 100 % of the training images, several draws of each subset.

    Values are means over the draws; intervals resample the draws and the test images (whole groups) together. All
    training images are one subset, so that the last fraction has one draw.

    Args:
        splits: Training, validation and test images.
        features: "pooled" or "projected", see `probe_features`.
        fractions: Shares of the training images.
        num_seeds: Draws of each subset.

    Raises:
        ConfigurationError: `features` or `num_seeds` is out of range.
        DataError: There are no validation images to choose the strength on.
    """

    primary_metric = f"{PREFIX}_accuracy_at_100_percent"
    greater_is_better = True

    def __init__(
        self,
        splits: LabelledSplits,
        *,
        features: str = "projected",
        fractions: Sequence[float] = FRACTIONS,
        num_seeds: int = NUM_SEEDS,
    ) -> None:
        if features not in FEATURES:
            raise ConfigurationError(f"`features` must be one of {', '.join(FEATURES)}, got {features!r}.")
        if not isinstance(num_seeds, int) or num_seeds < 1:
            raise ConfigurationError(f"`num_seeds` must be a whole number of at least 1, got {num_seeds!r}.")
        if splits.train is None or splits.validation is None:
            raise DataError("A probe needs training and validation images; the data has not both.")
        self.splits, self.features, self.fractions, self.num_seeds = splits, features, tuple(fractions), num_seeds

    def __call__(self, encoder: SupportsEncoding) -> ClassResults:
        """Metrics named ``probe_*_at_1_percent`` and so on, the controls, and every draw."""
        parts = (self.splits.train, self.splits.validation, self.splits.test)
        embeds = [probe_features(encoder, part.images, self.features) for part in parts]
        metrics: dict[str, MetricValue] = {}
        draws: dict[str, Any] = {}
        found: dict[str, list[ProbeFit]] = {}
        test, items = self.splits.test, []
        for fraction in self.fractions:
            title = f"{100 * fraction:g}_percent"
            fits, rows = self.fit(embeds, fraction)
            found[title] = fits
            metrics |= {f"{PREFIX}_{name}_at_{title}": value for name, value in self.measure(fits).items()}
            draws[title] = self.describe(fits, rows)
            items += [
                ItemScores("test", test.ids, test.groups, test.labels, fit.probabilities, f"{title} {seed}")
                for seed, fit in enumerate(fits)
            ]
        last = fits[0].probabilities
        checks = {
            "majority_class": majority_class(test.labels, test.class_names, test.groups),
            "shuffled_labels": shuffled_labels(last, test.labels, exclusive=test.exclusive),
            "answer_collapse": answer_collapse(last, test.class_names),
            "embedding_collapse": embedding_spread(embeds[2]),
        }

        def measure_rows(rows: NDArray, main: bool) -> dict[str, MetricValue]:
            titles = list(found)[-1:] if main else found
            return {
                f"{PREFIX}_{name}_at_{title}": value
                for title in titles
                for name, value in self.measure(found[title], rows).items()
                if not main or name in MAIN
            }

        details = {"draws": draws, "feature_width": embeds[0].shape[1]}
        return ClassResults(metrics, checks, details, items, measure_rows)

    def fit(self, embeds: Sequence[NDArray], fraction: float) -> tuple[list[ProbeFit], list[NDArray]]:
        """One probe a draw, and the training rows of each."""
        train, validation = self.splits.train, self.splits.validation
        fits, subsets = [], []
        for seed in range(1 if fraction == 1 else self.num_seeds):
            rows = nested_subsets(train.labels, self.fractions, exclusive=train.exclusive, seed=seed)
            rows = rows[self.fractions.index(fraction)]
            fits.append(
                fit_probe(
                    (embeds[0][rows], train.labels[rows]),
                    (embeds[1], validation.labels),
                    embeds[2],
                    exclusive=train.exclusive,
                )
            )
            subsets.append(rows)
        return fits, subsets

    def measure(self, fits: Sequence[ProbeFit], rows: NDArray | None = None) -> dict[str, MetricValue]:
        """Means over draws, with intervals over draws and images; over all test images, or over some."""
        test, num_classes = self.splits.test, self.splits.test.labels.shape[1]
        rows = np.arange(len(test)) if rows is None else rows
        by_draw = [self.values(fit.probabilities, rows) for fit in fits]
        means = {name: float(np.mean([values[name] for values in by_draw])) for name in by_draw[0]}

        def resampled(drawn: NDArray, rng: np.random.Generator) -> NDArray:
            chosen = rng.integers(len(fits), size=len(fits))
            counts = np.bincount(chosen, minlength=len(fits))
            values = [
                count * np.array(list(self.values(fits[draw].probabilities, rows[drawn]).values()))
                for draw, count in enumerate(counts)
                if count
            ]
            return np.sum(values, axis=0) / len(fits)

        num_resamples = num_resamples_for(len(rows), num_classes * len(fits))
        intervals = grouped_intervals(
            resampled,
            [test.groups[row] for row in rows],
            num_resamples=num_resamples,
            lifted=calibration_errors(means),
        )
        chances = {"macro_recall": 1 / num_classes, "macro_auroc": 0.5} | (
            {"accuracy": 1 / num_classes} if test.exclusive else {}
        )
        right = np.mean([self.right(fit.probabilities, rows) for fit in fits], axis=0)
        return {
            name: MetricValue(
                mean, (float(low), float(high)), len(rows), chances.get(name), right if name == "accuracy" else None
            )
            for (name, mean), (low, high) in zip(means.items(), intervals, strict=True)
        }

    def right(self, probabilities: NDArray, rows: NDArray) -> NDArray:
        """(n,) whether everything decided on an image is right, 0 or 1."""
        labels, chances = self.splits.test.labels[rows], probabilities[rows]
        if self.splits.test.exclusive:
            return (chances.argmax(axis=1) == labels.argmax(axis=1)).astype(np.float64)
        return ((chances >= 0.5) == (labels == 1)).all(axis=1).astype(np.float64)

    def values(self, probabilities: NDArray, rows: NDArray) -> dict[str, float]:
        """Every metric of one draw over some test images."""
        labels, chances = self.splits.test.labels[rows], probabilities[rows]
        values = {
            "accuracy": float(self.right(probabilities, rows).mean()),
            "macro_auroc": macro_auroc(chances, labels),
        }
        if self.splits.test.exclusive:
            codes, answers = labels.argmax(axis=1), chances.argmax(axis=1)
            values["macro_recall"] = macro(class_scores(answers, codes, labels.shape[1]).recall)
            values["ece_equal_mass"] = expected_calibration_error(
                np.clip(chances.max(axis=1), 0, 1), answers == codes, binning="equal_mass"
            )
            values["brier"] = brier_score(chances, codes)
        return values

    def describe(self, fits: Sequence[ProbeFit], subsets: Sequence[NDArray]) -> dict[str, Any]:
        """Every draw, and how far they lie apart."""
        everything = np.arange(len(self.splits.test))
        values = [self.values(fit.probabilities, everything) for fit in fits]
        spread = None
        if len(fits) > 1:
            spread = {name: float(np.std([row[name] for row in values], ddof=1)) for name in values[0]}
        return {
            "num_train": len(subsets[0]),
            "standard_deviation": spread,
            "seeds": [
                {
                    "seed": seed,
                    "strength": fit.strength,
                    "validation_accuracy": fit.validation_accuracy,
                    "num_unfinished_fits": fit.num_unfinished,
                    **row,
                }
                for seed, (fit, row) in enumerate(zip(fits, values, strict=True))
            ],
        }
