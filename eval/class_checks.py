"""Checks that stand beside every class task: what a model without any knowledge of the images would score."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.metrics.classification import class_scores, macro, macro_auroc
from phenolip.eval.metrics.grouped_bootstrap import grouped_intervals

NUM_SHUFFLES = 20
EPSILON = 1e-9
COLLAPSED = 0.95  # share of images that one answer gets, from which on it is called a collapse (ours)


def majority_class(labels: NDArray, class_names: tuple[str, ...], groups: Sequence[str]) -> dict[str, Any]:
    """The commonest class and the accuracy of answering nothing else, its interval over whole groups."""
    counts = (labels == 1).sum(axis=0)
    column = int(counts.argmax())
    shown = labels[:, column] == 1
    interval = grouped_intervals(lambda rows, _: np.array([shown[rows].mean()]), groups)[0]
    return {
        "class": class_names[column],
        "k": int(counts[column]),
        "n": len(labels),
        "value": float(counts[column] / len(labels)),
        "ci95": interval.tolist(),
    }


def shuffled_labels(scores: NDArray, labels: NDArray, *, exclusive: bool, seed: int = 0) -> dict[str, Any]:
    """Means over 20 shuffles of the labels: what the same scores get where they cannot know anything."""
    rng = np.random.default_rng(seed)
    areas, recalls = [], []
    for _ in range(NUM_SHUFFLES):
        shuffled = labels[rng.permutation(len(labels))]
        areas.append(macro_auroc(scores, shuffled))
        if exclusive:
            found = class_scores(scores.argmax(axis=1), shuffled.argmax(axis=1), labels.shape[1])
            recalls.append(macro(found.recall))
    check = {"num_shuffles": NUM_SHUFFLES, "macro_auroc": float(np.mean(areas))}
    return check | ({"macro_recall": float(np.mean(recalls))} if exclusive else {})


def random_floor(labels: NDArray, *, exclusive: bool, seed: int = 0) -> dict[str, Any]:
    """The metrics of scores drawn at random, means over 20 draws: what a model that knows nothing gets."""
    rng = np.random.default_rng(seed)
    draws = [rng.random(labels.shape) for _ in range(NUM_SHUFFLES)]
    floor = {"num_draws": NUM_SHUFFLES, "macro_auroc": float(np.mean([macro_auroc(one, labels) for one in draws]))}
    if exclusive:
        codes = labels.argmax(axis=1)
        floor["accuracy"] = float(np.mean([(one.argmax(axis=1) == codes).mean() for one in draws]))
    return floor


def arithmetic(
    metrics: Mapping[str, MetricValue], labels: NDArray, classes: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Whether each number can be: shares, k of n where answers are whole, an oracle no worse, classes that add up."""
    problems, num_whole = [], 0
    for name, metric in metrics.items():
        highest = 2.0 if "brier" in name else 1.0
        if not np.isnan(metric.value) and not 0 <= metric.value <= highest + EPSILON:
            problems.append(f"{name}: {metric.value} is not from 0 to {highest:g}.")
        if metric.n > len(labels):
            problems.append(f"{name}: n is {metric.n}, of {len(labels)} images.")
        if metric.per_query is not None:
            if abs(float(np.mean(metric.per_query)) - metric.value) > EPSILON:
                problems.append(f"{name}: {metric.value} is not the mean of its values.")
            num_whole += bool(np.isin(metric.per_query, (0, 1)).all())
        fitted = metrics.get(name.replace("_oracle", "_val_fitted"))
        if "macro_f1_oracle" in name and fitted is not None and fitted.value > metric.value + EPSILON:
            problems.append(f"{name} is below the same at thresholds of validation images.")
    for column, entry in enumerate(classes):
        counts = [int((labels[:, column] == value).sum()) for value in (1, 0)]
        if [entry["num_positive"], entry["num_negative"]] != counts:
            problems.append(
                f"{entry['name']}: {entry['num_positive']} and {entry['num_negative']} images, not {counts}."
            )
    return {"num_metrics": len(metrics), "num_whole_k_of_n": num_whole, "problems": problems, "passes": not problems}


def answer_collapse(scores: NDArray, class_names: tuple[str, ...]) -> dict[str, Any]:
    """The answer that is given most often, and whether nearly all images get it."""
    counts = np.bincount(scores.argmax(axis=1), minlength=len(class_names))
    column = int(counts.argmax())
    share = float(counts[column] / len(scores))
    return {"class": class_names[column], "share": share, "collapsed": bool(share >= COLLAPSED)}


def embedding_spread(embeds: NDArray) -> dict[str, float]:
    """Mean cosine of two different images, 1 where all embeddings are the same.

    Shapes (N images, D width): embeds (N, D), any norm.
    """
    unit = embeds / np.maximum(np.linalg.norm(embeds, axis=1, keepdims=True), 1e-12)
    n = len(unit)
    total = float((unit.astype(np.float64).sum(axis=0) ** 2).sum())
    return {"mean_cosine_of_two_images": (total - n) / (n * (n - 1)) if n > 1 else 1.0}
