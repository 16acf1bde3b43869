"""Checks that stand beside every class task: what a model without any knowledge of the images would score."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.metrics.classification import class_scores, macro, macro_auroc

NUM_SHUFFLES = 20
COLLAPSED = 0.95  # share of images that one answer gets, from which on it is called a collapse (ours)


def majority_class(labels: NDArray, class_names: tuple[str, ...]) -> dict[str, Any]:
    """The commonest class and the accuracy of answering nothing else."""
    counts = (labels == 1).sum(axis=0)
    column = int(counts.argmax())
    return {
        "class": class_names[column],
        "k": int(counts[column]),
        "n": len(labels),
        "value": float(counts[column] / len(labels)),
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
