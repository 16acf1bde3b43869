"""Zero-shot classification of images among classes that a task names, with thresholds and calibration."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.datasets_scripts.labelled_images import ImageClass
from phenolip.datasets_scripts.labelled_splits import LabelledSplits
from phenolip.eval.class_checks import answer_collapse, embedding_spread, majority_class, shuffled_labels
from phenolip.eval.evaluators.base import MetricValue, SupportsEncoding
from phenolip.eval.evaluators.class_results import ClassResults
from phenolip.eval.evaluators.zero_shot import check_prompts
from phenolip.eval.item_scores import ItemScores
from phenolip.eval.metrics.calibration import (
    brier_score,
    calibration_errors,
    expected_calibration_error,
    fit_temperature,
    none_of_these_threshold,
    reliability_table,
    softmax,
)
from phenolip.eval.metrics.classification import class_scores, macro
from phenolip.eval.metrics.grouped_bootstrap import grouped_intervals, num_resamples_for
from phenolip.eval.metrics.thresholds import ThresholdMetrics, threshold_metrics
from phenolip.exceptions import ConfigurationError

PREFIX = "zero_shot_classes"
MAX_FALSE_POSITIVE_RATE = 0.05  # of "none of these" on normal validation images (ours)
MAIN = ("top1", "macro_recall", "macro_auroc", "macro_auprc", "macro_f1_val_fitted")  # of parts of the images


class ZeroShotClassesEvaluator:
    """Cosine of an image with the mean text of each class; the class of the highest is the answer.

    A class is embedded as the unit-norm mean over its texts and the prompts. Thresholds, temperature and the limit of
    "none of these" are fitted on validation images; where there are none, only what needs no fit is reported.

    Args:
        splits: Images to report on and to fit on.
        classes: In the order of the labels' columns.
        prompts: Templates, each with one ``{}``.
        normal: Name of the class that shows no finding, if there is one: it is then what "none of these" means.

    Raises:
        ConfigurationError: A prompt cannot be used, or `normal` is no class.
    """

    primary_metric = f"{PREFIX}_top1"
    greater_is_better = True

    def __init__(
        self,
        splits: LabelledSplits,
        classes: Sequence[ImageClass],
        *,
        prompts: Sequence[str] = ("{}",),
        normal: str | None = None,
    ) -> None:
        self.splits, self.classes, self.prompts = splits, classes, check_prompts(prompts)
        names = [image_class.name for image_class in classes]
        if normal is not None and normal not in names:
            raise ConfigurationError(f"`normal` must be one of {', '.join(names)}, got {normal!r}.")
        self.normal = names.index(normal) if normal is not None else None

    def __call__(self, encoder: SupportsEncoding) -> ClassResults:
        """Metrics named ``zero_shot_classes_*``, the controls, and numbers of each class."""
        texts = self.embed_classes(encoder)
        images = encoder.encode_images(self.splits.test.images)
        scores = np.asarray(images, np.float64) @ texts.T
        fitting = None
        if self.splits.validation is not None:
            fitting = np.asarray(encoder.encode_images(self.splits.validation.images), np.float64) @ texts.T
        scorer = _Scorer(self.splits, scores, fitting, float(getattr(encoder, "logit_scale", 1.0)), self.normal)
        test = self.splits.test
        checks = {
            "majority_class": majority_class(test.labels, test.class_names, test.groups),
            "shuffled_labels": shuffled_labels(scores, test.labels, exclusive=test.exclusive),
            "answer_collapse": answer_collapse(scores, test.class_names),
            "embedding_collapse": embedding_spread(images),
        }
        metrics, of_classes = scorer.measure(np.arange(len(test)))
        items = [ItemScores("test", test.ids, test.groups, test.labels, scores)]
        if fitting is not None:
            held_out = self.splits.validation
            items.append(ItemScores("validation", held_out.ids, held_out.groups, held_out.labels, fitting))
        return ClassResults(metrics, checks, scorer.details(of_classes), items, scorer.measure_part)

    def embed_classes(self, encoder: SupportsEncoding) -> NDArray:
        """(C, D) unit-norm float64 embeddings of the classes."""
        rows = [[prompt.format(text) for prompt in self.prompts for text in entry.texts] for entry in self.classes]
        embeds = iter(np.asarray(encoder.encode_texts([text for row in rows for text in row]), np.float64))
        means = np.stack([np.mean([next(embeds) for _ in row], axis=0) for row in rows])
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


class _Scorer:
    """Every number of one table of scores; the fits are made once and stay in all resamples."""

    def __init__(
        self, splits: LabelledSplits, scores: NDArray, fitting: NDArray | None, logit_scale: float, normal: int | None
    ) -> None:
        self.test, self.scores, self.logit_scale = splits.test, scores, logit_scale
        self.thresholds: ThresholdMetrics | None = None
        self.temperature = self.limit = None
        self.findings = [column for column in range(scores.shape[1]) if column != normal]
        self.normal = normal
        if fitting is None:
            return
        validation = splits.validation
        self.thresholds = threshold_metrics(scores, self.test.labels, validation=(fitting, validation.labels))
        if validation.exclusive:
            self.temperature = fit_temperature(logit_scale * fitting, validation.codes)
        if normal is not None:
            best = fitting[validation.labels[:, normal] == 1][:, self.findings].max(axis=1)
            if len(best):
                self.limit = none_of_these_threshold(best, MAX_FALSE_POSITIVE_RATE)

    def measure(self, rows: NDArray) -> tuple[dict[str, MetricValue], dict[str, NDArray]]:
        """Values over some rows, intervals over whole groups, what chance gives; and intervals of each class.

        Shapes (C classes): intervals of classes (C, 2), by the name of the number.
        """
        num_classes = self.scores.shape[1]
        values, of_classes = self.values(rows)

        def drawn_values(drawn: NDArray, _: np.random.Generator) -> NDArray:
            found, by_class = self.values(rows[drawn])
            return np.concatenate([list(found.values()), *by_class.values()])

        intervals = grouped_intervals(
            drawn_values,
            [self.test.groups[row] for row in rows],
            num_resamples=num_resamples_for(len(rows), num_classes),
            lifted=np.concatenate([calibration_errors(values), np.full(len(of_classes) * num_classes, np.nan)]),
        )
        chances = {"top1": 1 / num_classes, "macro_recall": 1 / num_classes, "macro_auroc": 0.5}
        found = {}
        for (name, value), (low, high) in zip(values.items(), intervals[: len(values)], strict=True):
            per_query = None
            if name == "top1":
                per_query = (self.scores[rows].argmax(axis=1) == self.test.codes[rows]).astype(np.float64)
            n = self.num_images(name, rows)
            found[f"{PREFIX}_{name}"] = MetricValue(value, (float(low), float(high)), n, chances.get(name), per_query)
        rest = intervals[len(values) :].reshape(len(of_classes), num_classes, 2)
        return found, dict(zip(of_classes, rest, strict=True))

    def measure_part(self, rows: NDArray, main: bool) -> dict[str, MetricValue]:
        """The metrics over some test images, or the main ones."""
        found, _ = self.measure(rows)
        return {name: value for name, value in found.items() if not main or name.removeprefix(f"{PREFIX}_") in MAIN}

    def num_images(self, name: str, rows: NDArray) -> int:
        """Images behind a metric."""
        is_normal = self.test.labels[rows, self.normal] == 1 if self.normal is not None else np.zeros(len(rows), bool)
        if name == "none_of_these_false_positive_rate":
            return int(is_normal.sum())
        if name == "none_of_these_sensitivity":
            return int((~is_normal).sum())
        return len(rows)

    def values(self, rows: NDArray) -> tuple[dict[str, float], dict[str, NDArray]]:
        """Every metric over some rows, and the numbers of each class, (C,)."""
        scores, labels = self.scores[rows], self.test.labels[rows]
        values: dict[str, float] = {}
        if self.test.exclusive:
            codes = labels.argmax(axis=1)
            decided = class_scores(scores.argmax(axis=1), codes, labels.shape[1])
            values["top1"] = float((scores.argmax(axis=1) == codes).mean())
            values["macro_recall"], values["macro_f1"] = macro(decided.recall), macro(decided.f1)
        oracle = threshold_metrics(scores, labels, fit_on="test")
        of_classes = {"auroc": oracle.auroc, "auprc": oracle.auprc, "f1_oracle": oracle.f1}
        if self.thresholds is not None:
            fitted = threshold_metrics(scores, labels, thresholds=self.thresholds.threshold)
            values |= fitted.macro()
            of_classes["f1_val_fitted"] = fitted.f1
        values |= oracle.macro()
        if self.test.exclusive:
            values |= self.calibration(scores, codes)
        if self.limit is not None:
            reached = scores[:, self.findings].max(axis=1) >= self.limit
            is_normal = labels[:, self.normal] == 1
            values["none_of_these_false_positive_rate"] = _mean(reached[is_normal])
            values["none_of_these_sensitivity"] = _mean(reached[~is_normal])
        return values, of_classes

    def calibration(self, scores: NDArray, codes: NDArray) -> dict[str, float]:
        """Errors of the model's own confidence, and after the temperature of the validation images."""
        values: dict[str, float] = {}
        temperatures = {"": 1.0} | ({"_at_val_temperature": self.temperature} if self.temperature else {})
        for suffix, temperature in temperatures.items():
            chances = softmax(self.logit_scale * scores, temperature)
            confidences, correct = chances.max(axis=1), chances.argmax(axis=1) == codes
            for binning in ("equal_width", "equal_mass"):
                error = expected_calibration_error(confidences, correct, binning=binning)
                values[f"ece_{binning}{suffix}"] = error
            values[f"brier{suffix}"] = brier_score(chances, codes)
        return values

    def details(self, intervals: Mapping[str, NDArray]) -> dict[str, Any]:
        """Numbers of each class with their intervals, and the reliability table."""
        oracle = threshold_metrics(self.scores, self.test.labels, fit_on="test")
        classes = []
        for column, name in enumerate(self.test.class_names):
            entry = {
                "name": name,
                "num_positive": int(oracle.num_positive[column]),
                "num_negative": int(oracle.num_negative[column]),
                "auroc": _number(oracle.auroc[column]),
                "auprc": _number(oracle.auprc[column]),
                "f1_oracle": _number(oracle.f1[column]),
                "threshold_oracle": _number(oracle.threshold[column]),
            }
            if self.thresholds is not None:
                entry["f1_val_fitted"] = _number(self.thresholds.f1[column])
                entry["threshold_val_fitted"] = _number(self.thresholds.threshold[column])
            for kind, bounds in intervals.items():
                entry[f"{kind}_ci95"] = [_number(bound) for bound in bounds[column]]
            excluded = (self.thresholds or oracle).excluded.get(column)
            classes.append(entry | ({"excluded": excluded} if excluded else {}))
        details: dict[str, Any] = {
            "classes": classes,
            "num_classes_scored": (self.thresholds or oracle).num_classes_scored,
        }
        if self.test.exclusive:
            details["calibration"] = self.reliability()
        if self.limit is not None:
            details["none_of_these"] = {
                "threshold": self.limit,
                "max_false_positive_rate_on_validation": MAX_FALSE_POSITIVE_RATE,
            }
        return details

    def reliability(self) -> dict[str, Any]:
        """Confidence against accuracy at the fitted temperature, or at the model's own without one."""
        chances = softmax(self.logit_scale * self.scores, self.temperature or 1.0)
        rows = reliability_table(chances.max(axis=1), chances.argmax(axis=1) == self.test.codes)
        return {
            "logit_scale": self.logit_scale,
            "temperature": self.temperature,
            "reliability": [{name: getattr(row, name) for name in row.__slots__} for row in rows],
        }


def _mean(values: NDArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
