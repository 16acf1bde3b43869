"""Findings with severity and location against what captions or reports say of the images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import EvaluationPairs, MetricValue
from phenolip.eval.evaluators.query_metrics import mean_metric, pair_clusters
from phenolip.eval.finding_labels import FindingLabels
from phenolip.eval.metrics.grouped_bootstrap import grouped_intervals, num_resamples_for
from phenolip.eval.metrics.thresholds import threshold_metrics
from phenolip.eval.per_query import Queries, unique_ids
from phenolip.inference.finegrained import SLOTS, FineGrainedPredictor, options_of

PREFIX = "finegrained"


class FineGrainedEvaluator:
    """Categories by thresholds that were fitted elsewhere; severity and location given the category.

    ``finegrained_severity_accuracy_given_category`` (and the same of location): over images that show a category, the
    share whose nearest severity prompt is the one that the text says. Explanations are the same for all severities of
    a category, so this alone says whether severities are told apart (spec of MedFILIP, arXiv 2501.10775, section 5).
    Values that the thresholds' data did not have cannot be answered, and count as wrong.

    Args:
        pairs: The images.
        labels: What their texts say, of the predictor's categories in its order.
        predictor: The model and its thresholds.
    """

    primary_metric = f"{PREFIX}_macro_auroc"
    greater_is_better = True

    def __init__(self, pairs: EvaluationPairs, labels: FindingLabels, predictor: FineGrainedPredictor) -> None:
        self.pairs, self.labels, self.predictor = pairs, labels, predictor
        self.clusters = pair_clusters(pairs)
        self.asked = {
            slot: [
                (row, column, value)
                for row, found in enumerate(labels.slots[slot])
                for column, value in sorted(found.items())
                if len(options_of(predictor.categories[column], slot)) > 1
            ]
            for slot in SLOTS
        }

    @property
    def queries(self) -> dict[str, Queries]:
        """Beginning of a metric's name -> its queries: an image and a category of it."""
        rows = unique_ids(self.pairs.row_ids)
        return {
            f"{PREFIX}_{slot}": Queries(
                "finding", unique_ids(f"{rows[row]}, {self.labels.keys[column][0]}" for row, column, _ in asked)
            )
            for slot, asked in self.asked.items()
        }

    def __call__(self) -> tuple[dict[str, MetricValue], dict[str, Any]]:
        """The metrics, and for results.json the classes and what always saying the commonest value gives."""
        images = np.asarray(self.pairs.embed_images(self.predictor.encoder))
        cosines = self.predictor.category_cosines(images)
        metrics, of_classes = self._categories(cosines)
        about: dict[str, Any] = {"classes": self._classes(cosines, of_classes), "majority": {}}
        for slot, asked in self.asked.items():
            if not asked:
                continue
            right, commonest, chances = (np.zeros(len(asked)) for _ in range(3))
            for place, (row, column, value) in enumerate(asked):
                options = options_of(self.predictor.categories[column], slot)
                right[place] = self.predictor.best(images[row][None], column, slot)[0] == value
                commonest[place], chances[place] = options[0] == value, (value in options) / len(options)
            clusters = self.clusters[[row for row, _, _ in asked]]
            name = f"{PREFIX}_{slot}_accuracy_given_category"
            metrics[name] = mean_metric(right, clusters, float(chances.mean()))
            metrics[f"{PREFIX}_{slot}_accuracy_over_majority"] = mean_metric(right - commonest, clusters)
            about["majority"][slot] = {
                "value": float(commonest.mean()),
                "ci95": list(mean_metric(commonest, clusters).ci95),
                "n": len(asked),
                "answerable": float((chances > 0).mean()),
            }
        return metrics, about

    def _categories(self, cosines: NDArray) -> tuple[dict[str, MetricValue], dict[str, NDArray]]:
        """Means over categories with intervals, and intervals of each category, (C, 2), by the number's name."""
        thresholds = np.array([entry.threshold for entry in self.predictor.categories])

        def values(rows: NDArray) -> tuple[dict[str, float], NDArray]:
            scores, labels = cosines[rows], self.labels.labels[rows]
            fitted = threshold_metrics(scores, labels, thresholds=thresholds)
            oracle = threshold_metrics(scores, labels, fit_on="test")
            return fitted.macro() | oracle.macro(), np.concatenate([fitted.auroc, fitted.auprc, fitted.f1])

        def drawn_values(drawn: NDArray, _: np.random.Generator) -> NDArray:
            means, of_classes = values(drawn)
            return np.concatenate([list(means.values()), of_classes])

        rows = np.arange(len(cosines))
        means, _ = values(rows)
        intervals = grouped_intervals(
            drawn_values,
            [str(cluster) for cluster in self.clusters],
            num_resamples=num_resamples_for(*cosines.shape),
        )
        metrics = {
            f"{PREFIX}_{name}": MetricValue(
                value, (float(low), float(high)), len(rows), 0.5 if name == "macro_auroc" else None
            )
            for (name, value), (low, high) in zip(means.items(), intervals[: len(means)], strict=True)
        }
        return metrics, dict(
            zip(("auroc", "auprc", "f1_val_fitted"), intervals[len(means) :].reshape(3, -1, 2), strict=True)
        )

    def _classes(self, cosines: NDArray, intervals: Mapping[str, NDArray]) -> list[dict[str, Any]]:
        thresholds = np.array([entry.threshold for entry in self.predictor.categories])
        found = threshold_metrics(cosines, self.labels.labels, thresholds=thresholds)
        return [
            {
                "name": entry.category,
                "num_positive": int(found.num_positive[column]),
                "num_negative": int(found.num_negative[column]),
                "auroc": _number(found.auroc[column]),
                "auprc": _number(found.auprc[column]),
                "f1_val_fitted": _number(found.f1[column]),
                "threshold_val_fitted": entry.threshold,
                **{f"{name}_ci95": [_number(bound) for bound in bounds[column]] for name, bounds in intervals.items()},
                "excluded": found.excluded.get(column),
            }
            for column, entry in enumerate(self.predictor.categories)
        ]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
